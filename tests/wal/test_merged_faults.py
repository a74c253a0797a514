"""What the merged source says while Cassandra or the log directory cannot be asked."""

from __future__ import annotations

import math
import shutil
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TypeVar
from uuid import UUID

import pytest
from helpers.logs import log, make_run, open_journal, write_run
from helpers.nodes import fresh_keyspace, settings_for
from helpers.reading import merged_source, wait_for, wait_for_answers
from helpers.syncing import drain, make_syncer, step_until, target_of
from helpers.waiting import eventually

from wal.cassandra import schema
from wal.cassandra.server import Node
from wal.cassandra.session import connect
from wal.link import Target
from wal.merged import MergedSource
from wal.settings import Settings
from wal.source import Ask, Connection, RunState, SourceError
from wal.syncer import Syncer

T = TypeVar("T")

CALLER_S = 2.0
"""No caller is kept longer, whatever the network does. (On a machine this busy, a second more.)"""
SLACK_S = 1.0


@contextmanager
def within(seconds: float) -> Iterator[None]:
    started = time.monotonic()
    yield
    assert time.monotonic() - started < seconds


@contextmanager
def deaf_server() -> Iterator[Settings]:
    """Takes connections and says nothing: what a blackholed or hung node looks like after the handshake."""
    with socket.create_server(("127.0.0.1", 0), backlog=64) as server:
        port = server.getsockname()[1]
        yield Settings(contact_points=("127.0.0.1",), port=port, keyspace="nothing", explicit=True)


def losses(source: MergedSource, run_id: UUID, stream_id: UUID) -> list[float]:
    return source.points(run_id, stream_id, "loss").value.tolist()


def test_a_deaf_cassandra_keeps_nobody_waiting(tmp_path: Path) -> None:
    run_id, _ = write_run(tmp_path, ({"loss": 1 / step} for step in range(1, 101)))
    with deaf_server() as settings, merged_source(tmp_path, settings) as source:
        with within(CALLER_S):
            assert [row.run_id for row in source.runs()] == [run_id]
            assert source.run(run_id).row.records == 100
            (series,) = source.series(run_id, Ask("loss", 40))
            assert series.points == 100
            assert source.status().connection in (Connection.STARTING, Connection.OFFLINE)
        status = wait_for(source, Connection.OFFLINE)
        assert status.detail
        assert status.since_ns
        assert status.unshipped == 100
        with within(CALLER_S):
            assert source.series(run_id, Ask("loss", 40))[0].points == 100
        with within(0.5):
            source.close()


def test_a_run_of_nobody(tmp_path: Path) -> None:
    other = make_run().run_id
    with merged_source(tmp_path) as source:
        assert source.runs() == []
        with pytest.raises(KeyError):
            source.run(other)
    with (
        deaf_server() as settings,
        merged_source(tmp_path, settings) as source,
        within(CALLER_S + SLACK_S),
        pytest.raises(SourceError),
    ):
        source.run(other)


def test_bad_settings_become_a_sentence(tmp_path: Path) -> None:
    write_run(tmp_path, [{"loss": 1.0}])
    bad = Target(Settings(), None, Connection.TROUBLE, "cassandra.yaml: unknown key 'prot'.", "Correct it.")
    source = MergedSource(tmp_path, find=lambda: bad)
    status = wait_for(source, Connection.TROUBLE)
    assert (status.detail, status.remedy) == (bad.detail, bad.remedy)
    assert len(source.runs()) == 1
    source.close()


def test_a_search_that_fails_is_a_sentence_too(tmp_path: Path) -> None:
    def find() -> Target:
        raise OSError("the state directory is gone")

    source = MergedSource(tmp_path, find=find)
    assert "the state directory is gone" in wait_for(source, Connection.TROUBLE).detail
    source.close()


def test_the_log_directory_cannot_be_read(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_text("")
    with merged_source(path) as source:
        source.wait_ready()
        with pytest.raises(SourceError, match="cannot be read"):
            source.runs()
        assert "cannot be read" in source.status().detail


def test_a_shipped_run_opens_without_the_log(tmp_path: Path, keyspace5: Settings) -> None:
    """With the trainer's log directory unreadable, and with one of its streams damaged."""
    directory = tmp_path / "log"
    records = [{"loss": 1 / step} for step in range(1, 101)]
    run_id, stream_id = write_run(directory, records)
    drain(directory, keyspace5)
    with merged_source(directory, keyspace5) as source:
        wait_for(source, Connection.UP)
        for path in directory.rglob("00*.db"):
            path.write_bytes(b"nothing that SQLite reads" * 400)
        (directory / "index.db").unlink(missing_ok=True)
        check_shipped(source, run_id, stream_id, local=True)
    with merged_source(directory, keyspace5) as source:
        wait_for(source, Connection.UP)
        check_shipped(source, run_id, stream_id, local=True)
        assert "cannot be read" in source.runs()[0].problem
    shutil.rmtree(directory)
    directory.write_text("a file in its place")
    with merged_source(directory, keyspace5) as source:
        wait_for(source, Connection.UP)
        check_shipped(source, run_id, stream_id, local=False)
        assert "cannot be read" in source.status().detail


def check_shipped(source: MergedSource, run_id: UUID, stream_id: UUID, *, local: bool) -> None:
    (row,) = eventually(source.runs, lambda rows: len(rows) == 1 and rows[0].records == 100)
    detail = source.run(run_id)
    assert (row.name, row.project, row.local) == ("train-1", "spirals", local)
    assert detail.row.records == 100
    assert losses(source, run_id, stream_id) == [1 / step for step in range(1, 101)]
    (series,) = source.series(run_id, Ask("loss", 25))
    assert series.points == 100


def test_a_live_run_of_another_machine(tmp_path: Path, keyspace5: Settings) -> None:
    here = tmp_path / "here"
    journal = open_journal(here)
    run_id, stream_id = journal.run.run_id, journal.stream.stream_id
    syncer = make_syncer(here, keyspace5)
    with merged_source(tmp_path / "elsewhere", keyspace5) as source:
        for newest in (50, 100, 150):
            for step in range(newest - 49, newest + 1):
                log(journal, step, {"loss": math.nan if step == 75 else 1 / step})
            (row,) = while_shipping(syncer, source.runs)
            assert row.state is RunState.RUNNING
            step_until(syncer, lambda outcome: outcome.waiting == 0)
            check_tail(source, run_id, newest)
        pace = source.recent(run_id, stream_id)
        assert pace is not None
        assert (pace.last_step, pace.records) == (150, 60)
    syncer.close()
    journal.close()


def while_shipping(syncer: Syncer, ask: Callable[[], T]) -> T:
    """What ``ask`` says as soon as it says something, the syncer doing its work meanwhile."""

    def step_and_ask() -> T:
        syncer.step()
        return ask()

    return eventually(step_and_ask)


def check_tail(source: MergedSource, run_id: UUID, newest: int) -> None:
    """All up to ``newest`` is seen, before the row in run_streams counts it: that is written every 2 s."""
    detail = eventually(lambda: source.run(run_id), lambda found: found.row.records == newest)
    assert detail.streams[0].acked == ((1, newest),)
    assert detail.row.step == newest
    series = eventually(
        lambda: source.series(run_id, Ask("loss", 500)), lambda found: found[0].points == newest
    )
    assert not series[0].unshipped.any()


def with_schema(node: Node) -> Settings:
    """Settings of a new keyspace, left behind: its node goes with it."""
    settings = settings_for(node)
    endpoint = target_of(settings).endpoint
    assert endpoint is not None
    session = connect(endpoint, settings)
    schema.create(session, settings)
    session.close()
    return settings


def test_a_node_that_hangs_dies_and_comes_back(tmp_path: Path, own_node: Node) -> None:
    here, elsewhere = tmp_path / "here", tmp_path / "elsewhere"
    run_id, stream_id = write_run(here, ({"loss": 1 / step} for step in range(1, 101)))
    settings = with_schema(own_node)
    drain(here, settings)
    with merged_source(here, settings) as local, merged_source(elsewhere, settings) as remote:
        for source in (local, remote):
            wait_for(source, Connection.UP)
            assert len(losses(source, run_id, stream_id)) == 100
        own_node.pause()
        later_id, _ = write_run(here, [{"loss": 1.0}], make_run(name="later"))
        with within(CALLER_S):
            assert {row.run_id for row in local.runs()} == {run_id, later_id}
        for source in (local, remote):
            check_stays(source, run_id, stream_id)
            wait_for(source, Connection.OFFLINE)
            check_stays(source, run_id, stream_id)
        own_node.resume()
        for source in (local, remote):
            wait_for_answers(source)
        own_node.kill()
        for source in (local, remote):
            wait_for(source, Connection.OFFLINE)
            check_stays(source, run_id, stream_id)
        own_node.start()
        own_node.wait_ready()
        for source in (local, remote):
            wait_for_answers(source)


def check_stays(source: MergedSource, run_id: UUID, stream_id: UUID) -> None:
    """What was seen before Cassandra fell silent is still seen, and nobody waits for it."""
    with within(CALLER_S + SLACK_S):
        assert run_id in {row.run_id for row in source.runs()}
    with within(CALLER_S + SLACK_S):
        assert source.run(run_id).row.records == 100
    with within(2 * (CALLER_S + SLACK_S)):  # the streams, then their points
        assert len(losses(source, run_id, stream_id)) == 100


def test_cassandra_comes_up_later(tmp_path: Path, cassandra5: Node) -> None:
    run_id, stream_id = write_run(tmp_path, [{"loss": 1.0}] * 10)
    settings = settings_for(cassandra5)
    targets = [Target(settings, None), Target(settings, None, Connection.STARTING, "41/66 MB")]
    source = MergedSource(tmp_path, find=lambda: targets[0])
    wait_for(source, Connection.LOCAL_ONLY)
    targets.pop(0)
    assert wait_for(source, Connection.STARTING).detail == "41/66 MB"
    targets[0] = target_of(settings)  # the keyspace is not there yet
    trouble = wait_for(source, Connection.TROUBLE)
    assert "canopy cassandra schema" in f"{trouble.detail} {trouble.remedy}"
    with fresh_keyspace(cassandra5) as ready:
        targets[0] = target_of(ready)
        wait_for_answers(source)
        drain(tmp_path, ready)
        row = eventually(lambda: source.run(run_id).row, lambda row: row.unshipped == 0)
        assert row.shipped
        assert losses(source, run_id, stream_id) == [1.0] * 10
    source.close()


def test_a_backlog_is_catching_up(tmp_path: Path, keyspace5: Settings) -> None:
    write_run(tmp_path, ({"loss": 1 / step} for step in range(1, 2001)))
    with merged_source(tmp_path, keyspace5) as source:
        status = wait_for(source, Connection.CATCHING_UP)
        assert status.unshipped == 2000
        assert (status.detail, status.remedy) == ("no syncer runs", "Start it with: canopy sync --watch")
        drain(tmp_path, keyspace5)
        assert wait_for(source, Connection.UP).unshipped == 0
