"""Readers of pages, kept as long as there is room."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable
from typing import Any

from wal.reading.pagereader import PageReader

TRIM_EVERY = 16
"""Times that trimming is asked for: to count what is kept costs as much as bringing a curve up to date."""


class ReaderCache:
    """Readers by key, the least recently used let go of beyond ``limit_bytes``."""

    def __init__(self, limit_bytes: int) -> None:
        self._limit_bytes = limit_bytes
        self._readers: OrderedDict[tuple[Any, ...], PageReader] = OrderedDict()
        self._guard = threading.Lock()
        self._asked = 0

    def get(self, key: tuple[Any, ...], make: Callable[[], PageReader]) -> PageReader:
        """The reader of ``key``, now the most recently used; made if there is none."""
        with self._guard:
            reader = self._readers.get(key)
            if reader is None:
                reader = self._readers[key] = make()
            self._readers.move_to_end(key)
            return reader

    def trim(self) -> None:
        """Let go now and then of what is beyond the bound; the reader used last always stays."""
        self._asked += 1
        if self._asked % TRIM_EVERY:
            return
        with self._guard:
            total = sum(reader.nbytes for reader in self._readers.values())
            while total > self._limit_bytes and len(self._readers) > 1:
                _, reader = self._readers.popitem(last=False)
                total -= reader.nbytes

    def clear(self) -> None:
        with self._guard:
            self._readers.clear()

    def readers(self) -> dict[tuple[Any, ...], PageReader]:
        with self._guard:
            return dict(self._readers)

    @property
    def nbytes(self) -> int:
        with self._guard:
            return sum(reader.nbytes for reader in self._readers.values())
