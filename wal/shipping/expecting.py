"""What should be in Cassandra of a run: by the log, by the syncer's store, by what the run's machine stated.

The log wins where it is there: it is what the user was promised.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING
from uuid import UUID

from wal import journal
from wal.record import digest
from wal.shipping.ledger import Ledger, Rejected, Sealed
from wal.shipping.ranges import Ranges

if TYPE_CHECKING:
    from wal.cassandra.proofreads import StatedStream
    from wal.cassandra.writes import SegmentWrite

RECORDS_AT_ONCE = 1024
"""Records read from a segment at a time: this bounds the memory."""

UNREADABLE = (journal.CorruptSegment, journal.NewerFormat, OSError, ValueError)
"""What reading a segment raises."""


@dataclass(frozen=True, slots=True)
class Part:
    """A segment as something to be proven: its rows ``first_seq`` … ``last_seq``, their digest as far as
    somebody states it, and its file where this machine still has it. ``base_us``: of one that was pruned, the
    base that its rows were written with, which a resend of the others does not change."""

    number: int
    first_seq: int
    last_seq: int
    digest: int | None = None
    path: Path | None = None
    base_us: int | None = None


@dataclass(slots=True)
class Expected:
    """All that should be there of a stream.

    ``local``: this machine's log has (some of) it. ``ended``: nothing is to be added. ``acked`` are the seqs
    that a syncer says it delivered, ``rejected`` those that it set aside; ``misstated`` the segments whose
    row in ``run_segments`` is not what the log says; ``problems`` sentences about files that cannot be read.
    ``unregistered``: it was delivered, and ``run_streams`` does not name it.
    ``stray_chunks``: partitions in which nothing of the stream should be, and something is.
    """

    run_id: UUID
    stream_id: UUID
    host: str = ""
    rank: int = 0
    state: str = ""
    local: bool = False
    ended: bool = True
    base_us: int | None = None
    paged_seq: int = 0
    unregistered: bool = False
    parts: list[Part] = field(default_factory=list[Part])
    acked: Ranges = field(default_factory=Ranges)
    rejected: dict[int, Rejected] = field(default_factory=dict[int, Rejected])
    misstated: list[int] = field(default_factory=list[int])
    problems: list[str] = field(default_factory=list[str])
    stray_chunks: set[int] = field(default_factory=set[int])

    @property
    def last_seq(self) -> int:
        """The newest record that is known of, 0 for none."""
        return max((part.last_seq for part in self.parts), default=0)


def expected_of(
    run_id: UUID,
    stream_id: UUID,
    directory: Path | None,
    ledger: Ledger,
    stated: StatedStream | None,
    segments: dict[int, SegmentWrite],
) -> Expected:
    """What should be there of one stream. ``directory`` is None where the log does not have it; ``stated``
    and ``segments`` are what ``run_streams`` and ``run_segments`` say."""
    expected = Expected(run_id, stream_id)
    if stated is not None:
        expected.host, expected.rank, expected.state = stated.host, stated.rank, stated.state
        expected.base_us, expected.paged_seq = stated.base_us, stated.paged_seq
        expected.ended = stated.state in ("done", "failed", "crashed")
    parts = {} if directory is None else _in_log(expected, directory, ledger)
    expected.local = bool(parts)
    if expected.local or stream_id in ledger.runs:
        expected.acked.add_all(ledger.acked.get(stream_id, Ranges()))
        expected.rejected = ledger.rejected.get(stream_id, {})
        expected.unregistered = bool(expected.acked) and (stated is None or stated.base_us is None)
    for number, row in segments.items():
        known = parts.get(number)
        total = _hexadecimal(row.digest)
        if known is None:
            parts[number] = Part(number, row.first_seq, row.last_seq, total)
            if not expected.local:  # stated once all of it was acknowledged
                expected.acked.add(row.first_seq, row.last_seq)
        elif known.digest is not None and (known.last_seq, known.digest) != (row.last_seq, total):
            expected.misstated.append(number)
    last = stated.records if stated is not None else 0
    expected.parts = _without_gaps(parts.values(), last)
    return expected


def _without_gaps(parts: Iterable[Part], last_seq: int) -> list[Part]:
    """The parts by seq, with a part that nobody vouches for wherever one lacks."""
    found: list[Part] = []
    for part in sorted(parts, key=lambda part: part.first_seq):
        known = found[-1].last_seq if found else 0
        if part.first_seq > known + 1:
            found.append(Part(0, known + 1, part.first_seq - 1))
        if part.last_seq >= part.first_seq:
            found.append(part)
    known = found[-1].last_seq if found else 0
    if last_seq > known:
        found.append(Part(0, known + 1, last_seq))
    return found


def _in_log(expected: Expected, directory: Path, ledger: Ledger) -> dict[int, Part]:
    """The segments that lie in the log, as they are now, and the receipts of those that were pruned."""
    closings = ledger.closings.get(expected.stream_id, {})
    parts: dict[int, Part] = {}
    expected.ended = False
    for path in journal.segment_paths(directory):
        try:
            meta = journal.read_meta(path)
            if meta is None:
                continue
            last = meta.seal.last_seq if meta.seal else journal.last_seq(path)
            last = max(last, meta.first_seq - 1)
            total = _digest(path, meta, last, closings)
            parts[meta.number] = Part(meta.number, meta.first_seq, last, total, path)
            if meta.receipt is not None:
                base_us = meta.receipt.base_us
                parts[meta.number] = Part(meta.number, meta.first_seq, last, total, base_us=base_us)
                if meta.receipt.destination == ledger.destination:
                    expected.acked.add(meta.first_seq, last)
        except UNREADABLE as error:
            expected.problems.append(str(error))
            continue
        info = meta.stream
        expected.host, expected.rank = info.host, info.rank
        dead = journal.liveness(directory, info) is journal.Liveness.DEAD
        expected.ended = meta.end is not None or dead
        expected.state = meta.end.state if meta.end else "crashed" if dead else "running"
    return parts


def _digest(path: Path, meta: journal.SegmentMeta, last: int, closings: dict[int, Sealed]) -> int:
    """From the seal, or the one that the syncer made; of an open segment, from its records."""
    if meta.seal is not None:
        return int(meta.seal.digest, 16)
    closing = closings.get(meta.number)
    if closing is not None and closing.last_seq == last:
        return closing.digest
    return digest_of(path, meta.first_seq, last)


def digest_of(path: Path, first: int, last: int) -> int:
    """The digest of the records ``first`` … ``last`` of a segment. Raises one of :data:`UNREADABLE`."""
    total = 0
    while first <= last:
        records = journal.read_records(path, first - 1, min(RECORDS_AT_ONCE, last - first + 1))
        if not records:
            break
        total = digest((record for record in records if record.seq <= last), total)
        first = records[-1].seq + 1
    return total


def _hexadecimal(text: str) -> int | None:
    """None for what cannot be a digest: the rows are there for anybody to write."""
    try:
        return int(text, 16)
    except ValueError:
        return None
