"""The proof of delivery: the rows of a stream are read back, counted and digested, and compared with what was
logged, and the pages with those that the rows make. One pass over the rows in seq order, a few in memory at a
time; a second look only where a digest does not agree, to name the rows."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING
from uuid import UUID

from wal import journal
from wal.record import DIGEST_MODULUS, CorruptRecord, Record, canonical_bytes, digest
from wal.shipping.expecting import UNREADABLE, Expected, Part, digest_of
from wal.shipping.loading import CHUNK_RECORDS
from wal.shipping.ranges import Ranges

if TYPE_CHECKING:
    from wal.cassandra.proofreads import ProofReader, StoredRow
    from wal.shipping.repaging import Repaging

LARGE_FILES = "/var/tmp"
"""On disk, by the Filesystem Hierarchy Standard 5.15 and on macOS."""


@dataclass(slots=True)
class StreamProof:
    """What was found of one stream; every field of ranges holds seqs.

    ``complete``: there, and what was logged. ``missing``: delivered once, and not there. ``differing``: not
    what was logged; where only a digest can be compared and no timestamp gives the row away, all rows of the
    segment. ``restamped``: what was logged, but with timestamps that are not the stream's own: somebody else
    wrote it. ``added``: rows that nobody logged. ``waiting``: not delivered yet. ``unstated``: there, and
    nobody says what they should be, or not all rows are there of which it was said. ``expired``: older than
    the table keeps rows. ``rejected``: set aside. ``pages``: metrics whose pages are not those that the
    rows make. ``repeats`` names the stream that this one is a copy of.
    """

    expected: Expected
    rows: int = 0
    total: int = 0
    complete: Ranges = field(default_factory=Ranges)
    missing: Ranges = field(default_factory=Ranges)
    differing: Ranges = field(default_factory=Ranges)
    restamped: Ranges = field(default_factory=Ranges)
    added: Ranges = field(default_factory=Ranges)
    waiting: Ranges = field(default_factory=Ranges)
    unstated: Ranges = field(default_factory=Ranges)
    expired: Ranges = field(default_factory=Ranges)
    rejected: Ranges = field(default_factory=Ranges)
    pages: list[str] = field(default_factory=list[str])
    pages_checked: int = 0
    repeats: UUID | None = None

    @property
    def last_seq(self) -> int:
        return self.expected.last_seq

    @property
    def last_row(self) -> int:
        """The highest seq of any row that is there, 0 for none."""
        found = (self.complete, self.differing, self.restamped, self.added, self.unstated)
        return max((last for ranges in found for _, last in ranges), default=0)

    @property
    def faults(self) -> bool:
        """Whether Cassandra holds something else than what was delivered to it."""
        found = (
            self.missing,
            self.differing,
            self.restamped,
            self.added,
            self.pages,
            self.expected.misstated,
        )
        return any(found) or self.repeats is not None or self.expected.unregistered

    @property
    def open(self) -> bool:
        """Whether something is still to be delivered, or to be stated."""
        return bool(self.waiting or self.unstated or self.expected.problems)

    def verified_parts(self) -> Iterable[tuple[Part, int]]:
        """Each part and the seq that it is complete to (before its first: not at all). What is expired stays
        as it was proven once."""
        for part in self.expected.parts:
            if part.number and not _within(self.expired, part):
                end = self.complete.end_of(part.first_seq)
                yield part, part.first_seq - 1 if end is None else min(end, part.last_seq)


@dataclass(slots=True)
class _Gap:
    """Rows that are not there. ``before_ns`` is the time of the newest record before them (the stream's start
    where there is none), ``after_ns`` of the oldest one behind them, None for none."""

    first: int
    last: int
    before_ns: int
    after_ns: int | None = None


@dataclass(slots=True)
class _Tally:
    """What was found of a part. ``odd``: rows whose timestamps are not the stream's own."""

    total: int = 0
    found: int = 0
    odd: Ranges = field(default_factory=Ranges)
    unreadable: Ranges = field(default_factory=Ranges)


class StreamVerifier:
    """Proves one stream. ``ttl_s`` is the table's, 0 for none; ``now_ns`` the server's clock."""

    def __init__(
        self,
        reader: ProofReader,
        expected: Expected,
        *,
        ttl_s: int = 0,
        now_ns: int = 0,
        on_rows: Callable[[int], None] = lambda _: None,
    ) -> None:
        self._reader = reader
        self._expected = expected
        self._ttl_ns = ttl_s * 1_000_000_000
        self._now_ns = now_ns
        self._on_rows = on_rows
        self._proof = StreamProof(expected)
        self._tallies = {part.first_seq: _Tally() for part in expected.parts}
        self._gaps: list[_Gap] = []
        self._repaging: Repaging | None = None

    def prove(self) -> StreamProof:
        """Read the stream's rows and compare. Raises :class:`wal.cassandra.trouble.StoreError`, and OSError
        or :class:`sqlite3.Error` where a temporary file cannot be written."""
        expected = self._expected
        if not expected.ended or not expected.last_seq or expected.paged_seq != expected.last_seq:
            return self._prove()
        from wal.shipping.repaging import Repaging  # numpy: only where there are pages to check

        with TemporaryDirectory(prefix="canopy-verify-", dir=_scratch()) as directory:
            self._repaging = Repaging(Path(directory))
            proof = self._prove()
            if proof.complete.pairs == ((1, expected.last_seq),):
                self._check_pages(self._repaging)
            return proof

    def _prove(self) -> StreamProof:
        place = _Place(self._expected.parts)
        last = self._expected.last_seq
        next_seq, newest_ns = 1, (self._expected.base_us or 0) * 1000
        for chunk in self._chunks():
            for row in self._reader.rows(self._expected.run_id, self._expected.stream_id, chunk):
                if not 1 <= row.seq <= last or row.seq // CHUNK_RECORDS != chunk:
                    self._hash(row)
                    self._proof.added.add(row.seq, row.seq)
                    continue
                if row.seq > next_seq:
                    ts = row.record.ts if row.record is not None else None
                    self._gaps.append(_Gap(next_seq, row.seq - 1, newest_ns, ts))
                next_seq = row.seq + 1
                newest_ns = row.record.ts if row.record is not None else newest_ns
                self._take(row, place.of(row.seq))
            self._on_rows(self._proof.rows)
        if next_seq <= last:
            self._gaps.append(_Gap(next_seq, last, newest_ns))
        self._judge()
        return self._proof

    def _chunks(self) -> Iterable[int]:
        """Those that should be there, the one behind them, where an added row is likeliest, and the others
        that are known to be there."""
        usual = range(self._expected.last_seq // CHUNK_RECORDS + 2)
        yield from usual
        yield from sorted(chunk for chunk in self._expected.stray_chunks if chunk not in usual)

    def _hash(self, row: StoredRow) -> int | None:
        """Count a row; its digest, None when it cannot be a record."""
        self._proof.rows += 1
        hashed = row_digest(row.record)
        if hashed is not None:
            self._proof.total = (self._proof.total + hashed) % DIGEST_MODULUS
        return hashed

    def _take(self, row: StoredRow, part: Part) -> None:
        tally = self._tallies[part.first_seq]
        tally.found += 1
        base_us = self._expected.base_us if part.base_us is None else part.base_us
        if base_us is not None and any(stamp != base_us + row.seq for stamp in row.stamps_us):
            tally.odd.add(row.seq, row.seq)
        hashed = self._hash(row)
        if hashed is None:
            tally.unreadable.add(row.seq, row.seq)
            return
        tally.total = (tally.total + hashed) % DIGEST_MODULUS
        if row.record is not None and self._repaging is not None:
            self._repaging.take(row.record)

    # -- judging -------------------------------------------------------------------------------------

    def _judge(self) -> None:
        absent = Ranges((gap.first, gap.last) for gap in self._gaps)
        for gap in self._gaps:
            self._explain(gap)
        for part in self._expected.parts:
            self._judge_part(part, self._tallies[part.first_seq], _within(absent, part))
        self._forgive_what_grew()

    def _explain(self, gap: _Gap) -> None:
        """Why rows are not there: set aside, too old, not delivered yet; else they are missing."""
        proof, expected = self._proof, self._expected
        left = Ranges([(gap.first, gap.last)])
        for seq in expected.rejected:
            if gap.first <= seq <= gap.last:
                proof.rejected.add(seq, seq)
                left.remove(seq, seq)
        if self._ttl_ns and self._is_expired(gap):
            proof.expired.add_all(left)
            return
        waits = Ranges(left)
        waits.remove_all(expected.acked)
        left.remove_all(waits)
        proof.waiting.add_all(waits)
        proof.missing.add_all(left)

    def _is_expired(self, gap: _Gap) -> bool:
        """Whether rows may have been let go of. A row is kept that long from when it was written, which is
        not before it was logged."""
        newest_ns = gap.before_ns
        for part in self._expected.parts:
            if part.path is not None and part.first_seq <= gap.last <= part.last_seq:
                try:
                    records = journal.read_records(part.path, gap.last - 1, 1)
                except UNREADABLE:
                    break
                newest_ns = records[0].ts if records else newest_ns
        return newest_ns + self._ttl_ns <= self._now_ns

    def _judge_part(self, part: Part, tally: _Tally, absent: Ranges) -> None:
        proof = self._proof
        there = Ranges([(part.first_seq, part.last_seq)])
        there.remove_all(absent)
        total = self._total_with_absent(part, tally, absent)
        if part.digest is None or total is None:
            # What is left of a segment that is too old cannot be proven any more, nor need it be.
            too_old = bool(absent) and all(proof.expired.end_of(first) is not None for first, _ in absent)
            (proof.expired if too_old else proof.unstated).add_all(there)
            if not too_old:
                self._regret(part)
            return
        if not tally.unreadable and total == part.digest:
            self._complete(there, tally)
            return
        self._regret(part)
        differing = self._locate(part, tally, there)
        proof.differing.add_all(differing)
        there.remove_all(differing)
        if part.path is not None:
            self._complete(there, tally)
            if not differing:  # every row is what the log has, and the segment's own seal is not of them
                proof.expected.misstated.append(part.number)

    def _regret(self, part: Part) -> None:
        """Say of a part that is not as it was that no resend mends it, if it was pruned."""
        if part.base_us is not None:
            self._expected.problems.append(
                f"rows {part.first_seq}..{part.last_seq} were pruned from this machine once they were "
                "verified: it cannot send them again"
            )

    def _complete(self, there: Ranges, tally: _Tally) -> None:
        """Rows that are what was logged; of those that were delivered, the timestamps must be ours as well
        (others may be about to be sent again, with newer ones)."""
        foreign = tally.odd.common(self._expected.acked).common(there)
        self._proof.restamped.add_all(foreign)
        there.remove_all(foreign)
        self._proof.complete.add_all(there)

    def _total_with_absent(self, part: Part, tally: _Tally, absent: Ranges) -> int | None:
        """The digest of what is there and, from the log, of what is not; None when that cannot be known."""
        total = tally.total
        try:
            for first, last in absent:
                if part.path is None:
                    return None
                total += digest_of(part.path, first, last)
        except UNREADABLE:
            return None
        return total % DIGEST_MODULUS

    def _locate(self, part: Part, tally: _Tally, there: Ranges) -> Ranges:
        """Which rows of a part are not what was logged."""
        if part.path is not None:
            try:
                return self._compare(part, there)
            except UNREADABLE as error:
                self._expected.problems.append(str(error))
        suspects = Ranges(tally.unreadable)
        suspects.add_all(tally.odd)
        return suspects if 0 < suspects.count < tally.found or not tally.found else there

    def _compare(self, part: Part, there: Ranges) -> Ranges:
        """Row by row with the log."""
        assert part.path is not None
        differing = Ranges()
        for chunk in range(part.first_seq // CHUNK_RECORDS, part.last_seq // CHUNK_RECORDS + 1):
            first = max(part.first_seq, chunk * CHUNK_RECORDS)
            last = min(part.last_seq, (chunk + 1) * CHUNK_RECORDS - 1)
            records = journal.read_records(part.path, first - 1, last - first + 1)
            logged = {record.seq: record for record in records}
            for row in self._reader.rows(self._expected.run_id, self._expected.stream_id, chunk):
                if row.seq in logged and row.seq in there and not _is_equal(logged[row.seq], row.record):
                    differing.add(row.seq, row.seq)
        return differing

    def _forgive_what_grew(self) -> None:
        """A stream that is being written went on meanwhile: what it logged was not added by others."""
        added = self._proof.added
        if self._expected.ended or not added:
            return
        path = self._expected.parts[-1].path if self._expected.parts else None
        known = self._expected.last_seq
        if path is None:  # another machine's: it has not stated them yet
            newest = max(last for _, last in added)
            for first, last in added:
                self._proof.unstated.add(max(first, known + 1), last)
        else:
            paths = journal.segment_paths(path.parent)
            newest = max((journal.last_seq(path) for path in paths), default=0)
        added.remove(known + 1, newest)

    def _check_pages(self, repaging: Repaging) -> None:
        """Every page is, to the bit, what the rows make, and was written by the stream's syncer."""
        proof, expected = self._proof, self._expected
        for metric, level, chunk, pages in repaging.partitions():
            there = self._reader.pages(expected.run_id, expected.stream_id, metric, level, chunk)
            found = {number: (page.newest, page.body) for number, page in there.items()}
            base_us = expected.base_us or 0
            ours = all(
                page.stamps_us == frozenset((base_us + (page.newest or 0),)) for page in there.values()
            )
            if (found != pages or not ours) and metric not in proof.pages:
                proof.pages.append(metric)
        proof.pages_checked = repaging.metrics


class _Place:
    """Which part a seq belongs to; asked in ascending order."""

    def __init__(self, parts: list[Part]) -> None:
        self._parts = parts
        self._at = 0

    def of(self, seq: int) -> Part:
        while self._parts[self._at].last_seq < seq:
            self._at += 1
        return self._parts[self._at]


def _scratch() -> str | None:
    """Where a temporary file may get large, None for the usual place: that is memory on many machines, and
    the pages of ten million points are some 150 MB."""
    return LARGE_FILES if "TMPDIR" not in os.environ and os.access(LARGE_FILES, os.W_OK) else None


def row_digest(record: Record | None) -> int | None:
    """None for what cannot be a record."""
    if record is None:
        return None
    try:
        return digest((record,))
    except (CorruptRecord, OverflowError, ValueError, TypeError, AttributeError):
        return None


def _is_equal(logged: Record, stored: Record | None) -> bool:
    """In every bit."""
    if stored is None or row_digest(stored) is None:
        return False
    return canonical_bytes(logged) == canonical_bytes(stored)


def _within(ranges: Ranges, part: Part) -> Ranges:
    found = Ranges()
    for first, last in ranges:
        found.add(max(first, part.first_seq), min(last, part.last_seq))
    return found
