"""Follows one stream on disk: reads its facts once, then only what was appended. Standard library only."""

from __future__ import annotations

import os
import struct
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol
from uuid import UUID

from wal.reading.streams import StreamEntry, Summaries, state_of
from wal.record import Kind, NewerFormat, packer
from wal.segments.liveness import Liveness, liveness
from wal.segments.meta import CorruptSegment, PrunedSegment, RunInfo, Seal, SegmentMeta, StreamInfo
from wal.segments.segment import (
    SUMMARY_TYPES,
    check_types,
    is_segment,
    read_meta,
    read_rows,
    reading_segment,
    segment_paths,
)
from wal.source import RunState
from wal.summary import MetricSummary

NEWEST_SEGMENTS = 3
"""Only the newest segments of a stream change: the live one, the one being sealed, the one made ahead."""

UNREADABLE = (CorruptSegment, NewerFormat, FileNotFoundError, PermissionError)
"""What reading a segment raises; each with a sentence that names the file."""

Fingerprint = tuple[tuple[str, int, int], ...]
"""(file name, size, mtime in ns) of the files of a stream that can change, in name order."""


def fingerprint(directory: Path) -> Fingerprint:
    """What os.stat shows of a stream's newest segments. A stream that shows the same was not written to.

    The ``-shm`` is left out, as readers change it, and so are the pages: the syncer builds them, also of a
    stream that crashed long ago. Raises OSError for a directory that cannot be listed.
    """
    with os.scandir(directory) as entries:
        names = {entry.name for entry in entries}
    newest = sorted(filter(is_segment, names))[-NEWEST_SEGMENTS:]
    files = [name for segment in newest for name in (segment, f"{segment}-wal") if name in names]
    shown: list[tuple[str, int, int]] = []
    for name in files:
        try:
            stat = os.stat(os.path.join(directory, name))
        except FileNotFoundError:  # sealed in between
            continue
        shown.append((name, stat.st_size, stat.st_mtime_ns))
    return tuple(shown)


@dataclass(slots=True)
class StreamFacts:
    """What was read of a stream so far, but for the summaries. ``meta`` is its newest segment's (None while
    nothing can be read), ``number`` the segment that rows are read from next, ``positions`` the metrics in
    the order of first logging."""

    meta: SegmentMeta | None = None
    liveness: Liveness = Liveness.UNKNOWN
    number: int = 0
    last_seq: int = 0
    last_ts: int = 0
    steps: tuple[int, int] | None = None
    positions: dict[str, int] = field(default_factory=dict[str, int])

    def see_steps(self, *steps: int) -> None:
        low, high = self.steps or (steps[0], steps[0])
        self.steps = (min(low, *steps), max(high, *steps))


class StreamReader:
    """The facts of one stream, kept up to date by :meth:`refresh`.

    Sealed segments bring the summary of everything before them, so a first look costs one sealed segment's
    meta and the rows of the unsealed ones, however long the stream is. ``facts`` and ``packed`` (all the
    metrics' summaries) go on from an earlier look, possibly another process'.
    """

    def __init__(
        self,
        run_id: UUID,
        stream_id: UUID,
        directory: Path,
        facts: StreamFacts | None = None,
        packed: Mapping[str, bytes] | None = None,
    ) -> None:
        self.run_id = run_id
        self.stream_id = stream_id
        self.directory = directory
        self.facts = facts or StreamFacts()
        self._packed = dict(packed or {})
        self._summaries: dict[str, MetricSummary] = {}  # of the metrics that grew since
        self._changed: set[str] = set()
        self._problem: str | None = None

    def refresh(self, heartbeat_ns: int, now_ns: int) -> StreamEntry:
        """Read what is new. ``heartbeat_ns`` is when a file of the stream last changed."""
        self._problem = None
        facts = self.facts
        if facts.meta is None:
            self._begin()
        if facts.meta is not None and facts.meta.end is None:
            # Asked before reading: if the writer is dead now, what is read is all there will ever be.
            facts.liveness = liveness(self.directory, facts.meta.stream)
        if facts.meta is None or facts.meta.end is None or facts.meta.end.last_seq > facts.last_seq:
            for path in segment_paths(self.directory):
                if int(path.stem) >= facts.number:
                    self._follow(path)
        for name in self._changed:
            self._packed[name] = self._summaries[name].pack()
        self._changed.clear()
        summaries = Summaries(dict(facts.positions), dict(self._packed))
        return make_entry(self, facts, summaries, heartbeat_ns, now_ns, self._problem)

    def _begin(self) -> bool:
        """Start behind the newest sealed segment, whose summaries cover everything up to its end. False when
        there is none."""
        for path in reversed(segment_paths(self.directory)):
            meta = self._read_meta(path)
            if meta is None:
                continue
            if self.facts.meta is None:
                self.facts.meta = meta
            # A receipt has no summaries: pruning keeps the newest sealed segment.
            if meta.seal is not None and meta.receipt is None and self._take_summaries(path, meta.seal):
                self.facts.number = meta.number + 1
                self._summaries.clear()
                self._changed.clear()
                return True
        return False

    def _read_meta(self, path: Path) -> SegmentMeta | None:
        try:
            return read_meta(path)
        except FileNotFoundError:  # pruned in between
            return None
        except UNREADABLE as error:
            self._problem = self._problem or str(error)
            return None

    def _take_summaries(self, path: Path, seal: Seal) -> bool:
        try:
            with reading_segment(path) as connection:
                stored: list[tuple[str, int, bytes]] = connection.execute(
                    "SELECT name, position, summary FROM metric ORDER BY position"
                ).fetchall()
                newest = connection.execute("SELECT ts FROM record ORDER BY seq DESC LIMIT 1").fetchone()
            check_types(path, stored, SUMMARY_TYPES)
            steps = [MetricSummary.packed_steps(packed) for _, _, packed in stored]
        except UNREADABLE as error:
            self._problem = self._problem or str(error)
            return False
        except ValueError as error:
            self._problem = self._problem or f"{path}: {error}"
            return False
        for name, position, packed in stored:
            self.facts.positions[name] = position
            self._packed[name] = packed
        for first, last, _, _ in steps:
            self.facts.see_steps(first, last)
        if seal.count:
            self.facts.see_steps(seal.min_step, seal.max_step)
        if newest:
            self.facts.last_ts = newest[0]
        self.facts.last_seq = seal.last_seq
        return True

    def _follow(self, path: Path) -> None:
        meta = self._read_meta(path)
        if meta is None:
            return
        self.facts.meta = meta
        self.facts.number = meta.number
        if meta.seal is not None and meta.seal.last_seq <= self.facts.last_seq:
            return
        try:
            rows = read_rows(path, after_seq=self.facts.last_seq)
        except PrunedSegment as error:  # the last look was long ago; a later seal speaks of these as well
            if not self._begin():
                self._problem = self._problem or str(error)
            return
        except UNREADABLE as error:
            self._problem = self._problem or str(error)
            return
        for seq, kind, keyset, step, ts, body in rows.rows:
            self.facts.last_seq, self.facts.last_ts = seq, ts
            self.facts.see_steps(step, step)
            if kind == Kind.LOG:
                self._add(seq, step, rows.keysets.get(keyset, ()), body)

    def _add(self, seq: int, step: int, names: tuple[str, ...], body: bytes) -> None:
        try:
            values = packer(len(names)).unpack_from(body)
        except struct.error:
            self._problem = self._problem or f"{self.directory}: record {seq} is too short for its key set"
            return
        for name, value in zip(names, values, strict=True):
            summary = self._summaries.get(name)
            if summary is None:
                summary = self._summaries[name] = self._open_summary(name)
            summary.add(step, value)
        self._changed.update(names)

    def _open_summary(self, name: str) -> MetricSummary:
        packed = self._packed.get(name)
        if packed is not None:
            return MetricSummary.unpack(packed)
        self.facts.positions[name] = len(self.facts.positions)
        return MetricSummary()


class Place(Protocol):
    """Which stream, and where it lies."""

    run_id: UUID
    stream_id: UUID
    directory: Path


def make_entry(
    place: Place,
    facts: StreamFacts,
    summaries: Summaries,
    heartbeat_ns: int,
    now_ns: int,
    problem: str | None = None,
) -> StreamEntry:
    """The entry that says what ``facts`` say, with the state as of ``now_ns``."""
    meta = facts.meta
    end = meta.end if meta else None
    first, last = facts.steps or (0, 0)
    if facts.liveness is Liveness.ALIVE:
        heartbeat_ns = max(heartbeat_ns, now_ns)
    state = state_of(end, facts.liveness, now_ns - heartbeat_ns)
    return StreamEntry(
        run_id=place.run_id, stream_id=place.stream_id, directory=place.directory,
        run=meta.run if meta else RunInfo(place.run_id, project="", name=place.run_id.hex[:6]),
        info=meta.stream if meta else _unknown_stream(place.stream_id, heartbeat_ns),
        liveness=facts.liveness, state=state,
        exit_code=end.exit_code if end else None,
        ended_ns=end.ended_ns if end else heartbeat_ns if state is RunState.CRASHED else None,
        last_seq=facts.last_seq, first_step=first, last_step=last, last_ts=facts.last_ts,
        heartbeat_ns=heartbeat_ns, summaries=summaries, problem=problem,
    )  # fmt: skip


def _unknown_stream(stream_id: UUID, started_ns: int) -> StreamInfo:
    """Stands for a stream of which nothing can be read: its problem says why."""
    return StreamInfo(
        stream_id=stream_id, started_ns=started_ns, host="", boot_id="", pid=0, start_ticks=0, rank=0,
        after=None, parent=None, mode="", cwd="", sqlite="",
    )  # fmt: skip
