"""One stream on disk and how far it is shipped: its segments, what each lane has still to hand out.

Looking costs a few ``stat`` calls: a segment is opened only when its size or time changed.
"""

from __future__ import annotations

import os
from bisect import bisect_right, insort
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from uuid import UUID

from wal import journal
from wal.record import CorruptRecord, NewerFormat, digest
from wal.shipping.crashed import Signature, remains_of, signature_of
from wal.shipping.cursors import Closing, SegmentState, StreamState
from wal.shipping.ranges import Ranges
from wal.source import RunState

LIVE_READ = 512
"""Records: the newest of a stream that the live lane takes at first sight, or when it has fallen behind."""

LIVE_BEHIND = 4096
"""Records: a live lane this far behind jumps to the newest and leaves the gap to the backlog lane."""

RECENT_S = 60.0
"""A stream whose files changed within this time counts as just alive."""

UNSETTLED_NS = 2_000_000_000
"""A directory that changed this recently may change again within the same tick of its clock: the next look
lists it again, whatever its time says."""


@dataclass(slots=True, eq=False)
class Segment:
    """A segment file. ``last_seq`` is ``first_seq - 1`` while it is empty; ``seal`` None while it is open."""

    path: Path
    number: int
    first_seq: int = 0
    last_seq: int = -1
    seal: journal.Seal | None = None
    signature: Signature = ()
    pruned: bool = False
    """As far as the last look knows: only its receipt is left."""

    @property
    def born(self) -> bool:
        """False for a file that the writer made ahead and does not use yet."""
        return self.first_seq > 0

    @property
    def size_bytes(self) -> int:
        """Of the file and its write-ahead log, at the last look."""
        return sum(self.signature[::2])


def directory_time(path: Path | str, now_ns: int) -> int | None:
    """When the directory changed last, ns; 0 when that is too recent to trust; None when it is not there."""
    try:
        time_ns = os.stat(path).st_mtime_ns
    except OSError:
        return None
    return time_ns if abs(now_ns - time_ns) > UNSETTLED_NS else 0


@dataclass(slots=True, eq=False)
class Stream:
    """One stream on disk and how far it is shipped.

    ``fresh`` and ``todo`` are what the live and the backlog lane still have to hand out, ``acked`` what
    Cassandra acknowledged (or refused for good), ``damaged`` what could not be read; seqs in none of them are
    on their way. ``stated`` are the segments whose row in ``run_segments`` is written, ``destination`` names
    the Cassandra that all of this is about, None before the first connection. ``state`` is RUNNING
    until the stream's end was read or its writer is taken for dead (see :meth:`revive`). ``revision`` grows
    with every change.
    """

    run_id: UUID
    stream_id: UUID
    directory: Path
    remembered: StreamState
    destination: str | None = None
    info: journal.StreamInfo | None = None
    segments: dict[int, Segment] = field(default_factory=dict[int, Segment])
    acked: Ranges = field(default_factory=Ranges)
    fresh: Ranges = field(default_factory=Ranges)
    todo: Ranges = field(default_factory=Ranges)
    damaged: Ranges = field(default_factory=Ranges)
    state: RunState = RunState.RUNNING
    exit_code: int | None = None
    ended_ns: int | None = None
    alive: journal.Liveness | None = None
    problems: dict[Path, str] = field(default_factory=dict[Path, str])
    stated: set[int] = field(default_factory=set[int])
    revision: int = 0
    _born: list[Segment] = field(default_factory=list[Segment])
    _open: list[Segment] = field(default_factory=list[Segment])
    _committed: int = 0
    _listed_at: int = 0
    _laid_out: bool = False
    _recent: bool = True

    @property
    def newest(self) -> int:
        """The newest committed seq that is known, 0 for none."""
        return max((segment.last_seq for segment in self._born[-2:]), default=0)

    @property
    def waiting(self) -> int:
        """Committed records in readable segments that are not acknowledged."""
        return max(self._committed - self.acked.count, 0)

    @property
    def ended(self) -> bool:
        """Its writer is gone, or taken for dead: nothing is expected to be added."""
        return self.state is not RunState.RUNNING

    @property
    def remains(self) -> str | None:
        """What the files of a stream showed when it was taken for crashed; None for any other stream."""
        if self.state is not RunState.CRASHED:
            return None
        last = self._open or self._born[-1:]
        return remains_of((segment.number, segment.signature) for segment in last)

    @property
    def live(self) -> bool:
        """Its writer lives; or nobody here can tell, and a file changed within the last minute."""
        if self.ended:
            return False
        return self.alive is not journal.Liveness.UNKNOWN or self._recent

    def segment_of(self, seq: int) -> Segment | None:
        """The segment that holds a seq."""
        at = bisect_right(self._born, seq, key=lambda segment: segment.first_seq) - 1
        return self._born[at] if at >= 0 and seq <= self._born[at].last_seq else None

    # -- looking -------------------------------------------------------------------------------------

    def look(self, now_ns: int) -> bool:
        """Bring everything up to date with the disk. True when something changed."""
        if self.ended:
            return False
        changed = self._look_at_segments(now_ns)
        if self.info is not None and not self.ended:
            self.alive = journal.liveness(self.directory, self.info)
            self._recent = now_ns - self._changed_ns() < RECENT_S * 1e9
            if self.alive is journal.Liveness.DEAD:
                # Once more: what the writer committed between our look and its death.
                self._look_at_segments(now_ns)
                if not self.ended:
                    self._bury()
                changed = True
        if not self._laid_out and self.info is not None:
            self._lay_out(now_ns)
        self.revision += changed
        return changed

    def _look_at_segments(self, now_ns: int) -> bool:
        changed = False
        time_ns = directory_time(self.directory, now_ns)
        if time_ns is None:
            return False
        if time_ns == 0 or time_ns != self._listed_at:
            self._listed_at = time_ns
            for path in self._list():
                number = int(path.stem)
                if number not in self.segments:
                    self.segments[number] = Segment(path, number)
                    self._open.append(self.segments[number])
        for segment in self._open:
            # Taken before reading: what is committed while we read is seen by the next look.
            signature = signature_of(segment.path)
            if signature != segment.signature:
                segment.signature = signature
                changed |= self._read(segment)
        self._open = [segment for segment in self._open if segment.seal is None]
        return changed

    def _list(self) -> list[Path]:
        try:
            return journal.segment_paths(self.directory)
        except OSError as error:  # another user's, or no directory at all: the other streams go on
            self._listed_at = -1
            self.problems[self.directory] = f"{self.directory} cannot be listed: {error.strerror or error}"
            return []

    def _read(self, segment: Segment) -> bool:
        try:
            meta = journal.read_meta(segment.path)
            if meta is None:
                return False
            last = meta.seal.last_seq if meta.seal else journal.last_seq(segment.path)
        except FileNotFoundError:
            return False
        except (journal.CorruptSegment, NewerFormat, PermissionError) as error:
            self.problems[segment.path] = str(error)
            return True
        self.problems.pop(segment.path, None)
        if not segment.born:
            segment.first_seq, segment.last_seq = meta.first_seq, meta.first_seq - 1
            # Not always the last: a segment may become readable after its successors.
            insort(self._born, segment, key=lambda born: born.first_seq)
        grown_from = segment.last_seq + 1
        segment.last_seq = max(segment.last_seq, last)
        segment.seal = meta.seal
        if segment.seal is None and not self._is_acked(segment):
            self.stated.discard(segment.number)  # stated when it was taken for crashed, and grown since
        self.fresh.add(grown_from, segment.last_seq)
        segment.pruned = meta.receipt is not None
        if meta.receipt is not None and meta.receipt.destination == self.destination:
            self.acked.add(segment.first_seq, segment.last_seq)  # whatever became of state.db
            self.fresh.remove(segment.first_seq, segment.last_seq)
        self._committed += segment.last_seq - grown_from + 1
        if segment is self._born[-1]:
            self.info = meta.stream
        if meta.end is not None:
            self.state = RunState(meta.end.state)
            self.exit_code, self.ended_ns = meta.end.exit_code, meta.end.ended_ns
        return True

    def _bury(self) -> None:
        """The writer is dead and left no end: crashed, at the last change of its files."""
        known = self.remembered
        self.state = RunState.CRASHED
        self.ended_ns = known.ended_ns if known.last_seq == self.newest else self._changed_ns()

    def revive(self, now_ns: int) -> None:
        """A stream that was taken for crashed shows a sign of life: look at it again."""
        self.state, self.ended_ns = RunState.RUNNING, None
        self.revision += 1
        self.look(now_ns)

    def _changed_ns(self) -> int:
        """When a file of the newest segments changed last, ns."""
        return max((time for s in self._born[-2:] for time in s.signature[1::2]), default=0)

    def _lay_out(self, now_ns: int) -> None:
        """At first sight: the newest records of what is or just was alive go first, the rest is backlog."""
        self._laid_out = True
        for first, last in self.acked:
            self.fresh.remove(first, last)
        recent = not self.ended or now_ns - self._changed_ns() < RECENT_S * 1e9
        self._leave_behind(LIVE_READ if recent else 0)

    def _leave_behind(self, kept: int) -> None:
        """Move all of ``fresh`` but the newest ``kept`` records to the backlog."""
        edge = self.newest - kept
        for first, last in self.fresh.pairs:
            if first <= edge:
                self.todo.add(first, min(last, edge))
        self.fresh.remove(0, edge)

    # -- handing out ---------------------------------------------------------------------------------

    def take(self, *, live: bool, limit: int) -> tuple[Segment, int, int] | None:
        """The next (segment, first seq, last seq) of a lane, at most ``limit`` records, or None."""
        if live and self.fresh.count > LIVE_BEHIND:
            self._leave_behind(LIVE_READ)
        lane = self.fresh if live else self.todo
        pair = lane.take_first(limit)
        if pair is None:
            return None
        segment = self.segment_of(pair[0])
        if segment is None:  # its file is gone since, or cannot be read: looked for again later
            self.damaged.add(*pair)
            return self.take(live=live, limit=limit)
        if pair[1] > segment.last_seq:
            lane.add(segment.last_seq + 1, pair[1])
        return segment, pair[0], min(pair[1], segment.last_seq)

    def give_back(self, first: int, last: int, *, live: bool) -> None:
        """What was taken from a lane was not sent."""
        (self.fresh if live else self.todo).add(first, last)

    def try_damaged(self, now_ns: int) -> None:
        """Read again what could not be read: a disk may have come back, a permission may be given."""
        if not self.problems and not self.damaged:
            return
        for segment in self._open:
            if segment.path in self.problems:
                segment.signature = ()
        self.problems.clear()
        for first, last in self.damaged:
            self.todo.add(first, last)
        self.damaged = Ranges()
        self.revision += self._look_at_segments(now_ns)

    def acknowledge(self, segment: Segment, first: int, last: int) -> SegmentState:
        """Cassandra has ``first`` … ``last``. Returns the segment's cursor, which never goes back."""
        self.acked.add(first, last)
        return self.cursor(segment)

    def cursor(self, segment: Segment) -> SegmentState:
        """How far the segment is acknowledged without a gap."""
        end = self.acked.end_of(segment.first_seq)
        acked = segment.first_seq - 1 if end is None else min(end, segment.last_seq)
        stated = segment.number in self.stated
        return SegmentState(self.stream_id, segment.number, segment.first_seq, acked, stated)

    def restore(self, cursors: Iterable[SegmentState]) -> None:
        """Take in what an earlier syncer remembered, before the first look."""
        for cursor in cursors:
            self.acked.add(cursor.first_seq, cursor.acked)
            if cursor.stated:
                self.stated.add(cursor.segment)

    def complete_segments(self) -> Iterator[Segment]:
        """Segments that take no more records, are wholly acknowledged, and are not stated yet."""
        for segment in self._born:
            closed = segment.seal is not None or self.ended
            if closed and segment.number not in self.stated and self._is_acked(segment):
                yield segment

    def _is_acked(self, segment: Segment) -> bool:
        return self.cursor(segment).acked == segment.last_seq

    @property
    def all_stated(self) -> bool:
        """Whether every segment's row in ``run_segments`` is written."""
        return all(segment.number in self.stated for segment in self._born)


def recover_seal(stream: Stream, segment: Segment) -> Closing | None:
    """The seal that a dead writer could not write, from the segment's records; None when they cannot be read.

    The file stays as it is: it has one read-write connection ever, and that one was the writer's.
    """
    try:
        records = journal.read_records(segment.path, limit=segment.last_seq - segment.first_seq + 1)
    except (journal.CorruptSegment, CorruptRecord, PermissionError, FileNotFoundError) as error:
        stream.problems[segment.path] = str(error)
        return None
    steps = [record.step for record in records]
    return Closing(
        stream.stream_id, segment.number, segment.last_seq, len(records), f"{digest(records):032x}",
        min(steps, default=0), max(steps, default=0),
    )  # fmt: skip
