"""Reading back what was pruned: the records of a segment of which only the receipt is left."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING
from uuid import UUID

from wal import journal
from wal.record import Record, key_order, packer
from wal.source import SourceError

if TYPE_CHECKING:
    from wal.cassandra.store import CassandraStore

FETCHED_RECORDS = 512
"""Read at a time: as many as settle a stream's shift, and no burden for who ships meanwhile."""


def fetch_rows(
    store: CassandraStore | None, run_id: UUID, stream_id: UUID, first: int, last: int
) -> journal.Rows:
    """The records ``first`` … ``last`` from Cassandra, packed as a segment has them. Raises SourceError when
    they are not to be had, all of them."""
    if store is None:
        raise SourceError("Cassandra, which has them, cannot be asked now")
    found = store.records(run_id, stream_id, first - 1, last - first + 1)
    if [record.seq for record in found] != list(range(first, last + 1)):
        raise SourceError(f"Cassandra lacks some of the records {first} to {last}: canopy verify names them")
    return packed(found)


def packed(records: Sequence[Record]) -> journal.Rows:
    """Numbers alone, without the texts: what pages are made of."""
    ids: dict[tuple[str, ...], int] = {(): 0}
    rows: list[tuple[int, int, int, int, int, bytes]] = []
    for record in records:
        names = key_order(record.values)
        body = packer(len(names)).pack(*(record.values[name] for name in names))
        keyset = ids.setdefault(names, len(ids))
        rows.append((record.seq, int(record.kind), keyset, record.step, record.ts, body))
    return journal.Rows({keyset: names for names, keyset in ids.items()}, rows)
