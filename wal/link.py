"""The way to Cassandra: which one it is, the connection, and how long to leave it alone after a failure."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from wal.settings import Endpoint, Settings, SettingsError, find_file, load, resolve
from wal.source import Connection

if TYPE_CHECKING:
    from wal.cassandra.noderecord import NodeRecord
    from wal.cassandra.store import CassandraStore
    from wal.cassandra.trouble import Trouble

log = logging.getLogger("wal.syncer")

BACKOFF_FIRST_S = 0.5
BACKOFF_LONGEST_S = 30.0

LOOK_S = 1.0
"""How often the settings file and the managed node's record are looked at: a few ``stat`` calls."""

PROBE_S = 60.0
"""How often a server is asked again when only somebody else can mend what is wrong."""

GIVE_UP_S = 30.0
"""A connection on which nothing has succeeded for so long is thrown away and made anew."""

TABLES_S = 2.0
"""The same while a managed node is up and ``canopy cassandra up`` has not made its tables yet."""

REBUILD_S = 5.0
"""Connections are made at least this far apart when the driver asks for a new one."""


@dataclass(frozen=True, slots=True)
class Target:
    """Where Cassandra is. Without an ``endpoint``, ``connection``, ``detail`` and ``remedy`` say why."""

    settings: Settings
    endpoint: Endpoint | None
    connection: Connection = Connection.LOCAL_ONLY
    detail: str = ""
    remedy: str = ""
    node: NodeRecord | None = None


class Finder:
    """Finds the Cassandra to use: settings file and environment, else the managed node."""

    def __init__(self, env: Mapping[str, str], cwd: Path) -> None:
        self._env = env
        self._cwd = cwd
        self._seen: tuple[object, ...] | None = None
        self._settings: Settings | SettingsError = SettingsError("the settings were not read yet.")

    def __call__(self) -> Target:
        """The target now. Cheap: files are read only when they changed."""
        seen = self._fingerprint()
        if seen != self._seen:
            self._seen = seen
            try:
                self._settings = load(self._env, self._cwd)
            except SettingsError as error:
                self._settings = error
        if isinstance(self._settings, SettingsError):
            remedy = "It is read again as soon as it changes."
            return Target(Settings(), None, Connection.TROUBLE, str(self._settings), remedy)
        endpoint = resolve(self._settings, self._env)
        node = self._node()
        if endpoint is None or (node is not None and node.state != "up" and endpoint.origin == "managed"):
            return self._without(self._settings, node)
        return Target(self._settings, endpoint, node=node if endpoint.origin == "managed" else None)

    def _fingerprint(self) -> tuple[object, ...]:
        try:
            path = find_file(self._env, self._cwd)
            stat = os.stat(path) if path is not None else None
        except (SettingsError, OSError) as error:
            return (type(error),)
        return (path, stat and (stat.st_mtime_ns, stat.st_size, stat.st_ino))

    def _node(self) -> NodeRecord | None:
        from wal.cassandra.noderecord import managed

        name = self._env.get("CANOPY_NODE") or "default"
        return None if name == "none" else managed(name)

    def _without(self, settings: Settings, node: NodeRecord | None) -> Target:
        if node is None or settings.enabled is False or settings.explicit:
            return Target(settings, None)
        if node.state in ("downloading", "starting"):
            detail = node.detail if node.state == "downloading" else f"starting {node.detail}".rstrip()
            return Target(settings, None, Connection.STARTING, detail, node=node)
        detail = "the managed node is stopped" + (f" ({node.detail})" if node.detail else "")
        which = "" if node.name == "default" else f" --name {node.name}"
        remedy = f"Start it with: canopy cassandra up{which}"
        return Target(settings, None, Connection.OFFLINE, detail, remedy, node)


class Backoff:
    """Delays with full jitter: uniform in 0 … ceiling, the ceiling doubling from 0.5 s to 30 s, for ever.

    Full jitter spreads the syncers of a whole cluster over the interval after an outage (M. Brooker,
    "Exponential Backoff And Jitter", AWS Architecture Blog, 2015). ``uniform`` draws from an interval.
    """

    def __init__(self, uniform: Callable[[float, float], float]) -> None:
        self._uniform = uniform
        self._ceiling = BACKOFF_FIRST_S

    def next(self) -> float:
        """Seconds to wait before the next try."""
        delay = self._uniform(0.0, self._ceiling)
        self._ceiling = min(self._ceiling * 2, BACKOFF_LONGEST_S)
        return delay

    def reset(self) -> None:
        self._ceiling = BACKOFF_FIRST_S


class Link:
    """One connection at a time, made when there is a target, dropped when it is no good any more.

    :meth:`tick` answers with the store while it may be used, else None; the caller reports with
    :meth:`succeeded` and :meth:`failed` how the use went. ``on_lost`` is called whenever an established
    connection is given up.
    """

    def __init__(
        self,
        find: Callable[[], Target],
        connect: Callable[[Target], CassandraStore],
        *,
        monotonic: Callable[[], float],
        uniform: Callable[[float, float], float],
        on_lost: Callable[[], None],
    ) -> None:
        self._find = find
        self._connect = connect
        self._monotonic = monotonic
        self._backoff = Backoff(uniform)
        self._on_lost = on_lost
        self.target: Target | None = None
        self.store: CassandraStore | None = None
        self.trouble: Trouble | None = None
        self.fresh = False
        """True from a new connection until the caller took notice."""
        self.works = False
        """True since something succeeded, until something fails."""
        self.paused_until = 0.0
        self._look_at = 0.0
        self._failing_since: float | None = None
        self._unmade = False  # the trouble is that no connection could be made

    def look(self) -> Target:
        """Where Cassandra is now. Never waits for it."""
        now = self._monotonic()
        if now >= self._look_at or self.target is None:
            self._look_at = now + LOOK_S
            self._retarget(self._find())
        assert self.target is not None
        return self.target

    def tick(self) -> CassandraStore | None:
        """The store, if there is one and it is not to be left alone. Connects when that is due."""
        if self.look().endpoint is None or self._monotonic() < self.paused_until:
            return None
        if self.store is None:
            self._make()
        return self.store

    @property
    def ready(self) -> CassandraStore | None:
        """The store while it may be used and the caller has taken notice of it; connects nothing."""
        resting = self.fresh or self._monotonic() < self.paused_until
        return None if resting else self.store

    def _retarget(self, target: Target) -> None:
        if target == self.target:
            return
        known, self.target = self.target, target
        if known is not None and (known.endpoint, known.settings) != (target.endpoint, target.settings):
            self.drop()
        # Whatever was wrong may be mended by what changed: try at once.
        self.paused_until = 0.0
        if target.endpoint is None:
            self.trouble = None
        self._backoff.reset()

    def _make(self) -> None:
        from wal.cassandra.trouble import classify

        assert self.target is not None
        try:
            self.store = self._connect(self.target)
        except Exception as error:  # noqa: BLE001 - every failure of the driver becomes a trouble
            self.failed(classify(error, self.target.endpoint, self.target.settings))
            self._unmade = True
            return
        self.fresh = True

    def succeeded(self) -> None:
        """Something was written: the way is open."""
        self.works = True
        if self.trouble is not None or self._failing_since is not None:
            self.trouble = None
            self._failing_since = None
            self._backoff.reset()

    def connected(self) -> None:
        """A new connection holds what is needed. Where nothing waits to be written, only this tells that what
        kept it from being made is mended; the pauses stay as long as they are until something was written."""
        self.fresh = False
        if self.trouble is None or self._unmade or self.trouble.kind == "unreachable":
            self.trouble, self.works = None, True

    def failed(self, trouble: Trouble) -> None:
        """Leave the server alone for a while, as long as the trouble asks for; drop a useless connection."""
        from wal.cassandra.trouble import Action

        now = self._monotonic()
        if self.trouble is None or self.trouble.kind != trouble.kind:
            log.warning("%s", trouble)
        self.trouble, self.works, self._unmade = trouble, False, False
        if self._failing_since is None:
            self._failing_since = now
        if self.awaits_tables:
            self.pause(TABLES_S)
        elif trouble.action in (Action.STOP, Action.SLOW):
            self.pause(PROBE_S)
        elif now >= self.paused_until:  # a whole window fails at once: one delay for all of it
            self.pause(REBUILD_S if trouble.action is Action.REBUILD else self._backoff.next())
        useless = trouble.kind == "unreachable" or trouble.action in (Action.STOP, Action.REBUILD)
        if useless or now - self._failing_since >= GIVE_UP_S:
            self._failing_since = now
            self.drop()

    def pause(self, seconds: float) -> None:
        """Use nothing for so long."""
        self.paused_until = max(self.paused_until, self._monotonic() + seconds)

    def drop(self) -> None:
        """Give the connection up."""
        self.works = False
        store, self.store = self.store, None
        if store is not None:
            self._on_lost()
            store.close()

    def close(self) -> None:
        """Let go of the connection for good."""
        store, self.store = self.store, None
        if store is not None:
            store.close()

    def retry_now(self) -> None:
        """Somebody says that it was mended: try at once, and read again where Cassandra is."""
        self.paused_until = self._look_at = 0.0

    @property
    def awaits_tables(self) -> bool:
        """A managed node answers, and its tables are not there (yet)."""
        endpoint = self.target.endpoint if self.target is not None else None
        managed = endpoint is not None and endpoint.origin == "managed"
        return managed and self.trouble is not None and self.trouble.kind in ("keyspace", "schema")

    @property
    def connection(self) -> Connection:
        """What a status line says, but for the backlog."""
        if self.target is None:
            return Connection.STARTING
        if self.target.endpoint is None:
            return self.target.connection
        if self.trouble is None:
            return Connection.UP if self.store is not None else Connection.STARTING
        if self.awaits_tables:
            return Connection.STARTING
        return Connection.OFFLINE if self.trouble.kind == "unreachable" else Connection.TROUBLE
