"""How fast a stream moves, read off its newest records. Standard library only."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from wal.reading.streamreader import UNREADABLE
from wal.segments.meta import PrunedSegment
from wal.segments.segment import reading_segment

WINDOW_S = 60.0
"""Speed is over the last minute of records: long enough to be calm, short enough to show a stall."""

Place = tuple[int, int, int]
"""seq, step, ts (ns)."""


@dataclass(frozen=True, slots=True)
class Pace:
    """The oldest and the newest record of a window of time, which ends at the newest record."""

    first_seq: int
    first_step: int
    first_ts: int
    last_seq: int
    last_step: int
    last_ts: int

    @property
    def records(self) -> int:
        return self.last_seq - self.first_seq

    @property
    def steps(self) -> int:
        return self.last_step - self.first_step

    @property
    def seconds(self) -> float:
        return (self.last_ts - self.first_ts) / 1e9


def pace_of(first: Place, last: Place) -> Pace:
    return Pace(*first, *last)


def local_pace(paths: Iterable[Path], window_s: float = WINDOW_S) -> Pace | None:
    """The pace in segment files, given newest first; None without records.

    Records are looked up by seq, about 13 in each segment of the window, which no clock that stands still or
    goes back can make wrong by more than its own jump.
    """
    first: Place | None = None
    last: Place | None = None
    for path in paths:
        try:
            with reading_segment(path) as connection:
                ends = _ends(connection)
                if ends is None:
                    continue
                oldest, newest = ends
                last = last or newest
                since = last[2] - int(window_s * 1e9)
                if oldest[2] < since:
                    return pace_of(_first_since(connection, oldest, newest, since) or first or last, last)
                first = oldest
        except (*UNREADABLE, PrunedSegment):
            break
    return pace_of(first, last) if first and last else None


def _ends(connection: sqlite3.Connection) -> tuple[Place, Place] | None:
    found: list[Place] = [
        connection.execute(f"SELECT seq, step, ts FROM record ORDER BY seq {order} LIMIT 1").fetchone()
        for order in ("ASC", "DESC")
    ]
    return (found[0], found[1]) if found[0] else None


def _first_since(connection: sqlite3.Connection, oldest: Place, newest: Place, since: int) -> Place | None:
    """The first record not older than ``since``, by bisection on seq; None when all are older."""
    if newest[2] < since:
        return None
    low, high = oldest[0], newest[0]  # low is older, high is not
    found = newest
    while high - low > 1:
        middle: Place | None = connection.execute(
            "SELECT seq, step, ts FROM record WHERE seq >= ? ORDER BY seq LIMIT 1", ((low + high) // 2,)
        ).fetchone()
        if middle is None or middle[0] >= high or middle[2] >= since:
            high = (low + high) // 2
            found = middle if middle is not None and middle[2] >= since else found
        else:
            low = middle[0]
    return found
