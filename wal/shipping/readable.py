"""Reading a range of a segment as far as it can be read."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from wal import journal

UNREADABLE = (journal.CorruptSegment, journal.NewerFormat, PermissionError)
"""What reading a segment raises; each with a sentence that names the file."""

T = TypeVar("T")

Read = Callable[[Path, int, int], T]
"""Path, first and last seq. Raises what :data:`UNREADABLE` names, FileNotFoundError and
:class:`wal.journal.PrunedSegment`."""


def read_range(path: Path, first: int, last: int) -> journal.Rows:
    """The rows ``first`` … ``last`` of a segment."""
    return journal.read_rows(path, first - 1, last - first + 1)


def read_readable(path: Path, first: int, last: int, read: Read[T], nothing: T) -> tuple[T, str | None]:
    """What ``read`` finds of ``first`` … ``last`` before any damage, and the sentence that names the damage.

    A file that is gone has ``nothing``, and says nothing. Raises :class:`wal.journal.PrunedSegment`.
    """
    unreadable = last + 1  # the lowest seq that is known to be behind the damage
    readable = first - 1
    found = nothing
    problem: str | None = None
    while readable < unreadable - 1:
        # The whole range at first; after a failure the middle, until the damage is between two records.
        middle = last if unreadable > last else (readable + unreadable) // 2
        try:
            found = read(path, first, middle)
        except FileNotFoundError:
            return nothing, None
        except UNREADABLE as error:
            problem = str(error)
            unreadable = middle
        else:
            readable = middle
    return found, problem
