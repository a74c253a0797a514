"""A Cassandra that will not do, and the real syncer: it parks, says why and what to do, loses nothing, and
goes on by itself once the cause is mended.
"""

from __future__ import annotations

import asyncio
import json
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from faults.proxy import Mode, proxied
from helpers.logs import write_run
from helpers.nodes import settings_for
from helpers.processes import cpu_seconds
from helpers.scan import in_cassandra, in_log
from helpers.screens import text_of, until
from helpers.seedtables import SEED_TABLES, make_keyspace
from helpers.trainer import environment
from helpers.waiting import wait_until

from canopy_tui.app import CanopyApp
from wal.cassandra import schema
from wal.cassandra.server import Node
from wal.cassandra.session import Session, connect
from wal.cassandra.tables import SCHEMA_VERSION
from wal.link import Finder
from wal.merged import MergedSource
from wal.reading.acks import Acks
from wal.settings import Settings, load, resolve
from wal.shipping import daemon

RECORDS = 50
PARKED_LINES = 2
"""What a parked syncer has written: that it started, and what is wrong."""

IDLE_WINDOW_S = 0.5
IDLE_SHARE = 0.04
"""Share of a processor that a parked syncer may take over a window: far above its 0.2 %, far below a loop."""

WIDE = (160, 20)
"""Cells of the app's screen: room for any of the sentences."""


class Place:
    """A log of 50 records beside a settings file that names this node; and commands that run there."""

    def __init__(self, folder: Path, node: Node, **login: str) -> None:
        self.folder, self.log_dir = folder, folder / "log"
        self._file = folder / "conf" / "cassandra_config.yaml"
        self._file.parent.mkdir()
        host, port = node.endpoint
        self._keys: dict[str, Any] = {
            "contact_points": [host], "port": port, "keyspace": settings_for(node).keyspace,
            "local_dc": "datacenter1",
        }  # fmt: skip
        self.configure(**({"auth_provider": login} if login else {}))
        state = str(folder / "state")
        self.env = environment(
            CANOPY_DIR=str(self.log_dir), XDG_STATE_HOME=state, XDG_CONFIG_HOME=state, CANOPY_NODE="none"
        )
        write_run(self.log_dir, ({"loss": float(n)} for n in range(RECORDS)))

    def configure(self, **keys: Any) -> None:
        """Change the settings file. JSON is YAML."""
        self._keys |= keys
        self._file.write_text(json.dumps({"cassandra": self._keys}))

    @property
    def settings(self) -> Settings:
        return load(self.env, self.folder)

    @contextmanager
    def session(self) -> Iterator[Session]:
        endpoint = resolve(self.settings, {})
        assert endpoint is not None
        session = connect(endpoint, self.settings)
        try:
            yield session
        finally:
            session.close()

    def start(self, *arguments: str) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [sys.executable, "-m", *arguments], env=self.env, cwd=self.folder, stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT, text=True,
        )  # fmt: skip

    def canopy(self, *arguments: str) -> tuple[int, str]:
        """A command to its end: exit code, and what it printed."""
        process = self.start("canopy_tui", *arguments)
        printed, _ = process.communicate(timeout=120)
        return process.returncode, printed

    def status_row(self) -> dict[str, Any]:
        """What the syncer says of itself."""
        acks = Acks(self.log_dir)
        acks.poll()
        return dict(acks.status)

    @property
    def log_lines(self) -> list[str]:
        return (self.log_dir / "syncer.log").read_text().splitlines()


@dataclass(frozen=True)
class Bad:
    """``spoil`` makes it so, ``mend`` undoes it as a user would; ``words`` and ``remedy`` must be said."""

    spoil: Callable[[Place], None]
    words: tuple[str, ...]
    remedy: str
    mend: Callable[[Place], None]


def _make_tables(place: Place) -> None:
    code, printed = place.canopy("cassandra", "schema")
    assert code == 0, printed


# -- tables of the seed's own shape ---------------------------------------------------------------------


def _make_seed_tables(place: Place) -> None:
    with place.session() as session:
        make_keyspace(session, place.settings.keyspace, *SEED_TABLES)


def _use_another_keyspace(place: Place) -> None:
    code, printed = place.canopy("cassandra", "schema")
    assert code == 1
    assert "Nothing was changed" in printed
    assert "training_runs: it has no column project" in printed
    other = f"{place.settings.keyspace}_b"
    code, printed = place.canopy("cassandra", "schema", "--keyspace", other)
    assert code == 0, printed
    assert f"To ship there: keyspace: {other} in the settings file" in printed
    place.configure(keyspace=other)


# -- a schema of a later version ------------------------------------------------------------------------


def _say_version(place: Place, version: int) -> None:
    keyspace = place.settings.keyspace
    with place.session() as session:
        schema.create(session, place.settings)
        session.write(f"UPDATE {keyspace}.schema_meta SET v = ? WHERE k = 'version'", [str(version)])


def _bring_the_version_back(place: Place) -> None:
    """What an upgrade of Canopy does, seen from here; then the user does not wait for the minute to pass."""
    keyspace = place.settings.keyspace
    with place.session() as session:
        session.write(f"UPDATE {keyspace}.schema_meta SET v = ? WHERE k = 'version'", [str(SCHEMA_VERSION)])
    code, printed = place.canopy("sync", "--once")
    assert code == 0, printed


# -- a data centre that is not there; a password that is wrong ------------------------------------------


def _name_another_data_centre(place: Place) -> None:
    _make_tables(place)
    place.configure(local_dc="dc_of_another_cluster")


def _forget_the_password(place: Place) -> None:
    _make_tables(place)
    place.configure(auth_provider={"username": "cassandra", "password": "hunter2"})


BAD = {
    "tables of the seed's shape": Bad(
        _make_seed_tables,
        ("holds tables of another shape: training_metrics, network_topology, training_runs.",),
        "canopy cassandra schema --keyspace NAME",
        _use_another_keyspace,
    ),
    "a newer schema": Bad(
        lambda place: _say_version(place, SCHEMA_VERSION + 1),
        ("were written by a newer Canopy",),
        "Upgrade Canopy",
        _bring_the_version_back,
    ),
    "no keyspace": Bad(
        lambda place: None,
        ("Keyspace 't_", "does not exist at 127.0.0.1:"),
        "canopy cassandra schema",
        _make_tables,
    ),
    "another data centre": Bad(
        _name_another_data_centre,
        ("no node in the data centre 'dc_of_another_cluster'; it has: datacenter1.",),
        "Set local_dc to one of these, or leave it out.",
        lambda place: place.configure(local_dc="datacenter1"),
    ),
}
WRONG_PASSWORD = Bad(
    _forget_the_password,
    ("refused the user 'cassandra' (AuthenticationFailed: username and/or password are incorrect).",),
    "Correct auth_provider or CASSANDRA_PASSWORD, then: canopy status --check",
    lambda place: place.configure(auth_provider={"username": "cassandra", "password": "cassandra"}),
)


@pytest.mark.parametrize("bad", BAD.values(), ids=BAD.keys())
def test_the_syncer_parks_says_why_and_heals(tmp_path: Path, cassandra5: Node, bad: Bad) -> None:
    it_parks_says_why_and_heals(Place(tmp_path, cassandra5), bad)


def test_a_wrong_password(tmp_path: Path, cassandra_login: Node) -> None:
    place = Place(tmp_path, cassandra_login, username="cassandra", password="cassandra")
    it_parks_says_why_and_heals(place, WRONG_PASSWORD)
    said = (place.log_dir / "syncer.log").read_text() + json.dumps(place.status_row())
    assert "hunter2" not in said


def it_parks_says_why_and_heals(place: Place, bad: Bad) -> None:
    bad.spoil(place)
    code, printed = place.canopy("sync", "--once")
    assert code == 2
    assert_said(bad, printed)
    assert f"{RECORDS} left in the local log" in printed

    (place.log_dir / "syncer.log").unlink()
    syncer = place.start("wal.syncer", "--auto", "--log-dir", str(place.log_dir), "--cwd", str(place.folder))
    try:
        wait_until(lambda: place.status_row().get("connection") == "trouble")
        code, printed = place.canopy("status")
        assert code == 0
        assert_said(bad, printed)
        assert f"{RECORDS} records safe on disk" in printed
        seen = asyncio.run(what_the_app_says(place))
        assert_said(bad, seen)
        assert f"{RECORDS} records safe on disk" in seen
        wait_until(lambda: is_idle(syncer.pid), what="a parked syncer that does not loop")
        assert len(place.log_lines) == PARKED_LINES, place.log_lines
        assert_said(bad, place.log_lines[-1])

        bad.mend(place)
        wait_until(lambda: place.status_row().get("waiting") == 0)
        assert daemon.holder(place.log_dir) == syncer.pid  # it is the same one
        assert in_cassandra(place.settings).content == in_log(place.log_dir)
    finally:
        syncer.send_signal(signal.SIGTERM)
        printed, _ = syncer.communicate(timeout=60)
    assert (syncer.returncode, printed) == (0, "")


def assert_said(bad: Bad, text: str) -> None:
    plain = re.sub(r"\s+", " ", text)
    for words in (*bad.words, bad.remedy):
        assert words in plain, f"{words!r} is not said in: {plain}"


def is_idle(pid: int) -> bool:
    """Whether the process takes next to no processor over a window."""
    began, used = time.monotonic(), cpu_seconds(pid)
    time.sleep(IDLE_WINDOW_S)
    return cpu_seconds(pid) - used <= IDLE_SHARE * (time.monotonic() - began)


async def what_the_app_says(place: Place) -> str:
    """The screen of the real app there, once its status line has found out."""
    source = MergedSource(place.log_dir, find=Finder(place.env, place.folder))
    app = CanopyApp(source, log_dir=place.log_dir)
    try:
        async with app.run_test(size=WIDE) as pilot:
            await until(pilot, lambda: app.store_status.connection.value == "trouble")
            await pilot.pause()
            return text_of(app)
    finally:
        source.close()


def test_watching_and_listing_as_well(tmp_path: Path, cassandra5: Node) -> None:
    place, bad = Place(tmp_path, cassandra5), BAD["no keyspace"]
    watch = place.start("canopy_tui", "sync", "--watch")
    try:
        wait_until(lambda: place.status_row().get("connection") == "trouble")
        wait_until(lambda: is_idle(watch.pid))
        code, printed = place.canopy("ls")
        assert code == 0
        assert_said(bad, printed)
        assert "did not answer" not in printed  # it did
        assert "train-1" in printed
        bad.mend(place)
        wait_until(lambda: place.status_row().get("drained"))
    finally:
        watch.send_signal(signal.SIGINT)
        printed, _ = watch.communicate(timeout=60)
    assert watch.returncode == 0, printed
    assert_said(bad, printed)
    assert printed.splitlines()[-1].endswith(f"127.0.0.1:{place.settings.port} (0 to ship)")
    assert len(printed.splitlines()) <= 4, printed
    assert in_cassandra(place.settings).content == in_log(place.log_dir)


def test_requests_that_are_not_answered_in_time(tmp_path: Path, cassandra5: Node) -> None:
    """Records arrive, their acknowledgements do not: said with the driver's word and a command; then it heals
    by itself."""
    late = Bad(
        lambda place: None,
        ("did not answer a request in time (OperationTimedOut: client request timeout).",),
        "Raise request_timeout (1 s), or see how busy it is: nodetool tpstats",
        lambda place: None,
    )
    with proxied(cassandra5.endpoint) as proxy:
        place = Place(tmp_path, cassandra5)
        _make_tables(place)
        place.configure(port=proxy.port, request_timeout=1)
        syncer = place.start("wal.syncer", "--auto", "--log-dir", str(place.log_dir), "--cwd", str(tmp_path))
        try:
            wait_until(lambda: place.status_row().get("drained"))
            proxy.switch(Mode.DEAFEN)
            write_run(place.log_dir, ({"loss": float(n)} for n in range(RECORDS)))
            wait_until(lambda: "OperationTimedOut" in str(place.status_row().get("detail")))
            _, printed = place.canopy("status")
            assert_said(late, printed)
            assert f"{RECORDS} records safe on disk: " in printed
            assert_said(late, (place.log_dir / "syncer.log").read_text())
            proxy.switch(Mode.FORWARD)
            wait_until(lambda: place.status_row().get("waiting") == 0)
            assert in_cassandra(place.settings).content == in_log(place.log_dir)
            _, printed = place.canopy("status")
            assert re.search(r"last error .* Mended \d\d:\d\d\.", re.sub(r"\s+", " ", printed)), printed
        finally:
            syncer.send_signal(signal.SIGTERM)
            printed, _ = syncer.communicate(timeout=60)
    assert (syncer.returncode, printed) == (0, "")
