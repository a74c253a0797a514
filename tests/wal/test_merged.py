"""The log and Cassandra read as one, against a real node."""

from __future__ import annotations

import math
import threading
from collections.abc import Mapping
from pathlib import Path
from uuid import UUID

from helpers.logs import log, log_special, log_topology, make_run, open_journal, write_run
from helpers.reading import merged_source, wait_for
from helpers.syncing import connect, drain, ship_what_is_there, target_of
from helpers.waiting import eventually

from wal.catalog import Catalog
from wal.link import Target
from wal.merged import MergedSource
from wal.reading.reach import Reach
from wal.reading.shelf import Shelf
from wal.record import Kind
from wal.settings import Settings
from wal.source import Ask, Connection, RunRow, RunState

CURVE = [1.0 / step for step in range(1, 301)]


def shipped_run(log_dir: Path, settings: Settings) -> tuple:
    identities = write_run(log_dir, ({"loss": loss, "acc": 1 - loss} for loss in CURVE))
    drain(log_dir, settings)
    return identities


def values(source: MergedSource, run_id, stream_id, metric: str = "loss") -> list[float]:
    return source.points(run_id, stream_id, metric).value.tolist()


def test_without_cassandra_all_is_local(tmp_path: Path) -> None:
    run_id, stream_id = write_run(tmp_path, ({"loss": loss} for loss in CURVE))
    with merged_source(tmp_path) as source:
        assert source.wait_ready()
        (row,) = source.runs()
        (series,) = source.series(run_id, Ask("loss", 50))
        status = source.status()
        assert values(source, run_id, stream_id) == CURVE
    assert (row.shipped, row.unshipped, row.local) == (False, 300, True)
    assert status.connection is Connection.LOCAL_ONLY
    assert series.points == 300
    assert series.unshipped.all()
    assert series.columns.min.min() == CURVE[-1]
    assert series.columns.edges[0] == 1
    assert series.columns.edges[-1] == 301


class Witness(Shelf):
    """A shelf that notes how it stood with Cassandra when the list came."""

    stood: tuple[bool, Connection] | None = None
    reach: Reach

    def put_rows(self, origin: str, rows: Mapping[UUID, RunRow], now_ns: int) -> None:
        self.stood = self.stood or (self.reach.settled.is_set(), self.reach.standing.connection)
        super().put_rows(origin, rows, now_ns)


def test_who_waited_for_cassandra_finds_it_up(tmp_path: Path, keyspace5: Settings) -> None:
    """Not still starting, as a command would then say that it did not answer."""
    catalog = Catalog(tmp_path)
    shelf = Witness(catalog.index)
    ready = threading.Event()  # the shelf knows whose it is

    def find() -> Target:
        ready.wait()
        return target_of(keyspace5)

    shelf.reach = Reach(find, connect, shelf=shelf)
    ready.set()
    try:
        assert eventually(lambda: shelf.stood) == (True, Connection.UP)
    finally:
        shelf.reach.close()
        catalog.close()


def test_a_value_changed_by_cql_shows(tmp_path: Path, keyspace: Settings) -> None:
    """The read path ends in Cassandra: what was shipped is drawn from there."""
    run_id, stream_id = shipped_run(tmp_path, keyspace)
    store = connect(target_of(keyspace))
    store.session.write(
        f"UPDATE {keyspace.keyspace}.training_metrics USING TIMESTAMP {2**62} SET values = ? "
        "WHERE run_id = ? AND stream = ? AND chunk = 0 AND seq = 7",
        [{"loss": 777.0, "acc": 0.5}, run_id, stream_id],
    )
    store.close(wait=True)
    with merged_source(tmp_path, keyspace) as source:
        wait_for(source, Connection.UP)
        assert values(source, run_id, stream_id)[6] == 777.0
        (series,) = source.series(run_id, Ask("loss", 14))
        row = source.metric(run_id, "loss")
    assert series.columns.max.max() == 777.0
    assert not series.unshipped.any()
    assert (row.summary.max, row.summary.max_step) == (777.0, 7)
    assert row.best == (CURVE[-1], 300)


def test_another_machine_sees_everything(tmp_path: Path, keyspace: Settings) -> None:
    here, elsewhere = tmp_path / "here", tmp_path / "elsewhere"
    run = make_run(config={"lr": 0.1, "total_steps": 400}, tags=("blue",))
    journal = open_journal(here, run)
    for step in range(1, 201):
        log(journal, step, {"loss": math.nan if step == 100 else 1 / step})
    log_topology(journal, 200, {"input_size": 2, "output_size": 1, "hidden_units": []})
    log_special(journal, Kind.SUMMARY, 200, {"final": 3.5}, note="good")
    journal.close()
    drain(here, keyspace)
    with merged_source(elsewhere, keyspace) as source:
        wait_for(source, Connection.UP)
        (row,) = source.runs()
        detail = source.run(run.run_id)
        (stream,) = detail.streams
        points = source.points(run.run_id, stream.stream_id, "loss")
        (series,) = source.series(run.run_id, Ask("loss", 20))
        (snapshot,) = source.topologies(run.run_id)
        assert source.topology(run.run_id, stream.stream_id, snapshot.seq)["input_size"] == 2
        assert len(source.records(run.run_id, stream.stream_id)) == 202
    assert (row.name, row.state, row.tags, row.total_steps) == ("train-1", RunState.DONE, ("blue",), 400)
    assert (row.local, row.shipped, row.unshipped) == (False, True, 0)
    assert detail.config["lr"] == 0.1
    assert detail.summary == {"final": 3.5, "note": "good"}
    assert len(points) == 200
    assert series.columns.n_nan.sum() == 1
    assert not series.unshipped.any()


def test_the_unshipped_tail_is_drawn_on_top(tmp_path: Path, keyspace5: Settings) -> None:
    journal = open_journal(tmp_path)
    for step in range(1, 101):
        log(journal, step, {"loss": 1 / step})
    ship_what_is_there(tmp_path, keyspace5)
    for step in range(101, 121):
        log(journal, step, {"loss": 1 / step})
    run_id, stream_id = journal.run.run_id, journal.stream.stream_id
    with merged_source(tmp_path, keyspace5) as source:
        wait_for(source, Connection.UP)
        assert values(source, run_id, stream_id) == [1 / step for step in range(1, 121)]
        (series,) = source.series(run_id, Ask("loss", 120))
        assert series.unshipped.tolist() == [False] * 100 + [True] * 20
        assert source.runs()[0].unshipped == 20
        ship_what_is_there(tmp_path, keyspace5)
        (series,) = eventually(
            lambda: source.series(run_id, Ask("loss", 120)), lambda found: not found[0].unshipped.any()
        )
        assert series.points == 120
        assert source.run(run_id).row.unshipped == 0
    journal.close()
