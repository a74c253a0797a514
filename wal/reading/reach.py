"""Cassandra within a reader's reach: found, connected and polled on a thread of its own, questions asked on
others, so that no caller ever waits for a network longer than it wants to.

A failed question closes the way for everybody at once (the last answers stay); the thread opens it again when
a question of its own has been answered.
"""

from __future__ import annotations

import logging
import random
import threading
import time
from collections.abc import Callable, Hashable, Mapping
from dataclasses import dataclass
from queue import SimpleQueue
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Generic, TypeVar
from uuid import UUID

from wal.link import Link, Target
from wal.reading.listedmetrics import PART_ROWS
from wal.source import Connection, RunRow

if TYPE_CHECKING:
    from wal.cassandra.store import CassandraStore
    from wal.reading.shelf import Shelf

TICK_S = 0.25
"""How soon the thread notices what changed: a new target, a pause that is over."""

ROWS_EVERY_S = 1.0
"""How often the list of runs is asked for while somebody looks at it; it also shows that the node answers."""

IDLE_EVERY_S = 5.0
"""The same while nobody looks."""

LOOKED_AT_S = 5.0
"""Who asked for the list this recently still looks at it."""

ROWS_SHARE = 4
"""Reading a long list may take a quarter of the time: the next comes after this many times as long."""

RETRY_S = 2.0
"""A reader tries a node that does not answer this often: somebody sits there and waits for the picture."""

TABLES_WITHIN_NS = 60 * 10**9
"""After a managed node's start its tables are there within so long; later, their absence is a trouble."""

MUTE = ("unreachable", "timeout")
"""Kinds of trouble that mean no answer at all; anything else is an answer that somebody must act on."""

WORKERS = 4
"""Questions under way at a time."""

T = TypeVar("T")

# Without a handler Python prints warnings on stderr, in the middle of a screen. The status line says it all.
for _name in ("wal", "cassandra"):
    logging.getLogger(_name).addHandler(logging.NullHandler())


class Question(Generic[T]):
    """A question that was asked on another thread."""

    def __init__(self) -> None:
        self.done = threading.Event()
        self.answer: T | None = None
        self.error: Exception | None = None


class Workers:
    """Daemon threads that ask questions, each key at most once at a time.

    Daemon, because a hung node must not hold up the end of the process (a ThreadPoolExecutor's threads are
    joined there).
    """

    def __init__(self, count: int = WORKERS) -> None:
        self._queue: SimpleQueue[tuple[Hashable, Callable[[], Any], Question[Any]] | None] = SimpleQueue()
        self._open: dict[Hashable, Question[Any]] = {}
        self._guard = threading.Lock()
        self._count = count
        self._threads: list[threading.Thread] = []

    def ask(self, key: Hashable, work: Callable[[], T]) -> Question[T]:
        """The question of this key that is under way, else a new one."""
        with self._guard:
            asked = self._open.get(key)
            if asked is not None:
                return asked
            question: Question[T] = Question()
            self._open[key] = question
            if len(self._threads) < self._count:
                thread = threading.Thread(target=self._work, name="canopy-ask", daemon=True)
                self._threads.append(thread)
                thread.start()
        self._queue.put((key, work, question))
        return question

    def _work(self) -> None:
        while (item := self._queue.get()) is not None:
            key, work, question = item
            try:
                question.answer = work()
            except Exception as error:  # noqa: BLE001 - handed to whoever asked
                question.error = error
            with self._guard:
                self._open.pop(key, None)
            question.done.set()

    def close(self) -> None:
        """Let the threads end once they have their answers."""
        for _ in self._threads:
            self._queue.put(None)


@dataclass(frozen=True, slots=True)
class Standing:
    """How it stands with Cassandra, for the status line. ``since_ns`` dates ``connection``."""

    connection: Connection = Connection.STARTING
    detail: str = ""
    remedy: str = ""
    endpoint: str = ""
    since_ns: int = 0


class Reach:
    """The thread. ``store`` is None while Cassandra cannot be asked; ``rows`` are its runs as last heard."""

    def __init__(
        self,
        find: Callable[[], Target],
        connect: Callable[[Target], CassandraStore],
        *,
        shelf: Shelf | None = None,
        clock_ns: Callable[[], int] = time.time_ns,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self.origin = ""
        """Names the Cassandra in the index; empty while there is none."""
        self.heard_ns = 0
        """When ``rows`` were heard of last; 0 for never."""
        self._shelf = shelf
        self.store: CassandraStore | None = None
        self.rows: Mapping[UUID, RunRow] = MappingProxyType({})
        self.standing = Standing(since_ns=clock_ns())
        self.settled = threading.Event()
        """Set once it is known whether there is a Cassandra, and what runs it has or why it is mute."""
        self._clock_ns = clock_ns
        self._monotonic = monotonic
        self._link = Link(find, connect, monotonic=monotonic, uniform=random.uniform, on_lost=self._lost)
        self._failures: SimpleQueue[tuple[CassandraStore, Exception]] = SimpleQueue()
        self._asked_at = monotonic()
        self._rows_at = self._tried_at = self._pause_s = 0.0
        self._stop = threading.Event()
        self._wake = threading.Event()
        self._hurry = threading.Event()
        self._thread = threading.Thread(target=self._run, name="canopy-reach", daemon=True)
        self._thread.start()

    def look(self) -> Mapping[UUID, RunRow]:
        """The runs as last heard, at once; and keep them coming."""
        self._asked_at = self._monotonic()
        return self.rows

    def failed(self, store: CassandraStore, error: Exception) -> None:
        """A question to ``store`` failed: nobody asks it any more until the thread had an answer."""
        if self.store is store:
            self.store = None
        self._failures.put((store, error))
        self._wake.set()

    def refresh(self) -> None:
        """Somebody wants to know now: forget every pause."""
        self._hurry.set()
        self._wake.set()

    def close(self) -> None:
        """Stop. Returns at once, also while a node hangs."""
        self._stop.set()
        self._wake.set()

    # -- the thread ---------------------------------------------------------------------------------

    def _run(self) -> None:
        while not self._stop.is_set():
            self._step()
            self._wake.wait(TICK_S)
            self._wake.clear()
        self.store = None
        self._link.close()

    def _step(self) -> None:
        while not self._failures.empty():
            store, error = self._failures.get()
            if store is self._link.store:
                self._note(error)
        now = self._monotonic()
        mute = self._link.trouble is not None and self._link.trouble.kind in MUTE
        if self._hurry.is_set() or (mute and now - self._tried_at >= RETRY_S):
            self._hurry.clear()
            self._pause_s = 0.0
            self._tried_at = now
            self._link.paused_until = 0.0
        try:
            self._recall(self._link.look())  # before a connection is tried, which may take its time
            store = self._link.tick()
        except Exception as error:  # noqa: BLE001 - a damaged settings file or record must not end the thread
            self._publish(Standing(Connection.TROUBLE, f"Cassandra cannot be looked for: {error}"))
            self.settled.set()
            return
        if store is None:
            self.store = None
        elif self.store is None or now - self._rows_at >= self._pause(now):
            self._ask_rows(store)
        self._publish(self._now_standing())
        if self._link.target is not None and (self._link.target.endpoint is None or self._link.trouble):
            self.settled.set()

    def _recall(self, target: Target) -> None:
        """Until Cassandra says something: what it said the last time, maybe to another process."""
        if target.endpoint is None:
            return
        origin = f"{target.endpoint.label}/{target.settings.keyspace}"
        if origin == self.origin:
            return
        self.origin = origin
        self.rows = MappingProxyType({})
        if self._shelf is None:
            return
        for newest in (PART_ROWS, None):
            rows, self.heard_ns = self._shelf.rows(origin, self._clock_ns(), newest)
            self.rows = MappingProxyType(rows)

    def _ask_rows(self, store: CassandraStore) -> None:
        started = self._tried_at = self._monotonic()
        try:
            rows = self._first_rows(store) if self.store is None else store.runs()
        except Exception as error:  # noqa: BLE001 - classified below
            self.store = None
            self._note(error)
            return
        self._link.succeeded()
        if len(rows) != len(self.rows) or any(self.rows.get(row.run_id) is not row for row in rows):
            self.rows = MappingProxyType({row.run_id: row for row in rows})
        self.store = store
        self._rows_at = self._monotonic()
        self._pause_s = max(ROWS_EVERY_S, ROWS_SHARE * (self._rows_at - started))
        self.heard_ns = self._clock_ns()
        self._publish(self._now_standing())  # before anybody goes on who waits for it
        self.settled.set()
        if self._shelf is not None:
            self._shelf.put_rows(self.origin, self.rows, self.heard_ns)

    def _first_rows(self, store: CassandraStore) -> list[RunRow]:
        """The list in parts: what has been read is shown, and its curves are kept in the index, before more
        is read."""
        store.recall(self.rows.values())
        shows_nothing = not self.rows
        rows: dict[UUID, RunRow] = {}
        for part in store.run_parts():
            rows.update((row.run_id, row) for row in part)
            if shows_nothing:
                self.rows = MappingProxyType(dict(rows))
            if self._shelf is not None:
                self._shelf.put_part(self.origin, part, self._clock_ns())
        return list(rows.values())

    def _pause(self, now: float) -> float:
        """Seconds between two readings of the list."""
        return self._pause_s if now - self._asked_at < LOOKED_AT_S else max(self._pause_s, IDLE_EVERY_S)

    def _note(self, error: Exception) -> None:
        from wal.cassandra.trouble import classify

        target = self._link.target
        endpoint = target.endpoint if target else None
        self._tried_at = self._monotonic()
        self._link.failed(classify(error, endpoint, target.settings if target else None, rows=0))

    def _lost(self) -> None:
        self.store = None

    def _now_standing(self) -> Standing:
        target, trouble = self._link.target, self._link.trouble
        assert target is not None, "tick() sets it"
        label = target.endpoint.label if target.endpoint else ""
        if target.endpoint is None:
            return Standing(target.connection, target.detail, target.remedy)
        if trouble is None:
            if self.store is not None:
                return Standing(Connection.UP, endpoint=label)
            return Standing(Connection.STARTING, "connecting", endpoint=label)
        started_ns = target.node.started_ns if target.node is not None else 0
        if self._link.awaits_tables and self._clock_ns() - started_ns < TABLES_WITHIN_NS:
            # Who has just started the node is making them: nothing is wrong, and nobody else should.
            return Standing(Connection.STARTING, "making its tables", endpoint=label)
        connection = Connection.OFFLINE if trouble.kind in MUTE else Connection.TROUBLE
        return Standing(connection, trouble.sentence, trouble.remedy, label)

    def _publish(self, standing: Standing) -> None:
        same = standing.connection is self.standing.connection
        since_ns = self.standing.since_ns if same else self._clock_ns()
        self.standing = Standing(
            standing.connection, standing.detail, standing.remedy, standing.endpoint, since_ns
        )
