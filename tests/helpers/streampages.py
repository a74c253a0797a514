"""The pages of a stream as they lie in its ``pages.db``, and as a recomputation from its log makes them."""

from __future__ import annotations

import sqlite3
from pathlib import Path

import numpy as np

from helpers.pages import MemoryPages
from helpers.waiting import stream_records
from wal.paging.pagefile import PAGES_FILE
from wal.pyramid import SHIFT_RECORDS, TAIL_RECORDS, Batch, Builder, shift_of
from wal.record import Kind

PageKey = tuple[str, int, int]
"""(metric, level, page number)."""

Pages = dict[PageKey, tuple[int, bytes]]
"""(newest seq, bytes) of each page."""


def in_file(stream_dir: Path) -> Pages:
    """The pages in ``pages.db``."""
    with sqlite3.connect(f"file:{stream_dir / PAGES_FILE}?mode=ro", uri=True) as db:
        rows = db.execute(
            "SELECT name, level, number, newest_seq, body FROM page JOIN metric ON metric.id = metric"
        ).fetchall()
    db.close()
    return {(name, level, number): (newest, body) for name, level, number, newest, body in rows}


def recomputed(stream_dir: Path, through: int | None = None, lacking: range = range(0)) -> Pages:
    """The pages of every record up to ``through`` (by default all) but the ``lacking`` seqs, all taken in at
    once."""
    records = [record for record in stream_records(stream_dir) if record.kind is Kind.LOG]
    if through is not None:
        records = [record for record in records if record.seq <= through]
    records = [record for record in records if record.seq not in lacking]
    early = [record.step for record in records if record.seq <= TAIL_RECORDS]
    shift = shift_of(early[:SHIFT_RECORDS])
    names: dict[str, int] = {}
    points = sorted(
        (names.setdefault(name, len(names)), record.seq, record.step, record.ts // 1000, value)
        for record in records
        for name, value in record.values.items()
    )
    columns = list(zip(*points, strict=True)) or [()] * 5
    batch = Batch(
        *(np.array(column, dtype=np.int64) for column in columns[:4]), np.array(columns[4], dtype=np.float64)
    )
    store = MemoryPages()
    Builder(store, shift).add(batch)
    by_id = {number: name for name, number in names.items()}
    return {
        (by_id[page.metric], page.level, page.number): (page.newest_seq, page.body)
        for page in store.pages.values()
    }
