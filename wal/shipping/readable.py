"""Reading a range of a segment as far as it can be read."""

from __future__ import annotations

from pathlib import Path

from wal import journal

UNREADABLE = (journal.CorruptSegment, journal.NewerFormat, PermissionError)
"""What reading a segment raises; each with a sentence that names the file."""


def read_readable(path: Path, first: int, last: int) -> tuple[journal.Rows, str | None]:
    """The rows of ``first`` … ``last`` that lie before any damage, and the sentence that names it.

    A file that is gone has none, and says nothing. Raises :class:`wal.journal.PrunedSegment`.
    """
    unreadable = last + 1  # the lowest seq that is known to be behind the damage
    readable = first - 1
    rows = journal.Rows({}, [])
    problem: str | None = None
    while readable < unreadable - 1:
        # The whole range at first; after a failure the middle, until the damage is between two records.
        middle = last if unreadable > last else (readable + unreadable) // 2
        try:
            rows = journal.read_rows(path, first - 1, middle - first + 1)
        except FileNotFoundError:
            return journal.Rows({}, []), None
        except UNREADABLE as error:
            problem = str(error)
            unreadable = middle
        else:
            readable = middle
    return rows, problem
