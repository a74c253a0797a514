"""The proof that Cassandra holds what was logged: every record of a run, read from both, bit by bit."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from uuid import UUID

from wal.record import DIGEST_BYTES, Kind, Record, canonical_bytes, digest, pack_topology
from wal.source import Source

PAGE_RECORDS = 1000
"""Records read at once: a second of any node's time, and little memory."""


class NotDelivered(Exception):
    """Cassandra does not hold what was logged. The message says which record of which run differs."""


@dataclass(frozen=True, slots=True)
class Side:
    """What one side holds of a run. ``points`` counts values; ``digest`` is of all records' bytes."""

    records: int = 0
    points: int = 0
    digest: int = 0

    def plus(self, records: Sequence[Record]) -> Side:
        return Side(
            self.records + len(records),
            self.points + sum(len(record.values) for record in records),
            digest(records, self.digest),
        )


@dataclass(frozen=True, slots=True)
class Proof:
    """A run of which every record is the same on both sides."""

    run_id: UUID
    log: Side
    cassandra: Side


def prove(run_id: UUID, log: Source, cassandra: Source) -> Proof:
    """Compare a run record by record, topologies whole. Raises :class:`NotDelivered` at the first difference,
    and what the sources raise."""
    logged, delivered = Side(), Side()
    streams = sorted(stream.stream_id for stream in log.run(run_id).streams)
    try:
        found = sorted(stream.stream_id for stream in cassandra.run(run_id).streams)
    except KeyError:
        raise NotDelivered(f"run {run_id} is missing from Cassandra.") from None
    if streams != found:
        raise NotDelivered(f"run {run_id}: {len(streams)} streams were logged, Cassandra holds {len(found)}.")
    for stream_id in streams:
        pairs = zip(_pages(log, run_id, stream_id), _pages(cassandra, run_id, stream_id), strict=False)
        for ours, theirs in pairs:
            _compare(run_id, ours, theirs)
            logged, delivered = logged.plus(ours), delivered.plus(theirs)
            for record in ours:
                if record.kind is Kind.TOPOLOGY:
                    _check_topology(run_id, stream_id, record, cassandra)
    if logged != delivered:
        raise NotDelivered(f"run {run_id}: the digests of the log and of Cassandra differ.")
    return Proof(run_id, logged, delivered)


def _pages(source: Source, run_id: UUID, stream_id: UUID) -> Iterator[Sequence[Record]]:
    """Pages of records, the last one shorter than a whole one, perhaps empty."""
    after = 0
    while True:
        page = source.records(run_id, stream_id, after, PAGE_RECORDS)
        yield page
        if len(page) < PAGE_RECORDS:
            return
        after = page[-1].seq


def _compare(run_id: UUID, ours: Sequence[Record], theirs: Sequence[Record]) -> None:
    for mine, other in zip(ours, theirs, strict=False):
        if canonical_bytes(mine) != canonical_bytes(other):
            seq = min(mine.seq, other.seq)
            missing = "is missing from Cassandra" if mine.seq < other.seq else "is not what was logged"
            raise NotDelivered(f"run {run_id}: record {seq} {missing}.")
    if len(ours) != len(theirs):
        longer, where = (ours, "Cassandra") if len(ours) > len(theirs) else (theirs, "the log")
        seq = longer[min(len(ours), len(theirs))].seq
        raise NotDelivered(f"run {run_id}: record {seq} is missing from {where}.")


def _check_topology(run_id: UUID, stream_id: UUID, record: Record, cassandra: Source) -> None:
    """The body that Cassandra gives must be the one whose digest was logged."""
    body = pack_topology(cassandra.topology(run_id, stream_id, record.seq))
    if body[:DIGEST_BYTES].hex() != record.texts["topology"]:
        raise NotDelivered(f"run {run_id}: the topology of record {record.seq} is not what was logged.")
