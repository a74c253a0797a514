"""Segments of runs that stay: only what is delivered, verified, paged and old leaves but a receipt, nobody
reads silence into it, and a kill -9 in between harms nothing.

No Cassandra is needed for that: what it said is in ``state.db``, written here as a syncer would.
"""

from __future__ import annotations

import os
import shutil
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from uuid import UUID

import numpy as np
import pytest
from helpers.pagedlogs import check_series, check_whole, fill_pages, points_of
from helpers.pruned import (
    HOUR_S,
    PLACE,
    PRUNABLE,
    RECORDS,
    SEGMENT,
    SEGMENTS,
    TOPOLOGY_SEQ,
    copied,
    planned,
    prune,
    receipts,
    request,
    write_template,
)
from helpers.reading import merged_source
from helpers.syncing import step_until
from helpers.trainer import environment
from helpers.waiting import stream_records

from wal.catalog import Catalog
from wal.journal import PrunedSegment, read_meta, read_records, segment_paths
from wal.link import Target
from wal.local import LocalSource
from wal.paging.pagefile import delete_pages, read_state
from wal.reading.seriesreader import FEW_RECORDS
from wal.reading.streamreader import StreamReader
from wal.segments.meta import SegmentMeta
from wal.segments.segment import last_step
from wal.settings import Settings
from wal.shipping import inbox
from wal.shipping.cursors import Doubt, SegmentState, State, StreamState, VerifiedSegment
from wal.shipping.errands import PRUNE_SEGMENTS, Errands
from wal.shipping.pruning import TRASH
from wal.source import Ask, Pruned, SourceError
from wal.syncer import Syncer

DAY_NS = 86_400 * 1_000_000_000
GONE = len(PRUNABLE) * SEGMENT


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A stream that may be pruned; it is to be copied."""
    return write_template(tmp_path_factory.mktemp("template") / "log")


@pytest.fixture
def stream(template: Path, tmp_path: Path) -> Path:
    """The directory of a stream that may be pruned."""
    return copied(template, tmp_path / "log")


def ids(directory: Path) -> tuple[UUID, UUID]:
    return UUID(directory.parent.name), UUID(directory.name)


# -- the choice --------------------------------------------------------------------------------------


def test_what_is_delivered_verified_and_paged_leaves_its_receipt(stream: Path) -> None:
    log_dir = stream.parent.parent
    before = {path.name: (read_meta(path), path.stat()) for path in segment_paths(stream)}
    assert planned(log_dir) == list(PRUNABLE)
    prune(stream)
    assert receipts(stream) == list(PRUNABLE)
    assert planned(log_dir) == []
    assert not (log_dir / TRASH).exists()
    for path in segment_paths(stream):
        (old, stat), meta = before[path.name], read_meta(path)
        assert isinstance(old, SegmentMeta)
        assert meta is not None
        assert meta._replace(receipt=None) == old, "what it says of itself stays"
        assert abs(path.stat().st_mtime_ns - stat.st_mtime_ns) < 1_000_000, "its records are as old as before"
        assert path.stat().st_mode & 0o077 == 0
        if meta.receipt is not None:
            assert (meta.receipt.destination, meta.receipt.base_us) == (PLACE, 7)
            assert path.stat().st_size < stat.st_size
            with pytest.raises(PrunedSegment, match="in Cassandra alone"):
                read_records(path)
    assert (stream / "pages.db").exists()
    prune(stream)  # once more: nothing is left to do
    assert receipts(stream) == list(PRUNABLE)


def changed(what: Callable[[State, UUID], object]) -> Callable[[Path], None]:
    """A change of ``state.db``."""

    def apply(directory: Path) -> None:
        state = State(directory.parent.parent)
        what(state, UUID(directory.name))
        state.commit()
        state.close()

    return apply


def paging(**changes: object) -> Callable[[Path], None]:
    """What is remembered of the pages is something else."""
    return changed(lambda state, key: state.put_paging(state.paging()[key], **changes))


def file_of(number: int, suffix: str = "") -> Callable[[Path], Path]:
    return lambda directory: directory / f"{number:06d}.db{suffix}"


def unsealed(directory: Path) -> None:
    path = file_of(2)(directory)
    times = path.stat()
    with closing(sqlite3.connect(path, isolation_level=None)) as db:
        db.execute("DELETE FROM meta WHERE k = 'seal'")
    os.utime(path, ns=(times.st_atime_ns, times.st_mtime_ns))


def holed(directory: Path) -> None:
    """A record of segment 3 could not be read when the pages were built."""
    with closing(sqlite3.connect(directory / "pages.db", isolation_level=None)) as db:
        db.execute("INSERT INTO hole VALUES (450, 450)")


NOW = time.time_ns
BUT_2 = [1, 3, 4]
KEPT: dict[str, tuple[Callable[[Path], object], list[int]]] = {
    "not acknowledged": (
        changed(lambda s, i: s.put_segment(SegmentState(i, 2, 201, 399, stated=True))), BUT_2,
    ),
    "not stated": (changed(lambda s, i: s.put_segment(SegmentState(i, 2, 201, 400))), BUT_2),
    "verified in part": (changed(lambda s, i: s.put_verified(VerifiedSegment(i, 2, 201, 399, NOW()))), BUT_2),
    "verified long ago": (
        changed(lambda s, i: s.put_verified(VerifiedSegment(i, 2, 201, 400, NOW() - 2 * DAY_NS))), BUT_2,
    ),
    "doubtful": (changed(lambda s, i: s.put_doubt(Doubt(i, 2, 5, 210, 220))), BUT_2),
    "refused": (changed(lambda s, i: s.put_rejected(i, 400, "too large", 1)), BUT_2),
    "not sealed": (unsealed, BUT_2),
    "young": (lambda directory: os.utime(file_of(2)(directory)), BUT_2),
    "written beside": (lambda directory: file_of(2, "-wal")(directory).write_bytes(b""), BUT_2),
    "damaged": (lambda directory: file_of(2)(directory).write_bytes(b"\xff" * 4096), BUT_2),
    "fine pages not certain": (paging(fine_settled=512), [1, 2]),
    "coarse pages not certain": (paging(coarse_settled=512), [1, 2]),
    "pages of another file": (paging(identity=1), []),
    "a hole in the pages": (holed, [1, 2]),
    "no pages": (delete_pages, []),
    "to be sent again": (changed(lambda s, i: s.send_again({i: 0})), []),
    "never delivered": (
        changed(lambda s, i: s.put_stream(StreamState(i, s.streams()[i].run_id))), [],
    ),
}  # fmt: skip


@pytest.mark.parametrize("reason", KEPT)
def test_what_speaks_against_it_keeps_a_segment(stream: Path, reason: str) -> None:
    spoil, going = KEPT[reason]
    spoil(stream)
    before = {path: path.read_bytes() for path in segment_paths(stream)}
    prune(stream)
    gone = [int(path.stem) for path, content in before.items() if path.read_bytes() != content]
    assert gone == going


def test_nothing_goes_for_another_cassandra_or_below_the_age(stream: Path) -> None:
    prune(stream, destination="another")
    assert receipts(stream) == []
    assert planned(stream.parent.parent, 3 * HOUR_S) == []


def test_a_short_stream_is_left_alone(stream: Path) -> None:
    """Its few records are read one by one, whether or not a Cassandra answers."""
    for path in segment_paths(stream)[FEW_RECORDS // SEGMENT :]:
        path.unlink()
    assert planned(stream.parent.parent) == []


def test_without_a_syncers_store_nothing_may_go(stream: Path) -> None:
    (stream.parent.parent / "state.db").unlink()
    assert planned(stream.parent.parent) == []


# -- reading ------------------------------------------------------------------------------------------


def test_the_catalogue_says_what_it_said(stream: Path) -> None:
    log_dir = stream.parent.parent

    def told() -> object:
        catalog = Catalog(log_dir)
        try:
            (entry,) = catalog.streams()
        finally:
            catalog.close()
        (log_dir / "index.db").unlink()
        position, summary = entry.summaries["loss"]
        numbers = entry.last_seq, entry.first_step, entry.last_step, entry.last_ts, entry.state, entry.acked
        return numbers, position, summary.pack(), entry.problem, entry.run

    before = told()
    prune(stream)
    assert told() == before


def test_a_look_that_was_long_ago_goes_on_behind_the_receipts(stream: Path, template: Path) -> None:
    """A laptop that slept: what it had read of the stream ends in a segment that was pruned meanwhile."""
    for path in segment_paths(stream)[1:]:
        path.unlink()
    reader = StreamReader(*ids(stream), stream)
    assert reader.refresh(0, NOW()).last_seq == SEGMENT
    whole = StreamReader(*ids(template), template).refresh(0, NOW())
    for path in segment_paths(template):
        shutil.copy2(path, stream / path.name)
    prune(stream)
    entry = reader.refresh(0, NOW())
    assert (entry.last_seq, entry.problem) == (RECORDS, None)
    assert entry.summaries["loss"][1].pack() == whole.summaries["loss"][1].pack()


def test_rare_records_and_the_last_step_stay(stream: Path) -> None:
    prune(stream)
    source = LocalSource(stream.parent.parent)
    try:
        run_id, stream_id = ids(stream)
        detail = source.run(run_id)
        assert detail.summary == {"best": 0.5, "note": "early"}
        (topology,) = source.topologies(run_id)
        assert topology.seq == TOPOLOGY_SEQ
        assert source.topology(run_id, stream_id, TOPOLOGY_SEQ)["input_size"] == 2
    finally:
        source.close()
    assert [last_step(path) for path in segment_paths(stream)] == [
        min(SEGMENT * (at + 1), RECORDS) for at in range(SEGMENTS)
    ]


def test_nobody_takes_what_was_pruned_for_silence(stream: Path) -> None:
    prune(stream)
    source = LocalSource(stream.parent.parent)
    run_id, stream_id = ids(stream)
    try:
        for ask in (
            lambda: source.points(run_id, stream_id, "loss"),
            lambda: source.points(run_id, stream_id, "loss", GONE - 1, GONE + 1),
            lambda: source.points_within(run_id, stream_id, "loss", [(GONE, GONE)]),
            lambda: source.records(run_id, stream_id),
            lambda: source.records(run_id, stream_id, GONE - 1, 1),
        ):
            with pytest.raises(Pruned, match="in Cassandra alone"):
                ask()
        assert len(source.records(run_id, stream_id, GONE)) == RECORDS - GONE
        assert len(source.points(run_id, stream_id, "loss", GONE)) == RECORDS - GONE
    finally:
        source.close()


def test_curves_are_what_they_were_and_a_zoom_hides_no_extreme(stream: Path, template: Path) -> None:
    """Without a Cassandra the pages stand for what was pruned: exact where a column holds whole buckets, and
    in buckets instead of points closer up."""
    run_id = ids(stream)[0]
    points = points_of(template)
    prune(stream)
    with merged_source(stream.parent.parent) as source:
        for columns in (20, 60):
            (series,) = source.series(run_id, Ask("loss", columns))
            check_series(series, points)
            check_whole(series, points)
        for low, high in ((90, 130), (195, 215), (GONE - 20, GONE + 40), (1, 40)):
            (series,) = source.series(run_id, Ask("loss", 200, range=(low, high)))
            check_series(series, points)
            inside = (points.step >= low) & (points.step <= high)
            assert np.nanmax(series.columns.max) >= points.value[inside].max()
        (series,) = source.series(run_id, Ask("loss", 400, range=(GONE + 10, RECORDS)))
        assert series.resolution == 1, "what is left of the log is drawn point by point"
        check_series(series, points)


def test_a_syncer_that_restarts_has_nothing_to_send_and_no_less_to_count(stream: Path) -> None:
    prune(stream)
    syncer = alone(stream.parent.parent)
    try:
        step_until(syncer, lambda outcome: not outcome.unpaged and syncer.backlog.all_seen)
        (found,) = syncer.backlog.streams.values()
        assert (found.waiting, found.acked.pairs, found.newest) == (0, ((1, RECORDS),), RECORDS)
        assert (found.fresh.count, found.todo.count, found.problems) == (0, 0, {})
    finally:
        syncer.close()
    state = read_state(stream)
    assert state is not None
    assert state.paged_seq == RECORDS, "the pages go on to the end"


def alone(log_dir: Path) -> Syncer:
    """A syncer of a machine whose Cassandra is away."""
    target = Target(Settings(flush_interval=0.02), None)
    return Syncer(log_dir, lambda _: pytest.fail("nothing to connect to"), lambda: target)


def test_lost_pages_are_not_made_of_what_is_left(stream: Path, template: Path, tmp_path: Path) -> None:
    prune(stream)
    delete_pages(stream)
    log_dir = stream.parent.parent
    syncer = alone(log_dir)
    try:
        step_until(syncer, lambda _: bool(syncer.pager.problems))
        (problem,) = syncer.pager.problems
        assert "wait for records that were pruned" in problem
    finally:
        syncer.close()
    assert read_state(stream) is None
    unfinished = copied(template, tmp_path / "unfinished")
    delete_pages(unfinished)
    fill_pages(unfinished, 512)  # as a syncer leaves them that is killed while it makes them anew
    for made in (None, unfinished / "pages.db"):
        if made is not None:
            shutil.copy(made, stream / "pages.db")
        with merged_source(log_dir) as source, pytest.raises(SourceError, match="once Cassandra answers"):
            source.series(ids(stream)[0], Ask("loss", 40))


# -- kill -9 at every step -----------------------------------------------------------------------------


def main(log_dir: Path, fatal: int) -> None:
    """The victim: carries out what it is asked for and kills itself at a step; else prints how many."""
    steps: list[str] = []

    def on_step(step: str) -> None:
        steps.append(step)
        if len(steps) == fatal:
            os.kill(os.getpid(), signal.SIGKILL)

    state = State(log_dir)
    Errands(log_dir, state, on_step).run()
    state.close()
    print(*steps, sep="\n")


def steps_until(log_dir: Path, fatal: int) -> list[str] | None:
    """The steps, or None when it was killed."""
    done = subprocess.run(
        [sys.executable, __file__, str(log_dir), str(fatal)], env=environment(), capture_output=True,
        text=True, timeout=120,
    )  # fmt: skip
    if done.returncode == -signal.SIGKILL:
        return None
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


@pytest.mark.kill
def test_a_kill_between_any_two_steps_loses_nothing(template: Path, tmp_path: Path) -> None:
    records = {record.seq: record for record in stream_records(template)}
    directory = copied(template, tmp_path / "whole")
    inbox.post(tmp_path / "whole", PRUNE_SEGMENTS, request(directory, numbers=PRUNABLE[:2]))
    steps = steps_until(tmp_path / "whole", 0)
    assert steps is not None
    assert steps == ["receipt written", "segment replaced"] * 2
    for fatal in range(1, len(steps) + 1):
        log_dir = tmp_path / str(fatal)
        directory = copied(template, log_dir)
        inbox.post(log_dir, PRUNE_SEGMENTS, request(directory, numbers=PRUNABLE[:2]))
        assert steps_until(log_dir, fatal) is None
        assert receipts(directory) == list(PRUNABLE[: fatal // 2])
        for path in segment_paths(directory)[fatal // 2 :]:
            assert all(records[record.seq] == record for record in read_records(path))
        state = State(log_dir)
        Errands(log_dir, state).run()
        state.close()
        assert receipts(directory) == list(PRUNABLE[:2])
        assert not (log_dir / TRASH).exists()
        assert not inbox.waiting(log_dir)


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]))
