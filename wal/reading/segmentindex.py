"""Which segments of a stream hold what follows a seq. Standard library only."""

from __future__ import annotations

from pathlib import Path

from wal.record import NewerFormat
from wal.segments.meta import CorruptSegment
from wal.segments.segment import read_meta, segment_paths


class SegmentIndex:
    """First seqs of a stream's segments; each file's meta is read once."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._first_seqs: dict[Path, int | None] = {}

    def after(self, seq: int, through: int | None = None) -> list[Path]:
        """Segments that may hold a record after ``seq`` and up to ``through``, ascending; those that cannot
        be read are among them.

        Raises OSError when the directory cannot be listed.
        """
        paths = [path for path in segment_paths(self._directory) if self._is_born(path)]
        start = 0
        for at, path in enumerate(paths):
            first = self._first_seqs[path]
            if first is not None and first <= seq + 1:
                start = at
        if through is None:
            return paths[start:]
        firsts = ((path, self._first_seqs[path]) for path in paths[start:])
        return [path for path, first in firsts if first is None or first <= through]

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
