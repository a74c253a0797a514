"""Is Cassandra catching up, or is this the second's worth of records that a live run always has under way?"""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Iterable, Mapping
from uuid import UUID

from wal.reading.streams import StreamEntry
from wal.source import Connection

LATE_S = 3.0
"""The syncer flushes twice a second: a record that waits this long waits for something."""

MANY_RECORDS = 1_000
"""So many are a backlog at first sight, before there is an earlier look to compare with."""


class BacklogAge:
    """Counts the records that have waited for more than :data:`LATE_S` to be acknowledged."""

    def __init__(self) -> None:
        self._looks: deque[tuple[float, dict[UUID, int]]] = deque()

    def late(self, streams: Iterable[StreamEntry], now_s: float) -> tuple[int, int]:
        """(records that wait, those of them that are late) as of ``now_s`` on a monotonic clock.

        Streams that were told to stay local do not wait for anything.
        """
        waiting = [stream for stream in streams if stream.info.mode == "online" and stream.unshipped > 0]
        self._looks.append((now_s, {stream.stream_id: stream.last_seq for stream in waiting}))
        while len(self._looks) > 1 and self._looks[1][0] <= now_s - LATE_S:
            self._looks.popleft()
        total = sum(stream.unshipped for stream in waiting)
        looked_at, before = self._looks[0]
        if looked_at > now_s - LATE_S:
            return total, total if total >= MANY_RECORDS else 0
        return total, sum(
            max(before[stream.stream_id] - (stream.last_seq - stream.unshipped), 0)
            for stream in waiting
            if stream.stream_id in before
        )


def syncer_says(status: Mapping[str, object]) -> tuple[str, str]:
    """(detail, remedy) of records that wait although Cassandra answers."""
    if not _is_running(status.get("pid")):
        return "no syncer runs", "Start it with: canopy sync --watch"
    if status.get("connection") in (Connection.TROUBLE, Connection.OFFLINE):
        return str(status.get("detail") or ""), str(status.get("remedy") or "")
    return "", ""


def _is_running(pid: object) -> bool:
    if not isinstance(pid, int) or pid <= 0:
        return False
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except OSError:
        pass  # another user's: it runs
    return True
