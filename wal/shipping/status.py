"""The syncer's own word on how it is doing: one row in ``state.db``, for the app and the command line."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Iterable
from uuid import UUID

from wal.link import Link
from wal.reading.acks import Acks
from wal.shipping.cursors import State
from wal.shipping.daemon import version
from wal.shipping.unshipped import Stream
from wal.source import Connection

BUSY_S = 1.0
"""How often the row is written while numbers move."""

IDLE_S = 30.0
"""How often it is written when nothing changes: each time is an fsync, out of the idle budget."""

RATE_S = 5.0
RATE_STEP_S = 0.25
"""The rate is the mean over this long, of counts taken this far apart."""

CATCHING_UP = 1000
"""Unshipped records from which the line says "catching up": fewer are what a live run has under way."""

NAMED_STREAMS = 64
"""Streams on their way that the row names with lane and rate: those that live, then those that lack most."""

_URGENT = ("connection", "detail", "endpoint", "drained", "warning")


class StatusWriter:
    """Writes the status row when it says something new, or now and then.

    How long the connection is as it is, and the last error, are taken over from the syncer before.
    """

    def __init__(self, state: State, clock_ns: Callable[[], int], monotonic: Callable[[], float]) -> None:
        self._state = state
        self._clock_ns = clock_ns
        self._monotonic = monotonic
        self._written: dict[str, object] = {}
        self._written_at = -IDLE_S
        acks = Acks(state.path.parent)
        acks.poll()
        before = acks.status
        self._connection = before.get("connection")
        since_ns = before.get("since_ns")
        self._since_ns = since_ns if isinstance(since_ns, int) else clock_ns()
        self._last_error = before.get("last_error")
        self._error_goes_on = False
        self._acked: tuple[float, dict[UUID, int]] = (0.0, {})
        self._samples: deque[tuple[float, int]] = deque()
        self._version = version()

    def update(
        self,
        link: Link,
        streams: Iterable[Stream],
        *,
        waiting: int,
        again: int,
        stored: int,
        rejected: int,
        problems: list[str],
        unpaged: int,
        drained: bool,
        warning: str,
    ) -> Connection:
        """Put the row if it is due; returns the connection that it states. ``streams`` may be shipped."""
        now = self._monotonic()
        connection = link.connection
        if connection is Connection.UP and waiting + again >= CATCHING_UP:
            connection = Connection.CATCHING_UP
        if connection.value != self._connection:
            self._connection, self._since_ns = connection.value, self._clock_ns()
        row = self._describe(link, connection) | {
            "waiting": waiting, "again": again, "stored": stored, "rejected": rejected, "problems": problems,
            "unpaged": unpaged,
            "drained": drained,
            "warning": warning,
            "rate": round(self._rate(now, stored), 1),
        }  # fmt: skip
        # What a reader must know at once, against numbers that may lag by a second.
        urgent = any(row[key] != self._written.get(key) for key in _URGENT)
        if urgent or now - self._written_at >= (BUSY_S if row != self._written else IDLE_S):
            self._put(row, now, self._on_their_way(streams, now))
        return connection

    def touch(self) -> None:
        """Write the row at the next update: somebody waits for a word."""
        self._written_at = -IDLE_S

    def stopped(self) -> None:
        """The syncer ends: nobody is sending any more."""
        if self._written:
            self._put(self._written | {"pid": 0, "rate": 0.0, "next_retry_ns": 0}, self._monotonic())

    def _put(self, row: dict[str, object], now: float, streams: object = ()) -> None:
        self._written, self._written_at = row, now
        self._state.put_status(row | {"streams": streams or {}, "updated_ns": self._clock_ns()})

    def _on_their_way(self, streams: Iterable[Stream], now: float) -> dict[str, dict[str, object]]:
        """By stream id: the lane, and records acknowledged per second since the row was written last."""
        waiting = sorted((s for s in streams if s.waiting), key=lambda s: (not s.live, -s.waiting))
        named = waiting[:NAMED_STREAMS]
        acked = {stream.stream_id: stream.acked.count for stream in named}
        (then, before), self._acked = self._acked, (now, acked)
        passed_s = max(now - then, 1e-9)
        return {
            str(stream.stream_id): {
                "lane": "backlog" if stream.todo else "live",
                "rate": round((count - before.get(stream.stream_id, count)) / passed_s, 1),
            }
            for stream, count in zip(named, acked.values(), strict=True)
        }

    def _describe(self, link: Link, connection: Connection) -> dict[str, object]:
        target, trouble = link.target, link.trouble
        detail, remedy = (target.detail, target.remedy) if target is not None else ("", "")
        if trouble is not None:
            detail, remedy = trouble.sentence, trouble.remedy
        self._note_error(link)
        pause_s = link.paused_until - self._monotonic()
        retrying = trouble is not None and pause_s > 0
        endpoint = target.endpoint if target is not None else None
        return {
            "connection": connection.value,
            "detail": detail,
            "remedy": remedy,
            "endpoint": endpoint.label if endpoint is not None else "",
            "last_error": self._last_error,
            "keyspace": target.settings.keyspace if target is not None else "",
            "since_ns": self._since_ns,
            # Rounded: it must not make the row look new at every step.
            "next_retry_ns": round(self._clock_ns() / 1e9 + pause_s) * 10**9 if retrying else 0,
            "pid": os.getpid(),
            "version": self._version,
        }

    def _note_error(self, link: Link) -> None:
        """Keep what went wrong, since when, and when it was seen to be mended: as soon as this syncer gets on
        with a Cassandra again, be it another one than the error was about."""
        trouble, known = link.trouble, self._last_error
        if trouble is not None and not link.awaits_tables:  # these come by themselves
            said = {"sentence": trouble.sentence, "remedy": trouble.remedy}
            if not (self._error_goes_on and isinstance(known, dict) and known.items() >= said.items()):
                self._last_error = {**said, "at_ns": self._clock_ns(), "mended_ns": 0}
        elif link.works and isinstance(known, dict) and not known.get("mended_ns"):
            self._last_error = {**known, "mended_ns": self._clock_ns()}
        self._error_goes_on = trouble is not None

    def _rate(self, now: float, stored: int) -> float:
        """Records acknowledged per second, over the last seconds."""
        if not self._samples or now - self._samples[-1][0] >= RATE_STEP_S:
            self._samples.append((now, stored))
        while len(self._samples) > 2 and self._samples[1][0] <= now - RATE_S:
            self._samples.popleft()
        then, before = self._samples[0]
        return (stored - before) / (now - then) if now > then else 0.0
