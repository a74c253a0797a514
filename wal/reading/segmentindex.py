"""Which segments of a stream hold what follows a seq. Standard library only."""

from __future__ import annotations

from pathlib import Path

from wal.record import NewerFormat
from wal.segments.meta import CorruptSegment
from wal.segments.segment import read_meta, segment_paths


class SegmentIndex:
    """First seqs of a stream's segments. A file's meta is read once, and only where it is needed: of a long
    stream that is a handful."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._first_seqs: dict[Path, int | None] = {}

    def after(self, seq: int, through: int | None = None) -> list[Path]:
        """Segments that may hold a record after ``seq`` and up to ``through``, ascending. Between them there
        may be some that cannot be read.

        Raises OSError when the directory cannot be listed.
        """
        paths = segment_paths(self._directory)
        while paths and not self._is_born(paths[-1]):
            del paths[-1]
        start = max(self._place(paths, seq + 1), 0)
        return paths[start:] if through is None else paths[start : self._place(paths, through) + 1]

    def first_seq(self, path: Path) -> int | None:
        """The first seq of a segment; None for one that cannot be read, or is gone."""
        return self._first_seqs[path] if self._is_born(path) else None

    def _place(self, paths: list[Path], seq: int) -> int:
        """The last readable one of the paths that begins at ``seq`` or before; -1 when none does."""
        low, high = -1, len(paths)
        while high - low > 1:
            middle = (low + high) // 2
            at, first = middle, self.first_seq(paths[middle])
            while first is None and at + 1 < high:
                at += 1
                first = self.first_seq(paths[at])
            if first is not None and first <= seq:
                low = at
            else:
                high = middle
        return low

    def _is_born(self, path: Path) -> bool:
        if path in self._first_seqs:
            return True
        try:
            meta = read_meta(path)
        except FileNotFoundError:
            return False
        except (CorruptSegment, NewerFormat, PermissionError):
            self._first_seqs[path] = None
            return True
        if meta is None:  # made ahead: not part of the stream yet
            return False
        self._first_seqs[path] = meta.first_seq
        return True
