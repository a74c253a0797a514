"""``canopy status``: as text, as JSON, watched and as a check, from a shell and against a real node."""

from __future__ import annotations

import dataclasses
import json
import os
import pty
import re
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
from helpers.logs import log, open_journal, write_run
from helpers.syncing import drain
from helpers.trainer import environment
from helpers.waiting import wait_until

from canopy_tui.cli.check import EXIT_CODES
from wal.cassandra.handshake import free_port
from wal.reading.checks import Grade
from wal.reading.storage import LastError, NodeState, StorageReport, StreamStorage, SyncerState, Totals
from wal.settings import Settings
from wal.source import StoreStatus

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text(encoding="utf-8")


def shell(tmp_path: Path, settings: Settings | None = None, **variables: str) -> dict[str, str]:
    """The environment of a shell whose log and state lie in ``tmp_path``."""
    named = {}
    if settings is not None:
        named = {
            "CASCOR_CASSANDRA_CONTACT_POINTS": settings.contact_points[0],
            "CASCOR_CASSANDRA_PORT": str(settings.port),
            "CASCOR_CASSANDRA_KEYSPACE": settings.keyspace,
            "CASCOR_CASSANDRA_LOCAL_DC": "datacenter1",
        }
    state = str(tmp_path / "state")
    return environment(
        CANOPY_DIR=str(tmp_path / "log"), XDG_STATE_HOME=state, XDG_CONFIG_HOME=state, CANOPY_NODE="none",
        COLUMNS="120", **named, **variables,
    )  # fmt: skip


def canopy(env: Mapping[str, str], cwd: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    done = subprocess.run(
        [sys.executable, "-m", "canopy_tui", *arguments], env=env, cwd=cwd, capture_output=True, text=True,
        timeout=120,
    )  # fmt: skip
    assert "Traceback" not in done.stderr, done.stderr
    return done


def test_nothing_yet(tmp_path: Path) -> None:
    done = canopy(shell(tmp_path), tmp_path, "status")
    assert (done.returncode, done.stdout.splitlines()[0]) == (0, "the log holds no runs")


def test_without_a_cassandra(tmp_path: Path) -> None:
    write_run(tmp_path / "log", [{"loss": 1.0}] * 5)
    env = shell(tmp_path)
    done = canopy(env, tmp_path, "status")
    assert done.stdout.startswith("local only, 5 records safe on disk\n")
    assert canopy(env, tmp_path, "sync").stdout.splitlines()[0] == done.stdout.splitlines()[0]
    elsewhere = canopy(shell(tmp_path / "b"), tmp_path, "status", str(tmp_path / "log"))
    assert elsewhere.stdout.startswith("local only, 5 records")


def test_a_cassandra_that_is_away(tmp_path: Path) -> None:
    write_run(tmp_path / "log", [{"loss": 1.0}] * 5)
    nowhere = Settings(contact_points=("127.0.0.1",), port=free_port("127.0.0.1", 0))
    done = canopy(shell(tmp_path, nowhere), tmp_path, "status")
    assert re.match(r"offline \d.*, 5 records safe on disk", done.stdout)
    assert "NoHostAvailable: connection refused" in done.stdout
    assert "canopy status --check" in done.stdout


def keys_of(shape: type) -> set[str]:
    return {field.name for field in dataclasses.fields(shape)}


def test_the_shape_of_the_json_is_the_readmes(tmp_path: Path) -> None:
    write_run(tmp_path / "log", [{"loss": 1.0}] * 5)
    facts = json.loads(canopy(shell(tmp_path), tmp_path, "status", "--json").stdout)
    assert facts["format"] == 1
    assert facts.keys() == keys_of(StorageReport) | {"format", "sentence"}
    assert facts["streams"][0].keys() == keys_of(StreamStorage)
    assert facts["syncer"].keys() == keys_of(SyncerState)
    assert facts["totals"].keys() == keys_of(Totals)
    section = README[README.index("### Where the records are") : README.index("## How it fits together")]
    said = set(re.findall(r"`([a-z_]+)`", section))
    shapes = (StorageReport, StreamStorage, SyncerState, Totals, LastError, NodeState, StoreStatus)
    missing = set().union(*map(keys_of, shapes)) - said
    assert missing == set()


def test_a_real_node_from_delivery_to_the_nodes_latency(tmp_path: Path, keyspace5: Settings) -> None:
    log_dir, env = tmp_path / "log", shell(tmp_path, keyspace5)
    write_run(log_dir, [{"loss": float(n)} for n in range(300)])
    assert canopy(env, tmp_path, "status").stdout.startswith("no syncer runs, 300 records safe on disk\n")
    drain(log_dir, keyspace5)
    done = canopy(env, tmp_path, "status")
    assert done.stdout.startswith("all 300 records delivered, none verified yet\n")
    assert "1 stream with nothing left to do" in done.stdout
    (node,) = json.loads(canopy(env, tmp_path, "status", "--json").stdout)["nodes"]
    assert (node["state"], node["datacenter"]) == ("up", "datacenter1")
    assert node["address"] == f"127.0.0.1:{keyspace5.port}"
    assert 0 < node["latency_ms"] < 1000


def test_a_live_run_is_followed_to_cassandra(tmp_path: Path, keyspace5: Settings) -> None:
    """With the real syncer at work, and the run still going on."""
    log_dir, env = tmp_path / "log", shell(tmp_path, keyspace5)
    journal = open_journal(log_dir)
    for step in range(40):
        log(journal, step, {"loss": 1.0})
    syncer = subprocess.Popen(
        [sys.executable, "-m", "wal.syncer", "--auto", "--log-dir", str(log_dir), "--cwd", str(tmp_path)],
        env=env, cwd=ROOT,
    )  # fmt: skip
    try:
        wait_until(lambda: json_of(env, tmp_path)["totals"]["waiting"] == 0)
        facts = json_of(env, tmp_path)
        assert (facts["verdict"], facts["syncer"]["pid"]) == ("delivered", syncer.pid)
        (shown,) = facts["streams"]  # it is open, so it is listed
        assert (shown["committed"], shown["acknowledged"], shown["lag_s"]) == (40, 40, None)
        said = (log_dir / "syncer.log").read_text()
        assert f"INFO: Cassandra connection established: 127.0.0.1:{keyspace5.port}\n" in said
        assert f"INFO: Using keyspace: {keyspace5.keyspace}\n" in said
        wait_until(lambda: "INFO: Stored 40 metrics to Cassandra\n" in (log_dir / "syncer.log").read_text())
    finally:
        syncer.send_signal(signal.SIGTERM)
        syncer.wait(60)
        journal.close()


def json_of(env: Mapping[str, str], cwd: Path) -> dict[str, Any]:
    return json.loads(canopy(env, cwd, "status", "--json").stdout)


# -- watched ------------------------------------------------------------------------------------------


def test_watching_prints_again_and_ends_quietly(tmp_path: Path) -> None:
    journal = open_journal(tmp_path / "log")
    log(journal, 1, {"loss": 1.0})
    process = subprocess.Popen(
        [sys.executable, "-m", "canopy_tui", "status", "--watch", "--json"],
        env=shell(tmp_path), cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    assert process.stdout is not None
    assert json.loads(process.stdout.readline())["totals"]["committed"] == 1
    log(journal, 2, {"loss": 1.0})
    wait_until(lambda: json.loads(process.stdout.readline())["totals"]["committed"] == 2)  # type: ignore[union-attr]
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=60)
    assert (process.returncode, errors) == (0, "")
    journal.close()


@pytest.fixture
def terminal() -> Iterator[tuple[int, int]]:
    ours, theirs = pty.openpty()
    yield ours, theirs
    os.close(ours)


def test_watching_on_a_terminal_draws_over_itself(tmp_path: Path, terminal: tuple[int, int]) -> None:
    ours, theirs = terminal
    os.set_blocking(ours, False)
    process = subprocess.Popen(
        [sys.executable, "-m", "canopy_tui", "status", "--watch"],
        env=shell(tmp_path, TERM="xterm-256color"), cwd=tmp_path, stdin=theirs, stdout=theirs, stderr=theirs,
    )  # fmt: skip
    os.close(theirs)
    seen = bytearray()

    def drawn_twice() -> bool:
        try:
            seen.extend(os.read(ours, 65536))
        except (BlockingIOError, OSError):
            pass
        return seen.count(b"\x1b[H\x1b[J") >= 2

    wait_until(drawn_twice)
    process.send_signal(signal.SIGINT)
    assert process.wait(60) == 0
    assert b"the log holds no runs" in seen
    assert b"Traceback" not in seen


# -- the check ------------------------------------------------------------------------------------------


def test_a_check_of_what_works(tmp_path: Path, keyspace5: Settings) -> None:
    write_run(tmp_path / "log", [{"loss": 1.0}])
    env = shell(tmp_path, keyspace5, LC_ALL="C.UTF-8", TERM="xterm-256color")
    done = canopy(env, tmp_path, "status", "--check", "--json")
    facts = json.loads(done.stdout)
    assert [check["name"] for check in facts["checks"]] == [
        "log directory", "disk", "SQLite", "terminal", "settings", "driver", "contact points", "login",
        "consistency", "keyspace", "syncer",
    ]  # fmt: skip
    assert (facts["worst"], done.returncode) == (
        max_grade(facts),
        EXIT_CODES[Grade[max_grade(facts).upper()]],
    )
    assert {c["name"]: c["grade"] for c in facts["checks"]}["keyspace"] == "ok"


def max_grade(facts: Mapping[str, Any]) -> str:
    return max((check["grade"] for check in facts["checks"]), key=["ok", "note", "bad"].index)


def test_a_check_names_what_is_wrong_and_ends_with_1(tmp_path: Path) -> None:
    misspelt = canopy(shell(tmp_path, CASCOR_CASSANDRA_PROT="1"), tmp_path, "status", "--check")
    assert misspelt.returncode == 1
    assert "did you mean CASCOR_CASSANDRA_PORT?" in misspelt.stdout
    assert "bad   settings" in misspelt.stdout
    nowhere = Settings(contact_points=("127.0.0.1",), port=free_port("127.0.0.1", 0))
    away = canopy(shell(tmp_path, nowhere), tmp_path, "status", "--check")
    assert (away.returncode, "refuses connections: nothing listens there" in away.stdout) == (1, True)


def test_a_check_with_less_than_could_be_ends_with_2(tmp_path: Path) -> None:
    done = canopy(shell(tmp_path, LC_ALL="C", TERM="xterm"), tmp_path, "status", "--check")
    assert done.returncode == 2
    assert "note  terminal" in done.stdout
    assert done.stdout.isascii()


def test_a_check_is_not_watched(tmp_path: Path) -> None:
    done = canopy(shell(tmp_path), tmp_path, "status", "--check", "--watch")
    assert (done.returncode, "use it without --watch" in done.stderr) == (2, True)
