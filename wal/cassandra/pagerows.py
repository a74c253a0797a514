"""From pages to the batches that carry them; see :mod:`wal.cassandra.rows` for the bytes."""

from __future__ import annotations

import struct
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING
from uuid import UUID

from wal.cassandra.rows import Batch, PackedRow
from wal.cassandra.tables import PAGE_CHUNK_BITS

if TYPE_CHECKING:
    from wal.paging.pagefile import ShippedPage

_INT, _LONG = struct.Struct(">i"), struct.Struct(">q")

_ROW_OVERHEAD_BYTES = 64
"""Of a row in a batch beside its values: query id, counts and lengths."""

_PAGE = (
    "INSERT INTO {}.metric_pages (run_id, stream, metric, level, chunk, page, newest, body) "
    "VALUES (?, ?, ?, ?, ?, ?, ?, ?) USING TIMESTAMP ?"
)


def page_batches(
    run_id: UUID, stream_id: UUID, base_us: int, pages: Iterable[ShippedPage], max_rows: int, max_bytes: int
) -> Iterator[Batch]:
    """Batches of pages, each of one partition and within both limits but for a single larger page.

    Both cells of a page are stamped ``base_us`` + its newest seq: a page with more records wins.
    """
    pending: list[PackedRow] = []
    partition: tuple[bytes, ...] = ()
    size = 0
    for page in pages:
        own = (
            run_id.bytes, stream_id.bytes, page.metric.encode(), _INT.pack(page.level),
            _LONG.pack(page.number >> PAGE_CHUNK_BITS),
        )  # fmt: skip
        packed = _pack(own, page, base_us)
        full = len(pending) >= max_rows or size + packed.size > max_bytes
        if pending and (full or own != partition):
            yield _batch(run_id, stream_id, pending)
            pending, size = [], 0
        partition = own
        pending.append(packed)
        size += packed.size
    if pending:
        yield _batch(run_id, stream_id, pending)


def _pack(partition: tuple[bytes, ...], page: ShippedPage, base_us: int) -> PackedRow:
    newest = page.newest_seq
    values = [
        *partition, _LONG.pack(page.number), _LONG.pack(newest), page.body, _LONG.pack(base_us + newest),
    ]  # fmt: skip
    return PackedRow(newest, _PAGE, values, _ROW_OVERHEAD_BYTES + sum(map(len, values)))


def _batch(run_id: UUID, stream_id: UUID, rows: list[PackedRow]) -> Batch:
    """It makes no record readable, so it counts none."""
    size = sum(row.size for row in rows)
    return Batch(run_id, stream_id, rows[0].seq, rows[-1].seq, 0, size, tuple(rows))
