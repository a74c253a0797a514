"""Charts read from Cassandra's pages: equal to those of all points, and no dearer than they are wide."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any
from uuid import UUID

import numpy as np
import pytest
from helpers.drivercount import counted
from helpers.logs import log, make_run, open_journal
from helpers.nodes import fresh_keyspace
from helpers.pagedlogs import check_series, check_whole, new_log, points_of, write_metric
from helpers.pages import wild_steps, wild_values
from helpers.reading import merged_source, wait_for, wait_for_answers
from helpers.streampages import in_file
from helpers.syncing import connect, drain, make_syncer, step_until, target_of
from helpers.waiting import eventually

from wal.cassandra.store import CassandraStore
from wal.journal import Journal
from wal.local import LocalSource
from wal.merged import MergedSource
from wal.pyramid import Batch, Columns, Series
from wal.settings import Settings
from wal.source import Ask, Connection, Source, XAxis
from wal.syncer import Syncer

SHAPES = {"short": ("dense", 1_000, 1), "dense": ("dense", 100_000, 1), "sparse": ("gaps", 3_000, 12),
          "late": ("late", 8_000, 1), "tokens": ("tokens", 5_000, 1)}  # fmt: skip
"""Shape of the steps, points, records a point."""


@dataclass
class World:
    """The logs, and what each holds."""

    log_dir: Path
    journals: dict[str, Journal]
    points: dict[str, Batch]


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> World:
    log_dir = tmp_path_factory.mktemp("log")
    journals: dict[str, Journal] = {}
    for name, (shape, count, every) in SHAPES.items():
        rng = np.random.default_rng(count)
        points = list(
            zip(wild_steps(rng, count, shape).tolist(), wild_values(rng, count).tolist(), strict=True)
        )

        def write(journal: Journal, points: Any = points, every: int = every) -> None:
            write_metric(journal, points, every=every)

        journals[name] = new_log(log_dir, write)
    return World(log_dir, journals, {name: points_of(one.directory) for name, one in journals.items()})


@pytest.fixture(scope="module", params=["cassandra5", "cassandra41"])
def shipped(request: pytest.FixtureRequest, world: World) -> Iterator[Settings]:
    node: Any = request.getfixturevalue(request.param)
    with fresh_keyspace(node) as settings:
        drain(world.log_dir, settings)
        yield settings
    for path in world.log_dir.glob("state.db*"):  # the next server knows nothing of this one's
        path.unlink()


@pytest.fixture
def remote(shipped: Settings, tmp_path: Path) -> Iterator[MergedSource]:
    """Another machine."""
    with merged_source(tmp_path / "elsewhere", shipped) as source:
        wait_for(source, Connection.UP)
        yield source


def store_of(source: MergedSource) -> CassandraStore:
    store = source._reach.store
    assert store is not None
    return store


def zooms(points: Batch) -> list[tuple[int, int] | None]:
    low, high = int(points.step.min()), int(points.step.max())
    span = high - low
    return [None, (low + span // 3, low + span // 2), (low + span // 2, low + span // 2 + span // 100),
            (high - span // 5_000 - 40, high)]  # fmt: skip


@pytest.mark.parametrize("name", SHAPES)
def test_pages_and_points_are_the_logs(shipped: Settings, world: World, name: str) -> None:
    """The same questions, the same answers, byte for byte."""
    journal = world.journals[name]
    place = (journal.run.run_id, journal.stream.stream_id)
    local = LocalSource(world.log_dir)
    store = connect(target_of(shipped))
    expected = in_file(journal.directory)
    sources: tuple[Source, Source] = (local, store)
    first, second = (source.paged(*place) for source in sources)
    assert first is not None
    assert first == second
    assert first.fine_seq == journal.last_seq
    levels = sorted({level for metric, level, _ in expected if metric == "loss"})
    for source in sources:
        top, pages = source.top_pages(*place, "loss")
        assert top == levels[-1]
        assert [(number, bytes(body)) for number, body in pages] == [
            (number, body) for (metric, level, number), (_, body) in sorted(expected.items())
            if (metric, level) == ("loss", top)
        ]  # fmt: skip
        for level in levels:
            numbers = sorted(number for metric, at, number in expected if (metric, at) == ("loss", level))
            low, high = numbers[len(numbers) // 3], numbers[-1]
            found = source.pages(*place, "loss", level, low, high)
            assert [(number, bytes(body)) for number, body in found] == [
                (number, expected["loss", level, number][1]) for number in numbers if low <= number <= high
            ]
        assert source.top_pages(*place, "none") == (0, ())
        assert source.pages(*place, "none", 1, 0, 5) == []
        ranges = [(3, 3), (100, 180), (900, journal.last_seq + 7)]
        points, seq = source.points_within(*place, "loss", ranges), world.points[name].seq
        wanted = (seq == 3) | (seq >= 100) & (seq <= 180) | (seq >= 900)
        assert points.seq.tolist() == seq[wanted].tolist()
        assert np.array_equal(points.value, world.points[name].value[wanted], equal_nan=True)
    local.close()
    store.close(wait=True)


@pytest.mark.parametrize("name", SHAPES)
@pytest.mark.parametrize("columns", [40, 320])
def test_a_chart_shows_all_points_and_reads_few(
    remote: MergedSource, world: World, name: str, columns: int
) -> None:
    journal, points = world.journals[name], world.points[name]
    for shown in zooms(points):
        remote.refresh()
        wait_for(remote, Connection.UP)
        with counted(store_of(remote)) as rows:
            (series,) = remote.series(journal.run.run_id, Ask("loss", columns, range=shown), wait_s=60)
        check_series(series, points)
        check_whole(series, points)
        assert not series.unshipped.any()
        levels = 8
        assert rows["metric_pages"] <= columns / 4 + 2 + 8 * levels
        assert rows["training_metrics"] <= (16 * columns if series.resolution == 1 else 512) + 1


def test_counting_notices_a_reader_that_reads_everything(remote: MergedSource, world: World) -> None:
    journal = world.journals["dense"]
    with counted(store_of(remote)) as rows:
        store_of(remote).points(journal.run.run_id, journal.stream.stream_id, "loss")
        store_of(remote).pages(journal.run.run_id, journal.stream.stream_id, "loss", 1, 0, 1 << 20)
    assert rows["training_metrics"] == 100_000
    assert rows["metric_pages"] == math.ceil(100_000 / 512)


def test_the_picture_is_that_of_the_log(remote: MergedSource, shipped: Settings, world: World) -> None:
    """The log alone, the log with Cassandra, and another machine draw the same columns."""
    with merged_source(world.log_dir) as alone, merged_source(world.log_dir, shipped) as both:
        wait_for_answers(both)
        for journal in world.journals.values():
            for axis in (XAxis(), XAxis("relative"), XAxis("time"), XAxis("metric", "loss")):
                ask = Ask("loss", 100, axis)
                (whole,) = alone.series(journal.run.run_id, ask)
                low, high = whole.extent
                zoom = (low + (high - low) // 3, low + (high - low) // 2)
                for shown in (None, zoom):
                    (expected,) = alone.series(journal.run.run_id, replace(ask, range=shown))
                    for source in (both, remote):
                        found = source.series(journal.run.run_id, replace(ask, range=shown), wait_s=60)
                        check_same_columns(found[0].columns, expected.columns)


def check_same_columns(found: Columns, expected: Columns) -> None:
    for field in fields(Columns):
        if field.name != "mean":  # of a level above and of its children, in another order
            left, right = getattr(found, field.name), getattr(expected, field.name)
            assert np.array_equal(left, right, equal_nan=left.dtype == np.float64), field.name


@pytest.mark.parametrize("spoilt", ["min", "max_step", "n_nan", "edges"])
def test_columns_that_differ_are_noticed(world: World, spoilt: str) -> None:
    with merged_source(world.log_dir) as alone:
        (series,) = alone.series(world.journals["late"].run.run_id, Ask("loss", 100))
    other = getattr(series.columns, spoilt).copy()
    other[np.flatnonzero(np.isfinite(other))[0]] += 1
    check_same_columns(series.columns, series.columns)
    with pytest.raises(AssertionError, match=spoilt):
        check_same_columns(replace(series.columns, **{spoilt: other}), series.columns)


def test_summaries_come_from_pages_too(remote: MergedSource, world: World) -> None:
    for name, journal in world.journals.items():
        points = world.points[name]
        with counted(store_of(remote)) as rows:
            summary = remote.metric(journal.run.run_id, "loss", wait_s=60).summary
        finite = points.value[np.isfinite(points.value)]
        assert (summary.n, summary.n_nan) == (len(points), int(np.isnan(points.value).sum()))
        assert (summary.min, summary.max) == (finite.min(), finite.max())
        assert summary.last_step == points.step[-1]
        assert sum(bucket.n for _, _, bucket in summary.curve()) == len(points)
        assert rows["metric_pages"] < 90


def test_a_live_run_is_followed_by_what_is_new(tmp_path: Path, keyspace5: Settings) -> None:
    """A refresh reads the last page and the tail; a late record has the pages read anew."""
    here = tmp_path / "here"
    journal = open_journal(here, make_run())
    syncer = make_syncer(here, keyspace5)
    with merged_source(tmp_path / "elsewhere", keyspace5) as source:
        step = 0
        for count, late in ((6_000, 0), (1_500, 0), (1_500, 1), (1_500, 0)):
            for _ in range(count):
                log(journal, step, {"loss": math.sin(step / 50)})
                step += 1
            if late:
                log(journal, 10, {"loss": 77.0})
            check_followed(syncer, source, journal)
    syncer.close()
    journal.close()


def check_followed(syncer: Syncer, source: MergedSource, journal: Journal) -> None:
    """Once everything is there, the chart shows it all, and the next look costs the tail only."""
    step_until(syncer, lambda outcome: outcome.waiting == 0)
    newest, points = journal.last_seq, points_of(journal.directory)
    eventually(lambda: look_again(syncer, source, journal), lambda through: through >= newest - 512)
    ask = Ask("loss", 100, range=(0, 20_000))

    def look() -> Series:
        return source.series(journal.run.run_id, ask, wait_s=60)[0]

    series = eventually(look, lambda found: found.points == newest)
    check_series(series, points)
    with counted(store_of(source)) as rows:
        look()
    assert rows["metric_pages"] == 0
    assert rows["training_metrics"] <= 1_024


def look_again(syncer: Syncer, source: MergedSource, journal: Journal) -> int:
    """How far the pages go there after another step of the syncer; 0 as long as nothing is known."""
    syncer.step()
    try:
        paged = store_of(source).paged(journal.run.run_id, journal.stream.stream_id)
    except KeyError:
        return 0
    return paged.fine_seq if paged is not None else 0


def test_a_local_run_that_cassandra_lacks_is_drawn_from_the_log(tmp_path: Path, keyspace5: Settings) -> None:
    run_id = new_log(
        tmp_path, lambda journal: write_metric(journal, [(at, 1.0) for at in range(3_000)])
    ).run.run_id
    with merged_source(tmp_path, keyspace5) as source:
        wait_for_answers(source)
        with counted(store_of(source)) as rows:
            (series,) = source.series(run_id, Ask("loss", 50))
        assert series.points == 3_000
        assert series.unshipped.all()
        assert not rows["metric_pages"]


def test_charts_that_were_open_stay_while_cassandra_is_away(tmp_path: Path, own_node: Any) -> None:
    journal = new_log(
        tmp_path / "here", lambda journal: write_metric(journal, [(at, float(-at)) for at in range(9_000)])
    )
    points = points_of(journal.directory)
    run_id: UUID = journal.run.run_id
    with fresh_keyspace(own_node) as settings:
        drain(tmp_path / "here", settings)
        with merged_source(tmp_path / "elsewhere", settings) as source:
            wait_for(source, Connection.UP)
            (before,) = source.series(run_id, Ask("loss", 100), wait_s=60)
            assert before.as_of_ns == 0
            own_node.pause()
            eventually(lambda: source.series(run_id, Ask("loss", 100))[0], lambda series: series.as_of_ns > 0)
            (after,) = source.series(run_id, Ask("loss", 100))
            check_series(after, points)
            own_node.resume()
            wait_for_answers(source)
            eventually(
                lambda: source.series(run_id, Ask("loss", 100))[0], lambda series: series.as_of_ns == 0
            )
