"""What the syncer and the trainer write down for those who look on: the status row, the durable seq."""

from __future__ import annotations

import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

from faults.proxy import Mode, proxied
from helpers.logs import Ticking, log, open_journal, write_run
from helpers.syncing import make_syncer, step_until
from helpers.waiting import wait_until

from wal.cassandra.handshake import free_port
from wal.reading.acks import Acks
from wal.segments.liveness import durable_seq
from wal.settings import Settings
from wal.source import Connection
from wal.syncer import Outcome

ROOT = Path(__file__).parents[2]


def nowhere() -> Settings:
    """A Cassandra that is not there."""
    return Settings(contact_points=("127.0.0.1",), port=free_port("127.0.0.1", 0), explicit=True)


def written(log_dir: Path) -> dict[str, object]:
    acks = Acks(log_dir)
    acks.poll()
    return dict(acks.status)


def test_the_row_names_the_streams_on_their_way_and_the_last_error(tmp_path: Path) -> None:
    journal = open_journal(tmp_path)
    for step in range(600):
        log(journal, step, {"loss": 1.0})
    clock = Ticking()
    syncer = make_syncer(tmp_path, nowhere(), clock_ns=clock)
    step_until(syncer, lambda outcome: outcome.connection is Connection.OFFLINE)
    syncer.close()
    row = written(tmp_path)
    assert row["streams"] == {}  # it has ended: nothing is on its way
    error = row["last_error"]
    assert isinstance(error, dict)
    assert error["at_ns"] == row["since_ns"] == clock.now_ns
    assert "NoHostAvailable" in error["sentence"]
    assert error["remedy"].endswith("canopy status --check")

    clock.tick(3600.0)
    again = make_syncer(tmp_path, nowhere(), clock_ns=clock)
    step_until(again, lambda outcome: written(tmp_path).get("pid") != 0)
    row = written(tmp_path)
    again.close()
    journal.close()
    assert row["streams"] == {str(journal.stream_id): {"lane": "backlog", "rate": 0.0}}


def test_an_error_is_mended_when_the_node_answers_again_also_with_nothing_to_write(
    tmp_path: Path, keyspace5: Settings
) -> None:
    """Also by a syncer that comes later and has nothing to ship: being connected is all that it can tell."""
    clock, slept_s = Ticking(), 0.0

    def monotonic() -> float:
        return time.monotonic() + slept_s

    def rests(_: Outcome) -> bool:
        nonlocal slept_s
        slept_s += 1.0  # the next syncer sends again what is not certain yet
        return not syncer.backlog.streams

    with proxied(("127.0.0.1", keyspace5.port)) as proxy:
        settings = replace(keyspace5, port=proxy.port)
        proxy.switch(Mode.REFUSE)
        write_run(tmp_path, [{"loss": 1.0}] * 5)
        syncer = make_syncer(tmp_path, settings, clock_ns=clock, monotonic=monotonic)
        step_until(syncer, lambda outcome: outcome.connection is Connection.OFFLINE)
        began_ns = clock.now_ns
        assert error_of(tmp_path)["mended_ns"] == 0
        clock.tick(60.0)
        proxy.switch(Mode.FORWARD)
        step_until(syncer, lambda outcome: outcome.drained and bool(error_of(tmp_path)["mended_ns"]))
        mended = error_of(tmp_path)
        assert (mended["at_ns"], mended["mended_ns"]) == (began_ns, clock.now_ns)
        step_until(syncer, rests)
        syncer.close()

        proxy.switch(Mode.REFUSE)
        syncer = make_syncer(tmp_path, settings, clock_ns=clock)
        step_until(syncer, lambda outcome: outcome.connection is Connection.OFFLINE)
        again_ns = clock.now_ns
        clock.tick(60.0)
        proxy.switch(Mode.FORWARD)
        step_until(syncer, lambda outcome: outcome.connection is Connection.UP)
        syncer.close()
    mended = error_of(tmp_path)
    assert (mended["at_ns"], mended["mended_ns"]) == (again_ns, clock.now_ns)


def error_of(log_dir: Path) -> dict[str, Any]:
    error = written(log_dir)["last_error"]
    assert isinstance(error, dict)
    return error


def test_how_long_it_is_offline_outlives_the_syncer(tmp_path: Path) -> None:
    settings, clock = nowhere(), Ticking()
    for _ in range(2):
        syncer = make_syncer(tmp_path, settings, clock_ns=clock)
        step_until(syncer, lambda outcome: outcome.connection is Connection.OFFLINE)
        syncer.close()
        since_ns = written(tmp_path)["since_ns"]
        clock.tick(3600.0)
    assert since_ns == clock.now_ns - 7200 * 10**9


def test_a_trainer_says_what_is_beyond_a_loss_of_power(tmp_path: Path) -> None:
    journal = open_journal(tmp_path)
    for step in range(7):
        log(journal, step, {"loss": 1.0})
    assert journal.flush()
    assert durable_seq(journal.directory) == 7
    elsewhere = subprocess.run(
        [sys.executable, "-c", "import sys, pathlib; from wal.segments.liveness import durable_seq;"
         "print(durable_seq(pathlib.Path(sys.argv[1])))", str(journal.directory)],
        cwd=ROOT, capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert elsewhere.stdout == "7\n"
    log(journal, 8, {"loss": 1.0})
    wait_until(lambda: durable_seq(journal.directory) == 8, what="the background thread to sync it")
    journal.close()
    (journal.directory / "lock").write_text("")  # as an older Canopy left it
    assert durable_seq(journal.directory) is None
