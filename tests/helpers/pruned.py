"""A stream of small segments that Cassandra provably has, as the syncer's store says it, and pruning it."""

from __future__ import annotations

import os
import shutil
import time
from pathlib import Path
from uuid import UUID

from helpers.logs import log, log_special, log_topology, make_run, open_journal
from helpers.pagedlogs import fill_pages
from helpers.waiting import wait_until
from wal.journal import Journal, read_meta, segment_paths
from wal.paging.pagefile import whole_through
from wal.record import Kind
from wal.segments.receipts import is_plain
from wal.shipping.cursors import PagingState, SegmentState, State, StreamState, VerifiedSegment
from wal.shipping.errands import PRUNE_SEGMENTS, deliver
from wal.shipping.segmentpruning import plan_segments

PLACE = "cascor 1"
HOUR_S = 3600.0

SEGMENT, SEGMENTS = 200, 6
RECORDS = 1_100
PAGED = 1024
"""What a syncer has paged of a live stream of so many records: a multiple of 512."""

PRUNABLE = (1, 2, 3, 4)
"""The newest two sealed segments stay."""

TOPOLOGY_SEQ, SUMMARY_SEQ = 150, 350
"""Records of other kinds, in segments that go."""


def loss_at(step: int) -> float:
    """A curve with a spike of one step here and there."""
    return 100.0 + step if step % 97 == 5 else 1.0 / (step + 1)


def log_stream(journal: Journal, records: int = RECORDS) -> None:
    """Log on to so many records, each at the step of its seq; it waits where a segment ends for the next one,
    so that all are of the same length."""
    for seq in range(journal.last_seq + 1, records + 1):
        if seq % SEGMENT == 0:
            wait_until(lambda: journal._next is not None)
        if seq == TOPOLOGY_SEQ:
            log_topology(journal, seq, {"input_size": 2, "hidden_units": []})
        elif seq == SUMMARY_SEQ:
            log_special(journal, Kind.SUMMARY, seq, {"best": 0.5}, note="early")
        else:
            log(journal, seq, {"loss": loss_at(seq)})


def plain(journal: Journal, segments: int) -> bool:
    """Whether so many segments are sealed and plain."""
    paths = segment_paths(journal.directory)[:segments]
    metas = [read_meta(path) for path in paths]
    sealed = all(meta is not None and meta.seal is not None for meta in metas)
    return len(paths) == segments and sealed and all(map(is_plain, paths))


def age(directory: Path, seconds: float = 2 * HOUR_S) -> None:
    """Have a stream's files look as old as that."""
    then = time.time() - seconds
    for path in segment_paths(directory):
        os.utime(path, (then, then))


def write_template(log_dir: Path) -> Path:
    """An ended stream with its pages and what a syncer remembers of it; its directory."""
    journal = open_journal(log_dir, make_run(), records_per_segment=SEGMENT)
    log_stream(journal)
    journal.close("done", 0)
    fill_pages(journal.directory, PAGED)
    age(journal.directory)
    remember(log_dir, journal.directory)
    return journal.directory


def remember(log_dir: Path, directory: Path) -> None:
    """Write down as a syncer would that all of a stream is delivered, and paged to :data:`PAGED`."""
    stream_id, run_id = UUID(directory.name), UUID(directory.parent.name)
    state = State(log_dir)
    state.put_destination(PLACE)
    state.put_stream(StreamState(stream_id, run_id, base_us=7, registered=True, announced=RECORDS))
    put_proven(state, directory)
    identity, through = whole_through(directory)
    assert through == PAGED
    state.put_paging(PagingState(stream_id, 0, 0, 0, identity, PAGED, PAGED))
    state.commit()
    state.close()


def put_proven(state: State, directory: Path) -> None:
    """Write down that every segment of a stream is acknowledged, stated and verified."""
    stream_id = UUID(directory.name)
    for path in segment_paths(directory):
        meta = read_meta(path)
        assert meta is not None
        assert meta.seal is not None
        first, last = meta.first_seq, meta.seal.last_seq
        state.put_segment(SegmentState(stream_id, meta.number, first, last, stated=True))
        state.put_verified(VerifiedSegment(stream_id, meta.number, first, last, time.time_ns()))


def copied(template: Path, log_dir: Path) -> Path:
    """A copy of a whole log directory; the stream's directory in it. Files keep their times."""
    shutil.copytree(template.parent.parent, log_dir)
    return log_dir / template.parent.name / template.name


def planned(log_dir: Path, age_s: float = 0.0) -> list[int]:
    """The numbers of the segments that may go: proven ones."""
    found = plan_segments(log_dir, time.time_ns(), age_s)
    return [segment.number for segment, is_verified in found if is_verified]


def request(
    directory: Path, destination: str = PLACE, numbers: tuple[int, ...] = PRUNABLE
) -> dict[str, object]:
    """The content of an errand that asks for segments of a stream to be pruned."""
    segments = [[directory.parent.name, directory.name, number] for number in numbers]
    return {"destination": destination, "age_s": 0.0, "segments": segments}


def prune(directory: Path, destination: str = PLACE) -> None:
    """Have it done, whatever can be."""
    assert deliver(directory.parent.parent, PRUNE_SEGMENTS, request(directory, destination))


def receipts(directory: Path) -> list[int]:
    """The numbers of the segments of which only the receipt is left."""
    metas = map(read_meta, segment_paths(directory))
    return [meta.number for meta in metas if meta is not None and meta.receipt is not None]
