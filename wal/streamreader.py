"""Follows one stream on disk: reads its facts once, then only what was appended. Standard library only."""

from __future__ import annotations

import os
import struct
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol
from uuid import UUID

from wal.liveness import Liveness, liveness
from wal.meta import CorruptSegment, RunInfo, SegmentMeta, StreamInfo
from wal.record import Kind, NewerFormat, packer
from wal.segment import read_meta, read_rows, read_summaries, segment_paths
from wal.source import RunState
from wal.streams import StreamEntry, Summaries, state_of
from wal.summary import MetricSummary

NEWEST_SEGMENTS = 3
"""Only the newest segments of a stream change: the live one, the one being sealed, the one made ahead."""

UNREADABLE = (CorruptSegment, NewerFormat, FileNotFoundError, PermissionError)
"""What reading a segment raises; each with a sentence that names the file."""

Fingerprint = tuple[tuple[str, int, int], ...]
"""(file name, size, mtime in ns) of the files of a stream that can change, in name order."""


def fingerprint(directory: Path) -> Fingerprint:
    """What os.stat shows of a stream's newest segments. A stream that shows the same was not written to.

    The ``-shm`` is left out: readers change it. Raises OSError for a directory that cannot be listed.
    """
    with os.scandir(directory) as entries:
        names = {entry.name for entry in entries}
    segments = sorted(name for name in names if name.endswith(".db"))[-NEWEST_SEGMENTS:]
    files = [name for segment in segments for name in (segment, f"{segment}-wal") if name in names]
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
        self._summaries = {name: MetricSummary.unpack(body) for name, body in self._packed.items()}
        self._changed: set[str] = set()
        self._problem: str | None = None

    def refresh(self, heartbeat_ns: int, now_ns: int) -> StreamEntry:
        """Read what is new. ``heartbeat_ns`` is when a file of the stream last changed."""
        self._problem = None
        facts = self.facts
        # Asked first: if the writer is dead now, what is read afterwards is all there will ever be.
        if facts.meta is not None:
            facts.liveness = liveness(self.directory, facts.meta.stream)
        paths = segment_paths(self.directory)
        if facts.meta is None:
            self._begin(paths)
        for path in paths:
            if int(path.stem) >= facts.number:
                self._follow(path)
        for name in self._changed:
            self._packed[name] = self._summaries[name].pack()
        self._changed.clear()
        summaries = Summaries(dict(facts.positions), dict(self._packed))
        return make_entry(self, facts, summaries, heartbeat_ns, now_ns, self._problem)

    def _begin(self, paths: list[Path]) -> None:
        """Start at the newest sealed segment, whose summaries cover everything up to its end."""
        for path in reversed(paths):
            meta = self._read_meta(path)
            if meta is None:
                continue
            if self.facts.meta is None:
                self.facts.meta = meta
                self.facts.liveness = liveness(self.directory, meta.stream)
            if meta.seal is not None and self._take_summaries(path, meta):
                self.facts.number = meta.number
                return
        self.facts.number = 0

    def _read_meta(self, path: Path) -> SegmentMeta | None:
        try:
            return read_meta(path)
        except FileNotFoundError:  # pruned in between
            return None
        except UNREADABLE as error:
            self._problem = self._problem or str(error)
            return None

    def _take_summaries(self, path: Path, meta: SegmentMeta) -> bool:
        assert meta.seal is not None
        try:
            stored = read_summaries(path)
            rows = read_rows(path, after_seq=meta.seal.last_seq - 1).rows
        except UNREADABLE as error:
            self._problem = self._problem or str(error)
            return False
        for name, (position, summary) in sorted(stored.items(), key=lambda item: item[1][0]):
            self.facts.positions[name] = position
            self._summaries[name] = summary
            self._changed.add(name)
            self.facts.see_steps(summary.first_step, summary.last_step)
            if summary.n > summary.non_finite:
                self.facts.see_steps(summary.min_step, summary.max_step)
        if meta.seal.count:
            self.facts.see_steps(meta.seal.min_step, meta.seal.max_step)
        if rows:
            self.facts.last_ts = rows[-1][4]
        self.facts.last_seq = meta.seal.last_seq
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
                summary = self._summaries[name] = MetricSummary()
                self.facts.positions[name] = len(self.facts.positions)
            summary.add(step, value)
        self._changed.update(names)


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
