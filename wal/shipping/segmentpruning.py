"""Taking single segments off this machine: of a run that goes on for weeks, or that is kept for another part
of it. A receipt takes the place of each (:mod:`wal.segments.receipts`); ``pages.db`` stays with the run.

A segment may go once it is sealed, acknowledged, stated, certain (not doubtful), verified within a day, older
than an hour, paged here and in Cassandra, and none of its records was refused. The newest sealed ones stay:
what the catalogue says of a stream is read from their summaries.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Set
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING
from uuid import UUID

from wal import journal
from wal.paging.pagefile import whole_through
from wal.paths import make_private_directory
from wal.reading.seriesreader import FEW_RECORDS
from wal.record import DIGEST_MODULUS
from wal.segments.receipts import is_plain, prune_segment
from wal.segments.segment import segment_path, stream_dirs
from wal.shipping.cursors import STATE_FILE, State, VerifiedSegment
from wal.shipping.expecting import UNREADABLE
from wal.shipping.loading import CHUNK_RECORDS
from wal.shipping.pruning import LEAST_AGE_S, TRASH, is_proof
from wal.shipping.verifying import row_digest

if TYPE_CHECKING:
    from wal.cassandra.proofreads import ProofReader

KEPT_SEALED = 2
"""Sealed segments of a stream that stay: one to read its summaries from, one should that be damaged."""


@dataclass(frozen=True, slots=True)
class PrunableSegment:
    """A segment that may go, but for the proof. ``base_us`` is its stream's, ``size`` in bytes."""

    run_id: UUID
    stream_id: UUID
    name: str
    path: Path
    number: int
    first_seq: int
    seal: journal.Seal
    base_us: int
    size: int

    @property
    def last_seq(self) -> int:
        return self.seal.last_seq


class SegmentPruner:
    """Prunes segments of one log directory. Whoever holds its syncer's lock may :meth:`prune`; others look.

    ``on_step`` is told of each step of :meth:`prune` by name, for tests that kill at it.
    """

    def __init__(
        self, log_dir: Path, state: State, now_ns: int, on_step: Callable[[str], None] = lambda _: None
    ) -> None:
        self._log_dir = log_dir
        self._state = state
        self._now_ns = now_ns
        self._on_step = on_step
        self._streams = state.streams()
        self._paging = state.paging()
        self._doubtful = {(doubt.stream_id, doubt.segment) for doubt in state.doubts()}
        self._rejected = state.rejected_seqs()
        self._verified: dict[UUID, dict[int, VerifiedSegment]] = {}

    # -- what may go ---------------------------------------------------------------------------------

    def segments(self, age_s: float, only: Set[UUID] | None = None) -> Iterator[PrunableSegment]:
        """What may go of all runs, or of ``only``, and is older than ``age_s`` (an hour at least)."""
        for run_id, stream_id, directory in sorted(stream_dirs(self._log_dir)):
            if only is None or run_id in only:
                numbers = [int(path.stem) for path in journal.segment_paths(directory)]
                yield from self.of_stream(age_s, run_id, stream_id, numbers)

    def of_stream(
        self, age_s: float, run_id: UUID, stream_id: UUID, numbers: list[int]
    ) -> Iterator[PrunableSegment]:
        """What may go of these segments of a stream."""
        directory = self._log_dir / str(run_id) / str(stream_id)
        known = self._streams.get(stream_id)
        if known is None or known.base_us is None:
            return
        kept_from = _kept_from(directory)
        paged_seq = self._paged_seq(stream_id, directory)
        acked = {one.segment: one.acked for one in self._state.segments(stream_id) if one.stated}
        for number in numbers:
            path = segment_path(directory, number)
            if number >= kept_from:
                continue
            try:
                meta, stat = journal.read_meta(path), path.stat()
            except UNREADABLE:
                continue
            if meta is None or meta.seal is None or meta.receipt is not None or not is_plain(path):
                continue
            last = meta.seal.last_seq
            old = self._now_ns - stat.st_mtime_ns >= max(age_s, LEAST_AGE_S) * 1e9
            certain = acked.get(number, 0) >= last and (stream_id, number) not in self._doubtful
            refused = any(meta.first_seq <= seq <= last for seq in self._rejected.get(stream_id, ()))
            if old and certain and not refused and meta.first_seq <= last <= paged_seq:
                yield PrunableSegment(
                    run_id, stream_id, meta.run.name, path, number, meta.first_seq, meta.seal, known.base_us,
                    stat.st_size,
                )  # fmt: skip

    def _paged_seq(self, stream_id: UUID, directory: Path) -> int:
        """Up to where pages stand for the records, in the file here and, for certain, in Cassandra."""
        paging = self._paging.get(stream_id)
        if paging is None:
            return 0
        try:
            identity, through = whole_through(directory)
        except UNREADABLE:
            return 0
        settled = paging.built_seq if paging.shipped else min(paging.coarse_settled, paging.fine_settled)
        return min(settled, through) if identity == paging.identity else 0

    def is_verified(self, segment: PrunableSegment) -> bool:
        """Whether it was read back from Cassandra to its end, a day ago at most."""
        if segment.stream_id not in self._verified:
            self._verified[segment.stream_id] = self._state.verified(segment.stream_id)
        known = self._verified[segment.stream_id].get(segment.number)
        return is_proof(known, segment.first_seq, segment.last_seq, self._now_ns)

    # -- going ---------------------------------------------------------------------------------------

    def prune(self, segment: PrunableSegment) -> None:
        """Leave the receipt of a segment, which must be verified. Raises OSError, :class:`sqlite3.Error` and
        :data:`wal.shipping.expecting.UNREADABLE`; the segment is whole then, or wholly gone."""
        assert self.is_verified(segment)
        destination = self._state.destination
        assert destination is not None, "it was delivered somewhere"
        make_private_directory(self._log_dir / TRASH)
        scratch = self._log_dir / TRASH / f"{segment.stream_id}-{segment.path.name}"
        prune_segment(segment.path, scratch, destination, segment.base_us, self._now_ns, self._on_step)


def plan_segments(
    log_dir: Path, now_ns: int, age_s: float, only: Set[UUID] | None = None
) -> Iterator[tuple[PrunableSegment, bool]]:
    """What may go, each with whether it is verified, for who only looks. Raises :class:`sqlite3.Error` when
    ``state.db`` cannot be read; nothing may go where there is none."""
    if not (log_dir / STATE_FILE).exists():
        return
    state = State(log_dir, read_only=True)
    try:
        pruner = SegmentPruner(log_dir, state, now_ns)
        for found in pruner.segments(age_s, only):
            yield found, pruner.is_verified(found)
    finally:
        state.close()


def is_paged(reader: ProofReader, segment: PrunableSegment) -> bool:
    """Whether Cassandra states pages that go to the segment's end. Raises like :func:`is_delivered`."""
    stated = reader.streams(segment.run_id).get(segment.stream_id)
    return stated is not None and stated.base_us == segment.base_us and stated.paged_seq >= segment.last_seq


def is_delivered(reader: ProofReader, segment: PrunableSegment) -> bool:
    """Whether Cassandra has the rows of a segment as they were logged, by count and digest, with the stream's
    own timestamps. Raises :class:`wal.cassandra.trouble.StoreError`."""
    total = count = 0
    for chunk in range(segment.first_seq // CHUNK_RECORDS, segment.last_seq // CHUNK_RECORDS + 1):
        for row in reader.rows(segment.run_id, segment.stream_id, chunk):
            if not segment.first_seq <= row.seq <= segment.last_seq:
                continue
            hashed = row_digest(row.record)
            if hashed is None or any(stamp != segment.base_us + row.seq for stamp in row.stamps_us):
                return False
            total = (total + hashed) % DIGEST_MODULUS
            count += 1
    return (count, f"{total:032x}") == (segment.seal.count, segment.seal.digest)


def _kept_from(directory: Path) -> int:
    """The number of the oldest segment that stays with its stream; 0 for all of a stream that is short: few
    records are read one by one."""
    sealed = 0
    for path in reversed(journal.segment_paths(directory)):
        try:
            meta = journal.read_meta(path)
        except UNREADABLE:
            continue
        if meta is None or meta.seal is None or meta.receipt is not None:
            continue
        sealed += 1
        if sealed == 1 and meta.seal.last_seq <= FEW_RECORDS:
            return 0
        if sealed == KEPT_SEALED:
            return meta.number
    return 0
