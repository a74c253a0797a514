"""Streams whose writer was taken for dead: watched for signs of life, at a few system calls each.

A writer's lock may be lost for a while (its script copied the log directory, say), and what it commits then
is to be shipped like everything else. Only the end that a writer states itself is for ever.
"""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from uuid import UUID

from wal.segments.liveness import LOCK_NAME, lock_holder
from wal.segments.segment import segment_path

CRASHED_PER_LOOK = 16
NEWEST_CRASHED = 4
"""Crashed streams looked at per look: the newest ones always, the others in turn. However many there are, a
look costs a fraction of a millisecond."""

Signature = tuple[int, ...]
"""Size and time (ns) of a segment's file and of its write-ahead log."""


def signature_of(path: Path) -> Signature:
    """Changes whenever a segment's file or its write-ahead log did."""
    found: list[int] = []
    for name in (path, f"{path}-wal"):
        try:
            stat = os.stat(name)
        except OSError:
            found += (0, 0)
        else:
            found += (stat.st_size, stat.st_mtime_ns)
    return tuple(found)


def remains_of(segments: Iterable[tuple[int, Signature]]) -> str:
    """The signatures of a stream's segments that are not sealed, by number, as ``state.db`` keeps them."""
    return " ".join(f"{number}:{':'.join(map(str, signature))}" for number, signature in segments)


@dataclass(frozen=True, slots=True)
class CrashedStream:
    """Where a crashed stream lies and what its files showed (:func:`remains_of`)."""

    run_id: UUID
    stream_id: UUID
    directory: Path
    remains: str

    @property
    def is_unchanged(self) -> bool:
        """Whether its files show the same as then, and nobody holds its lock."""
        numbers = [int(part.partition(":")[0]) for part in self.remains.split()]
        shown = remains_of((number, signature_of(segment_path(self.directory, number))) for number in numbers)
        return bool(numbers) and shown == self.remains and not _is_locked(self.directory)


def _is_locked(directory: Path) -> bool:
    try:
        return lock_holder(directory / LOCK_NAME) is not None
    except OSError:  # nobody can tell here: then only the files do
        return False


class CrashWatch:
    """The crashed streams of a log directory."""

    def __init__(self) -> None:
        self._streams: dict[UUID, CrashedStream] = {}  # in the order of their next turn
        self._newest: deque[UUID] = deque(maxlen=NEWEST_CRASHED)
        self._look_at_all = False

    def add(self, stream: CrashedStream) -> None:
        """Watch a stream, as the newest one."""
        self._streams[stream.stream_id] = stream
        if stream.stream_id not in self._newest:
            self._newest.append(stream.stream_id)

    def look_at_all(self) -> None:
        """Somebody says that there is something new: the next look is at every stream."""
        self._look_at_all = True

    def changed(self) -> Iterator[CrashedStream]:
        """Those of the streams whose turn it is that show a sign of life: they are watched no longer."""
        for stream_id in self._due():
            stream = self._streams[stream_id]
            if not stream.is_unchanged:
                del self._streams[stream_id]
                yield stream

    def _due(self) -> list[UUID]:
        if self._look_at_all:
            self._look_at_all = False
            return list(self._streams)
        turn = list(islice(self._streams, CRASHED_PER_LOOK))
        for stream_id in turn:  # to the end
            self._streams[stream_id] = self._streams.pop(stream_id)
        newest = [stream_id for stream_id in self._newest if stream_id in self._streams]
        return list(dict.fromkeys(newest + turn))
