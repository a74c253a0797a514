"""Connecting to Cassandra: the driver's settings in one place, and every failure as a sentence.

A failed connect shuts its ``Cluster`` for good (the driver cannot use it again), so each attempt makes a new
one. No caller waits longer than the timeout it gave, whatever the network does: the attempt runs on a thread
of its own, which cleans up after itself when nobody waits any more.
"""

from __future__ import annotations

import logging
import socket
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

from cassandra import ConsistencyLevel, DependencyException

from wal.settings import Endpoint, Settings, Tls

try:
    from cassandra.auth import PlainTextAuthProvider
    from cassandra.cluster import EXEC_PROFILE_DEFAULT, Cluster, ExecutionProfile, ResponseFuture
    from cassandra.cluster import Session as DriverSession
    from cassandra.concurrent import execute_concurrent_with_args
    from cassandra.policies import (
        DCAwareRoundRobinPolicy,
        ExponentialReconnectionPolicy,
        FallthroughRetryPolicy,
        RetryPolicy,
        TokenAwarePolicy,
    )
    from cassandra.query import BatchStatement, BatchType, PreparedStatement, tuple_factory
except DependencyException as error:  # Python 3.12+ without the compiled event loop: musl, exotic platforms
    raise ImportError(
        "cassandra-driver finds no event loop on this platform: install pyasyncore, or build the driver "
        "with libev's headers present."
    ) from error

from wal.cassandra.tls import client_context, named_contact_points
from wal.cassandra.trouble import Action, StoreError, Trouble, classify, unreachable, wrong_data_centre

READ_TIMEOUT_S: Final = 2.0
"""A screen waits this long for one answer, then keeps its last picture."""
_RECONNECT_S: Final = (0.5, 15.0)
"""First and longest pause between reconnections. Without an end: the driver's default stops for ever after
9.3 hours."""
_HEARTBEAT_S: Final = 10
_SILENT_PEER_MS: Final = 20_000
"""TCP_USER_TIMEOUT: a peer that acknowledges nothing for so long is gone."""
READ_WINDOW: Final = 32
"""Requests of one read under way at a time: enough to hide the round trip, few enough to stay within
the timeout of each."""

_log = logging.getLogger("wal.cassandra")
_protocol_versions: dict[str, int] = {}
"""What each endpoint was found to speak: asking again costs up to three connections."""


@dataclass(frozen=True, slots=True)
class Probe:
    """What the node that answered says of itself. ``latency_ms`` is of this one small read."""

    version: str
    datacenter: str
    cluster: str
    latency_ms: float


class Session:
    """One connection to one Cassandra: prepared statements by their text, profiles, errors as StoreError."""

    def __init__(
        self, cluster: Cluster, driver: DriverSession, endpoint: Endpoint, settings: Settings
    ) -> None:
        self.cluster = cluster
        self.driver = driver
        # Preparing goes by this and by no profile, and with profiles its public setter is refused: without
        # it a hung node makes a reader wait 10 s for its first statement.
        driver._default_timeout = READ_TIMEOUT_S  # pyright: ignore[reportPrivateUsage]
        self.endpoint = endpoint
        self.settings = settings
        self._prepared: dict[str, PreparedStatement] = {}
        self._warned: set[str] = set()

    def prepare(self, cql: str) -> PreparedStatement:
        """The prepared statement of ``cql``, prepared on first use. Raises the driver's exceptions."""
        statement = self._prepared.get(cql)
        if statement is None:
            # No lock: preparing twice does no harm, a queue of threads behind a hung node does.
            statement = self.driver.prepare(cql)
            statement.is_idempotent = True  # every write carries its own timestamp
            self._prepared[cql] = statement
        return statement

    def read(self, cql: str, parameters: Sequence[object] = ()) -> list[tuple[Any, ...]]:
        """All rows of a SELECT. Raises :class:`StoreError`."""
        return list(self.iterate(cql, parameters))

    def iterate(
        self, cql: str, parameters: Sequence[object] = (), *, rows_at_once: int | None = None
    ) -> Iterator[tuple[Any, ...]]:
        """Rows of a SELECT, page by page as they are asked for; ``rows_at_once`` bounds a page (default: the
        driver's 5,000). Raises :class:`StoreError`."""
        try:
            statement = self.prepare(cql).bind(parameters)
            if rows_at_once is not None:
                statement.fetch_size = rows_at_once
            yield from self.driver.execute(statement, execution_profile="read")
        except Exception as error:  # the driver raises from many families, and NoHostAvailable from none
            raise self.trouble(error) from error

    def write(self, cql: str, parameters: Sequence[object] = ()) -> None:
        """Run a write and wait for it. Raises :class:`StoreError`."""
        try:
            self.driver.execute(self.prepare(cql), parameters, execution_profile="write")
        except Exception as error:
            raise self.trouble(error, rows=1) from error

    def write_together(self, writes: Iterable[tuple[str, Sequence[object]]]) -> None:
        """Run writes of one partition as one unlogged batch and wait for it. Raises :class:`StoreError`."""
        try:
            batch = BatchStatement(BatchType.UNLOGGED)
            for cql, parameters in writes:
                batch.add(self.prepare(cql), parameters)
            self.driver.execute(batch, execution_profile="write")
        except Exception as error:
            raise self.trouble(error, rows=1) from error

    def read_many(self, cql: str, parameters: Iterable[Sequence[object]]) -> Iterator[list[tuple[Any, ...]]]:
        """The rows of the same SELECT for each of ``parameters``, in order, a window of them under way."""
        try:
            results = execute_concurrent_with_args(
                self.driver, self.prepare(cql), parameters, concurrency=READ_WINDOW,
                results_generator=True, execution_profile="read",
            )  # fmt: skip
            for result in results:
                yield list(result.result_or_exc)
        except Exception as error:
            raise self.trouble(error) from error

    def start(self, statement: object, done: Callable[[Exception | None], None]) -> None:
        """Send a write; ``done`` runs on the driver's thread with None or the exception."""
        future: ResponseFuture = self.driver.execute_async(statement, execution_profile="write")
        sent = [future]

        def succeeded(_: object) -> None:
            self._note_warnings(sent[0])
            # A future, its timer and this function hold each other: without an end to that, the rows of
            # thousands of batches wait for the garbage collector.
            sent.pop()._timer = None  # pyright: ignore[reportPrivateUsage]
            done(None)

        future.add_callbacks(callback=succeeded, errback=done)

    def _note_warnings(self, future: ResponseFuture) -> None:
        """The server's warnings sit in the future and nobody prints them: log each distinct one once."""
        for warning in future.warnings or ():
            if warning not in self._warned:
                self._warned.add(warning)
                _log.warning("Cassandra warns: %s", warning)

    def trouble(self, error: BaseException, rows: int = 0) -> StoreError:
        """The error that a caller sees; ``rows`` as in :func:`classify`."""
        return StoreError(classify(error, self.endpoint, self.settings, rows=rows))

    def probe(self) -> Probe:
        """Ask the node who it is. Raises :class:`StoreError`."""
        started = time.perf_counter()
        rows = self.read("SELECT release_version, data_center, cluster_name FROM system.local")
        elapsed_ms = (time.perf_counter() - started) * 1000
        version, datacenter, name = rows[0]
        return Probe(version, datacenter, name, elapsed_ms)

    def close(self, *, wait: bool = True) -> None:
        """Shut the connection. ``wait=False`` returns at once: a hung node must not hold up an exit."""
        if wait:
            self.cluster.shutdown()
        else:
            threading.Thread(target=self.cluster.shutdown, name="cassandra-close", daemon=True).start()


def connect(endpoint: Endpoint, settings: Settings, *, timeout: float | None = None) -> Session:
    """A session, within ``timeout`` seconds (default: the settings'). Raises :class:`StoreError`.

    With a ``timeout`` of its own (a reader's), reads use it too: 2 s for the app.
    """
    if endpoint.origin == "managed":  # what the settings say of another cluster is not about this node
        settings = replace(
            settings, username=None, password=None, local_dc=None, tls=Tls(), secure_connect_bundle=None,
            replication=None,
        )  # fmt: skip
    if timeout is not None:
        settings = replace(settings, connect_timeout=min(timeout, settings.connect_timeout))
    limit = settings.connect_timeout if timeout is None else timeout
    attempt = _Attempt(endpoint, settings)
    return attempt.wait(limit)


class _Attempt:
    """One try to connect, on its own thread; what comes too late is closed there."""

    def __init__(self, endpoint: Endpoint, settings: Settings) -> None:
        self._endpoint, self._settings = endpoint, settings
        self._lock = threading.Lock()
        self._finished = threading.Event()
        self._abandoned = False
        self._outcome: Session | Exception | None = None
        threading.Thread(target=self._connect, name="cassandra-connect", daemon=True).start()

    def wait(self, limit: float) -> Session:
        self._finished.wait(limit)
        with self._lock:
            outcome = self._outcome
            self._abandoned = outcome is None
        if outcome is None:
            raise StoreError(unreachable(self._endpoint, f"no connection within {limit:g} s"))
        if isinstance(outcome, Exception):
            raise outcome
        return outcome

    def _connect(self) -> None:
        outcome: Session | Exception
        try:
            outcome = _open(self._endpoint, self._settings)
        except Exception as error:  # noqa: BLE001  # raised again in the thread that waits
            outcome = error
        with self._lock:
            self._outcome = outcome
            abandoned = self._abandoned
        self._finished.set()
        if abandoned and isinstance(outcome, Session):
            outcome.close()


def _open(endpoint: Endpoint, settings: Settings) -> Session:
    try:
        cluster = Cluster(**_options(endpoint, settings))
    except StoreError:
        raise
    except Exception as error:
        _protocol_versions.pop(endpoint.label, None)
        raise StoreError(_constructor_trouble(error, endpoint, settings)) from error
    try:
        driver = cluster.connect()
        failure = None
    except Exception as error:  # noqa: BLE001 - raised below, once it is known what it means
        driver, failure = None, error
    # Without a node in the data centre the driver may connect all the same and then find no node for any
    # request, or fail as if nobody answered: which of the two is a matter of timing.
    present = {host.datacenter for host in cluster.metadata.all_hosts() if host.datacenter}  # pyright: ignore[reportOptionalMemberAccess]
    misplaced = settings.local_dc is not None and bool(present) and settings.local_dc not in present
    if driver is None or misplaced:
        _protocol_versions.pop(endpoint.label, None)  # the server may be another version after this
        cluster.shutdown()
        if misplaced:
            raise StoreError(wrong_data_centre(endpoint, str(settings.local_dc), present)) from failure
        raise StoreError(classify(failure or RuntimeError("no session"), endpoint, settings)) from failure
    _protocol_versions[endpoint.label] = int(cluster.protocol_version)  # pyright: ignore[reportArgumentType]
    return Session(cluster, driver, endpoint, settings)


def _constructor_trouble(error: Exception, endpoint: Endpoint, settings: Settings) -> Trouble:
    if settings.secure_connect_bundle is not None and isinstance(error, ValueError | OSError | KeyError):
        sentence = f"The secure connect bundle {settings.secure_connect_bundle} cannot be used ({error})."
        return Trouble(Action.STOP, "bundle", sentence, "Download it again from the Astra console.")
    return classify(error, endpoint, settings)


def _options(endpoint: Endpoint, settings: Settings) -> dict[str, Any]:
    consistency = settings.consistency
    write = _profile(settings, consistency.write, settings.request_timeout, FallthroughRetryPolicy())
    read = _profile(settings, consistency.read, min(READ_TIMEOUT_S, settings.request_timeout), RetryPolicy())
    options: dict[str, Any] = {
        "execution_profiles": {"write": write, "read": read, EXEC_PROFILE_DEFAULT: read},
        "reconnection_policy": ExponentialReconnectionPolicy(*_RECONNECT_S, max_attempts=None),  # pyright: ignore[reportArgumentType]
        "connect_timeout": settings.connect_timeout,
        "control_connection_timeout": settings.connect_timeout,
        "idle_heartbeat_interval": _HEARTBEAT_S,
        "idle_heartbeat_timeout": _HEARTBEAT_S,
        "compression": not _is_loopback(endpoint),
        "sockopts": _socket_options(),
        "monitor_reporting_enabled": False,
    }
    if endpoint.label in _protocol_versions:
        options["protocol_version"] = _protocol_versions[endpoint.label]
    if settings.username is not None and settings.password is not None:
        options["auth_provider"] = PlainTextAuthProvider(settings.username, settings.password.reveal())
    if settings.secure_connect_bundle is not None:
        bundle = str(settings.secure_connect_bundle)
        options["cloud"] = {"secure_connect_bundle": bundle, "use_default_tempdir": True}
        return options
    options["contact_points"] = list(endpoint.contact_points)
    options["port"] = endpoint.port
    if settings.tls.enabled:
        options["ssl_context"] = client_context(settings.tls)
        options["contact_points"] = list(named_contact_points(endpoint.contact_points, endpoint.port))
    return options


def _profile(settings: Settings, level: str, timeout: float, retries: RetryPolicy) -> ExecutionProfile:
    """Writes fall through to our own retries; reads go by the driver's, which ask another replica once."""
    return ExecutionProfile(
        load_balancing_policy=TokenAwarePolicy(DCAwareRoundRobinPolicy(settings.local_dc or "")),
        retry_policy=retries,
        consistency_level=ConsistencyLevel.name_to_value[level],  # pyright: ignore[reportAttributeAccessIssue]
        request_timeout=timeout,
        row_factory=tuple_factory,
    )


def _is_loopback(endpoint: Endpoint) -> bool:
    """Compression costs more than the loopback does."""
    hosts = endpoint.contact_points
    return bool(hosts) and all(host in ("localhost", "::1") or host.startswith("127.") for host in hosts)


def _socket_options() -> list[tuple[int, int, int]]:
    options = [(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)]
    if hasattr(socket, "TCP_USER_TIMEOUT"):  # Linux
        options.append((socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, _SILENT_PEER_MS))
    return options


def accepts_connections(endpoint: Endpoint, timeout: float = 1.0) -> bool:
    """Whether a plain TCP connection to any contact point succeeds: for a writer that doubts its session."""
    for host in endpoint.contact_points:
        try:
            socket.create_connection((host, endpoint.port), timeout).close()
            return True
        except OSError:
            continue
    return False
