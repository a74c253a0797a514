"""Taking a run off this machine once Cassandra provably has it: whole streams, by unlinking their files.

Nothing is deleted inside a file (that fails on a full disk), and nothing of a stream goes before all of it is
acknowledged, verified and paged there. The steps, each harmless to be killed after: note it in ``state.db``
(synchronous FULL); rename the stream's directory into ``trash``, so that no reader sees half of it; unlink
what lies there. What an earlier process left in ``trash`` is swept away.

A run goes as a whole: its row in Cassandra is written from the streams that its machine has.
"""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Callable, Iterator, Set
from dataclasses import dataclass, field
from pathlib import Path
from uuid import UUID

from wal import journal
from wal.paths import make_private_directory
from wal.segments.liveness import LOCK_NAME, boot_id, start_ticks
from wal.segments.segment import stream_dirs
from wal.shipping.cursors import STATE_FILE, Closing, PrunedStream, State, VerifiedSegment
from wal.shipping.expecting import UNREADABLE

TRASH = "trash"

LEAST_AGE_S = 3600.0
"""A node acknowledges before its commit log is on disk: what is younger is kept, whatever is asked for."""

DAY_S = 86_400.0

VERIFIED_FOR_S = DAY_S
"""A proof older than this is made again before anything is unlinked."""

UNDELIVERED = "it is not delivered yet: canopy sync --once delivers it"
UNCERTAIN = "it was delivered just now, and its nodes may not have it on disk yet"
UNPAGED = "its pages were delivered just now, or not yet"
"""Why a run is kept."""

_OURS = re.compile(r"(\d{6}\.db|pages\.db)(-wal|-shm|-journal)?")

Step = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class PrunableStream:
    """A stream that may go, but for the proof. ``size`` in bytes, ``segments`` (number, first, last seq)."""

    stream_id: UUID
    directory: Path
    records: int
    size: int
    segments: tuple[tuple[int, int, int], ...]


@dataclass(slots=True)
class Candidate:
    """A run that may go: old enough, delivered to its end. ``kept`` says in a sentence why it may not;
    ``settling``: because a syncer has yet to see for a minute that its nodes keep what they acknowledged."""

    run_id: UUID
    project: str = ""
    name: str = ""
    kept: str = ""
    settling: bool = False
    streams: list[PrunableStream] = field(default_factory=list[PrunableStream])

    @property
    def size(self) -> int:
        """Bytes on disk."""
        return sum(stream.size for stream in self.streams)

    @property
    def records(self) -> int:
        return sum(stream.records for stream in self.streams)


class Pruner:
    """Prunes one log directory. Whoever holds its syncer's lock may :meth:`prune`; others look.

    ``on_step`` is told of each step of :meth:`prune` by name, for tests that kill at it.
    """

    def __init__(self, log_dir: Path, state: State, now_ns: int, on_step: Step = lambda _: None) -> None:
        self._log_dir = log_dir
        self._state = state
        self._now_ns = now_ns
        self._on_step = on_step
        self._streams = state.streams()
        self._paging = state.paging()
        self._doubtful = {doubt.stream_id for doubt in state.doubts()}
        self._rejected = state.rejected_seqs()

    # -- what may go ---------------------------------------------------------------------------------

    def candidates(self, age_s: float, only: Set[UUID] | None = None) -> Iterator[Candidate]:
        """The runs that nothing was logged to for ``age_s`` (an hour at least), oldest first, those that have
        to be kept with the reason. Younger ones are left out, but for those of ``only``."""
        runs: dict[UUID, list[tuple[UUID, Path]]] = {}
        for run_id, stream_id, directory in stream_dirs(self._log_dir):
            if only is None or run_id in only:
                runs.setdefault(run_id, []).append((stream_id, directory))
        for run_id in sorted(runs, key=lambda run_id: run_id.int):
            if self._is_older(runs[run_id], max(age_s, LEAST_AGE_S)):
                yield self._candidate(run_id, runs[run_id])
            elif only is not None:
                yield Candidate(run_id, *_names(runs[run_id]), kept=_too_young(age_s))

    def _is_older(self, streams: list[tuple[UUID, Path]], age_s: float) -> bool:
        try:
            times = [path.stat().st_mtime_ns for _, at in streams for path in journal.segment_paths(at)]
        except OSError:
            return False
        return bool(times) and self._now_ns - max(times) >= age_s * 1e9

    def _candidate(self, run_id: UUID, streams: list[tuple[UUID, Path]]) -> Candidate:
        found = Candidate(run_id, *_names(streams))
        for stream_id, directory in streams:
            try:
                self._look(found, stream_id, directory)
            except UNREADABLE as error:
                found.kept = str(error)
            if found.kept:
                break
        found.settling = found.kept in (UNCERTAIN, UNPAGED)
        return found

    def _look(self, found: Candidate, stream_id: UUID, directory: Path) -> None:
        """Take a stream into the candidate, or say why it is kept."""
        found.kept = self._why_kept(stream_id)
        if found.kept:
            return
        strange = [name for name in os.listdir(directory) if name != LOCK_NAME and not _OURS.fullmatch(name)]
        if strange:
            found.kept = f"{directory / strange[0]} is not Canopy's"
            return
        stream = self._segments(found, stream_id, directory)
        if stream is not None:
            found.streams.append(stream)

    def _why_kept(self, stream_id: UUID) -> str:
        """What ``state.db`` has against it; empty for nothing."""
        known, paging = self._streams.get(stream_id), self._paging.get(stream_id)
        if stream_id in self._rejected:
            return "the server refused records of it: canopy rejected list names them"
        if known is None or not known.end_shipped:
            return UNDELIVERED
        if stream_id in self._doubtful:
            return UNCERTAIN
        if paging is None or not paging.shipped:
            return UNPAGED
        return ""

    def _segments(self, found: Candidate, stream_id: UUID, directory: Path) -> PrunableStream | None:
        """The stream, if every segment is sealed and delivered, and its pages go to its end. Raises one of
        :data:`wal.shipping.expecting.UNREADABLE`."""
        closings = self._state.closings(stream_id)
        cursors = {cursor.segment: cursor for cursor in self._state.segments(stream_id)}
        segments: list[tuple[int, int, int]] = []
        meta = None
        for path in journal.segment_paths(directory):
            one = journal.read_meta(path)
            if one is None:
                continue  # made ahead, and never used
            meta = one
            last = _sealed_at(path, one, closings.get(one.number))
            if last is None:
                found.kept = f"{path} is not sealed"
                return None
            cursor = cursors.get(one.number)
            if last >= one.first_seq and (cursor is None or cursor.acked < last or not cursor.stated):
                found.kept = UNDELIVERED
                return None
            segments.append((one.number, one.first_seq, last))
        newest = max((last for _, _, last in segments), default=0)
        if meta is None or (meta.end is None and _may_be_alive(meta.stream)):
            found.kept = "its writer may still live"
        elif self._paging[stream_id].built_seq < newest:
            found.kept = UNPAGED
        if meta is None or found.kept:
            return None
        size = sum(entry.stat().st_size for entry in directory.iterdir())
        return PrunableStream(stream_id, directory, newest, size, tuple(segments))

    def is_verified(self, candidate: Candidate) -> bool:
        """Whether every segment was read back from Cassandra to its end, a day ago at most."""
        for stream in candidate.streams:
            verified = self._state.verified(stream.stream_id)
            for number, first, last in stream.segments:
                if last < first:
                    continue
                if not is_proof(verified.get(number), first, last, self._now_ns):
                    return False
        return bool(candidate.streams)

    # -- going ---------------------------------------------------------------------------------------

    def prune(self, candidate: Candidate) -> None:
        """Take a run off this machine. It must be verified and not kept. Raises OSError and
        :class:`sqlite3.Error`; what is left then goes with the next try."""
        assert not candidate.kept, candidate.kept
        assert self.is_verified(candidate)
        for stream in candidate.streams:
            self._state.put_pruned(
                PrunedStream(
                    stream.stream_id, candidate.run_id, candidate.project, candidate.name, stream.records,
                    self._now_ns,
                )
            )  # fmt: skip
        self._state.commit()
        self._on_step("noted")
        trash = self._log_dir / TRASH
        make_private_directory(trash)
        for stream in candidate.streams:
            stream.directory.rename(trash / str(stream.stream_id))
            self._on_step("renamed")
        self.sweep()

    def sweep(self) -> None:
        """Unlink what lies in ``trash``, and the directories of runs that hold nothing any more.

        A run's empty directory stays for an hour: somebody may be about to resume the run in it.
        """
        trash = self._log_dir / TRASH
        if trash.is_dir():
            for directory in sorted(trash.iterdir()):
                for path in sorted(directory.iterdir()) if directory.is_dir() else ():
                    path.unlink()
                    self._on_step("unlinked")
                shutil.rmtree(directory) if directory.is_dir() else directory.unlink()
                self._on_step("removed")
            trash.rmdir()
        for run_id in {pruned.run_id for pruned in self._state.pruned()}:
            directory = self._log_dir / str(run_id)
            try:
                if self._now_ns - directory.stat().st_mtime_ns >= LEAST_AGE_S * 1e9:
                    directory.rmdir()
            except OSError:  # gone already, or with something new in it
                continue


def is_proof(known: VerifiedSegment | None, first: int, last: int, now_ns: int) -> bool:
    """Whether ``known`` says that a segment's records ``first`` … ``last`` are in Cassandra, all of them, and
    is a day old at most."""
    return (
        known is not None
        and (known.first_seq, known.last_seq) == (first, last)
        and now_ns - known.at_ns <= VERIFIED_FOR_S * 1e9
    )


def plan(
    log_dir: Path, now_ns: int, age_s: float, only: Set[UUID] | None = None
) -> list[tuple[Candidate, bool]]:
    """What may go and what has to be kept, each with whether it is verified, for who only looks.

    Raises :class:`sqlite3.Error` when ``state.db`` cannot be read; nothing may go where there is none.
    """
    if not (log_dir / STATE_FILE).exists():
        return []
    state = State(log_dir, read_only=True)
    try:
        pruner = Pruner(log_dir, state, now_ns)
        return [(found, pruner.is_verified(found)) for found in pruner.candidates(age_s, only)]
    finally:
        state.close()


def _names(streams: list[tuple[UUID, Path]]) -> tuple[str, str]:
    """Project and name of a run, empty where no segment of it can be read."""
    for _, directory in streams:
        for path in journal.segment_paths(directory):
            try:
                meta = journal.read_meta(path)
            except UNREADABLE:
                continue
            if meta is not None:
                return meta.run.project, meta.run.name
    return "", ""


def _too_young(age_s: float) -> str:
    if age_s <= LEAST_AGE_S:
        return "something was logged to it within the last hour"
    return f"something was logged to it within the last {age_s / DAY_S:g} days"


def _sealed_at(path: Path, meta: journal.SegmentMeta, closing: Closing | None) -> int | None:
    """The last seq of a segment that takes no more records, by its seal or by the one that the syncer made
    for a dead writer; None when it has none, or has grown since."""
    if meta.seal is not None:
        return meta.seal.last_seq
    newest = max(journal.last_seq(path), meta.first_seq - 1)
    if newest < meta.first_seq:
        return newest  # nothing was logged to it
    return newest if closing is not None and closing.last_seq == newest else None


def _may_be_alive(stream: journal.StreamInfo) -> bool:
    """Whether the process that wrote a stream may still be there: not by its lock, which can be lost for a
    while, but by its pid and start. On another host nobody can tell."""
    if stream.host != journal.host_name():
        return True
    return stream.boot_id == boot_id() and start_ticks(stream.pid) == stream.start_ticks
