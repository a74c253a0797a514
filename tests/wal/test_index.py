"""``index.db``: what was read of Cassandra stays, for this process and the next, and is read again only where
it changed."""

from __future__ import annotations

import sqlite3
import threading
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any
from uuid import UUID

import numpy as np
import pytest
from helpers.drivercount import counted
from helpers.logs import START_NS, Ticking, make_run, write_run
from helpers.nodes import fresh_keyspace
from helpers.pagedlogs import check_series, check_whole, new_log, points_of, write_metric
from helpers.reading import merged_source, wait_for
from helpers.rows import run_row
from helpers.syncing import connect, drain, target_of
from helpers.waiting import eventually

from wal.merged import MergedSource
from wal.reading.indexfile import IndexFile
from wal.reading.listedmetrics import ListedMetrics
from wal.reading.shelf import FRESH_NS, Shelf
from wal.settings import Settings
from wal.source import Ask, Connection, RunRow, RunState, SourceError
from wal.summary import MetricSummary

WEEK_S = 7 * 24 * 3_600


def is_written(log_dir: Path, table: str) -> bool:
    return bool(IndexFile(log_dir).query(f"SELECT 1 FROM {table} LIMIT 1"))


def test_other_hosts_runs_and_open_charts_outlive_the_app(tmp_path: Path, own_node: Any) -> None:
    """Cassandra dies, the app is started anew: the list, the run and the charts are as of the last look."""
    here, elsewhere = tmp_path / "here", tmp_path / "elsewhere"
    long = new_log(
        here, lambda journal: write_metric(journal, [(at, float(np.sin(at))) for at in range(9_000)])
    )
    short, _ = write_run(here, ({"loss": 1 / step} for step in range(1, 41)), make_run(name="short"))
    points, run_id = points_of(long.directory), long.run.run_id
    with fresh_keyspace(own_node) as settings:
        drain(here, settings)
        with merged_source(elsewhere, settings) as source:
            wait_for(source, Connection.UP)
            for run in (run_id, short):
                source.run(run)
                source.series(run, Ask("loss", 100), wait_s=60)
            eventually(lambda: is_written(elsewhere, "shipped_run"))
            rows = {row.run_id: row for row in source.runs()}
            assert source.status().as_of_ns == 0
        own_node.pause()
        with merged_source(elsewhere, settings) as source:
            status = wait_for(source, Connection.OFFLINE)
            check_kept(source, rows)
            assert status.as_of_ns > 0
            (series,) = source.series(run_id, Ask("loss", 100))
            assert series.as_of_ns > 0
            check_series(series, points)
            check_whole(series, points)
            # Never read at this zoom: the buckets that were read are shown.
            (zoomed,) = source.series(run_id, Ask("loss", 100, range=(10, 60)))
            assert zoomed.resolution > 1
            check_series(zoomed, points)
            assert source.series(short, Ask("loss", 100))[0].points == 40
            for never_read in (
                lambda: source.series(run_id, Ask("lr", 100)),
                lambda: source.records(run_id, long.stream.stream_id),
            ):
                with pytest.raises(SourceError):
                    never_read()
        own_node.resume()


def check_kept(source: MergedSource, rows: dict[UUID, Any]) -> None:
    found = {row.run_id: row for row in eventually(source.runs)}
    assert found.keys() == rows.keys()
    for run_id, row in found.items():
        before = rows[run_id]
        assert (row.name, row.state, row.records, row.step) == (
            before.name, before.state, before.records, before.step,
        )  # fmt: skip
        assert row.metrics["loss"].summary.pack() == before.metrics["loss"].summary.pack()
        assert source.run(run_id).streams[0].records == before.records


def test_a_refresh_reads_the_weeks_that_changed(tmp_path: Path, keyspace5: Settings) -> None:
    clock = Ticking(START_NS)
    for week in range(4):
        for number in range(5):
            run = make_run(name=f"{week}-{number}", at_ns=clock())
            write_run(tmp_path, [{"loss": 1.0}], run, clock_ns=clock)
        clock.tick(WEEK_S)
    drain(tmp_path, keyspace5)
    store = connect(target_of(keyspace5))
    assert len(store.runs()) == 20
    rows: Counter[str]
    with counted(store) as rows:
        assert len(store.runs()) == 20
    assert rows["runs_by_week"] == 4  # the marks
    next_process = connect(target_of(keyspace5))
    next_process.recall(store.runs())
    with counted(next_process) as rows:
        assert len(next_process.runs()) == 20
    assert rows["runs_by_week"] == 4 + 20  # and no curve
    next_process.close(wait=True)
    clock.tick(60 - 2 * WEEK_S)
    other = tmp_path / "another machine"
    write_run(other, [{"loss": 1.0}], make_run(name="late", at_ns=clock()), clock_ns=clock)
    drain(other, keyspace5)
    with counted(store) as rows:
        assert len(store.runs()) == 21
    assert rows["runs_by_week"] == 4 + 6 + 1  # the marks, one week, the new curve
    store.close(wait=True)


def test_a_deleted_run_is_forgotten(tmp_path: Path, keyspace5: Settings) -> None:
    run_id, _ = write_run(tmp_path, [{"loss": 1.0}])
    drain(tmp_path, keyspace5)
    store = connect(target_of(keyspace5))
    (row,) = store.runs()
    store.session.write(
        f"UPDATE {keyspace5.keyspace}.runs_by_week SET deleted_at = toTimestamp(now())"
        " WHERE week = ? AND start_time = ? AND run_id = ?",
        store.session.read(f"SELECT week, start_time, run_id FROM {keyspace5.keyspace}.runs_by_week")[0],
    )
    assert row.run_id == run_id
    assert store.runs() == []
    store.close(wait=True)


def test_a_file_that_is_no_good_is_made_anew_and_two_may_read(tmp_path: Path) -> None:
    first, second = IndexFile(tmp_path), IndexFile(tmp_path)

    def put(writer: sqlite3.Connection) -> None:
        writer.execute("INSERT OR REPLACE INTO heard VALUES('there', 5)")

    assert first.write(put)
    assert not second.write(put)
    assert second.query("SELECT at_ns FROM heard") == [(5,)]
    first.close()
    (tmp_path / "index.db").write_bytes(b"nothing that SQLite reads " * 99)
    assert second.query("SELECT at_ns FROM heard") == []
    assert second.write(put)
    assert second.query("SELECT at_ns FROM heard") == [(5,)]
    second.close()
    assert not second.write(put)


def test_it_may_be_asked_from_many_threads(tmp_path: Path) -> None:
    index = IndexFile(tmp_path)
    wrong: list[object] = []

    def put(name: str, at: int) -> Callable[[sqlite3.Connection], None]:
        def change(writer: sqlite3.Connection) -> None:
            writer.execute("INSERT OR REPLACE INTO heard VALUES(?, ?)", (name, at))

        return change

    def work(name: str) -> None:
        for at in range(40):
            index.write(put(name, at))
            found = index.query("SELECT at_ns FROM heard WHERE origin = ?", (name,))
            if found != [(at,)]:
                wrong.append(found)

    threads = [threading.Thread(target=work, args=(f"{number}",)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    index.close()
    assert wrong == []


def test_a_run_that_ran_is_stale_when_nobody_has_heard_of_it_for_long(tmp_path: Path) -> None:
    index = IndexFile(tmp_path)
    body = (
        '{"project": "p", "name": "n", "host": "h", "started_ns": 1, "ended_ns": null, "last_ts_ns": 2,'
        ' "step": 3, "records": 4, "tags": ["a"], "notes": "", "group": "", "job_type": "",'
        ' "total_steps": null, "streams": 1, "unshipped": 0, "state": "running", "metrics": [],'
        ' "revision": null}'
    )

    def put(writer: sqlite3.Connection) -> None:
        writer.execute("INSERT INTO heard VALUES('there', 1000)")
        writer.execute("INSERT INTO shipped_run VALUES('there', ?, ?, x'')", (str(UUID(int=7)), body))
        writer.execute("INSERT INTO shipped_run VALUES('there', ?, '{}', x'')", (str(UUID(int=8)),))

    assert index.write(put)
    shelf = Shelf(index)
    for now, state in ((2_000, RunState.RUNNING), (FRESH_NS + 2_000, RunState.STALE)):
        rows, heard = shelf.rows("there", now)
        assert heard == 1_000
        assert [row.state for row in rows.values()] == [state]
    assert shelf.rows("elsewhere", 0) == ({}, 0)
    index.close()


def test_curves_of_the_list_lie_in_the_index_alone(tmp_path: Path) -> None:
    """Rows come back as they were, the newest where few are wanted, and unpack what they are asked for."""
    summary = MetricSummary()
    for step in range(50):
        summary.add(step, float(step))
    packed = summary.pack()
    rows: dict[UUID, RunRow] = {}
    for at in range(1, 21):
        row = run_row(f"run-{at}", run_id=UUID(int=at), shipped=True)
        metrics = ListedMetrics.of(row.run_id, at, ["loss"], {"loss": "min"}, {"loss": packed})
        rows[row.run_id] = replace(row, metrics=metrics)
    index = IndexFile(tmp_path)
    shelf = Shelf(index)
    shelf.put_rows("there", rows, 1_000)
    assert rows[UUID(int=3)].metrics["loss"].summary.pack() == packed  # now from the index
    few, _ = Shelf(index).rows("there", 2_000, newest=5)
    assert {int(run_id) for run_id in few} == {16, 17, 18, 19, 20}
    found, _ = Shelf(index).rows("there", 2_000)
    for run_id, row in found.items():
        assert replace(row, metrics={}) == replace(rows[run_id], metrics={})
        metrics = row.metrics
        assert isinstance(metrics, ListedMetrics)
        assert metrics.revision == int(run_id)
        assert metrics["loss"].best == (0.0, 0)
        assert metrics["loss"].summary.pack() == packed
    index.close()


def test_curves_that_the_index_has_lost_are_read_anew(tmp_path: Path) -> None:
    index = IndexFile(tmp_path)
    row = run_row(shipped=True)
    listed = ListedMetrics.of(row.run_id, 7, ["loss"], {}, {"loss": MetricSummary().pack()})
    row = replace(row, metrics=listed)
    Shelf(index).put_rows("there", {row.run_id: row}, 1_000)
    (tmp_path / "index.db").unlink()
    assert listed.revision == 7
    assert list(listed["loss"].summary.curve()) == []
    assert listed.revision is None
    index.close()
