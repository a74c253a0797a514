"""What went wrong with Cassandra, in plain words, and what the caller should do about it.

Every exception of the driver becomes one :class:`Trouble`: an action for the syncer, a sentence and a remedy
for the user. Nothing here retries; the syncer does, with its own clock and its own patience.
"""

from __future__ import annotations

import re
import ssl
import struct
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import Enum

import cassandra
from cassandra import connection, pool, protocol
from cassandra.cluster import NoHostAvailable

from wal.settings import Endpoint, Settings
from wal.source import SourceError


class Action(Enum):
    """What a writer does. The same rows with the same timestamps are sent again whenever anything is."""

    RETRY = "retry"
    """Send again, with back-off, for ever."""
    SLOW = "slow"
    """Send again once a minute, and say so: only somebody else can mend it."""
    SPLIT = "split"
    """Halve the batch: one of its rows is the reason."""
    PARK = "park"
    """Put the row aside with the reason; the others go on."""
    STOP = "stop"
    """Send nothing; ask once a minute whether it was mended."""
    REBUILD = "rebuild"
    """Throw the connection away and make a new one, then send again."""


@dataclass(frozen=True, slots=True)
class Trouble:
    """``sentence`` says what happened, ``remedy`` what to do (either may be shown alone).

    ``kind`` is a stable word for tests and for grouping. ``slow_down`` asks a writer to halve its window.
    """

    action: Action
    kind: str
    sentence: str
    remedy: str = ""
    slow_down: bool = False

    def __str__(self) -> str:
        return f"{self.sentence} {self.remedy}".rstrip()


class StoreError(SourceError):
    """Cassandra could not answer. The message is the trouble's sentence and remedy."""

    def __init__(self, trouble: Trouble) -> None:
        super().__init__(str(trouble))
        self.trouble = trouble


# How often the same failure of one row is believed to be the server's and not the row's.
_WRITE_FAILURES_BEFORE_SPLIT = 3
_SERVER_ERRORS_BEFORE_PARK = 10

_SCHEMA_REMEDY = "Create what is missing with: canopy cassandra schema"


@dataclass(frozen=True, slots=True)
class _Context:
    endpoint: Endpoint | None
    settings: Settings
    rows: int
    attempt: int

    @property
    def where(self) -> str:
        return f"Cassandra at {self.endpoint.label}" if self.endpoint else "Cassandra"

    def look_at_nodes(self, command: str) -> str:
        """How to look at the servers: ``command``, but a managed node comes without nodetool."""
        managed = self.endpoint is not None and self.endpoint.origin == "managed"
        return "canopy cassandra status" if managed else command

    @property
    def slow_remedy(self) -> str:
        look = self.look_at_nodes("nodetool tpstats")
        return f"Raise request_timeout ({self.settings.request_timeout:g} s), or see how busy it is: {look}"

    def row_trouble(self, reason: str) -> Trouble:
        """A statement that the server or the driver cannot take: find the row, then put it aside."""
        if self.rows == 0:
            sentence = f"{self.where} rejected a statement: {_one_line(reason)}."
            return Trouble(Action.STOP, "statement", sentence)
        action = Action.SPLIT if self.rows > 1 else Action.PARK
        return Trouble(action, "row", f"{self.where} rejected a record: {_one_line(reason)}.",
                       "It stays in the local log; everything else goes on.")  # fmt: skip


def classify(
    error: BaseException,
    endpoint: Endpoint | None = None,
    settings: Settings | None = None,
    *,
    rows: int = 1,
    attempt: int = 1,
) -> Trouble:
    """The trouble behind any exception of the driver. Never raises.

    ``rows`` is how many records the failed statement carried, ``attempt`` how often it has failed this way.
    """
    if isinstance(error, StoreError):
        return error.trouble
    context = _Context(endpoint, settings or Settings(), rows, attempt)
    if isinstance(error, NoHostAvailable):
        return _no_host(error, context)
    for kinds, rule in _RULES:
        if isinstance(error, kinds):
            return rule(error, context)
    name = type(error).__name__
    sentence = f"{context.where} failed in an unexpected way ({name}: {_one_line(error)})."
    return Trouble(Action.SLOW, "unknown", sentence, "It is tried again every minute.")


def _no_host(error: NoHostAvailable, context: _Context) -> Trouble:
    """The driver wraps what each host said: answer with the cause that a user must act on, else the first."""
    causes = list(error.errors.values()) if isinstance(error.errors, Mapping) else []
    causes = [cause for cause in causes if isinstance(cause, BaseException)]
    if not causes:
        return unreachable(context.endpoint, "no node of it takes requests")
    troubles = [
        classify(cause, context.endpoint, context.settings, rows=context.rows, attempt=context.attempt)
        for cause in causes
    ]
    return next((trouble for trouble in troubles if trouble.action is not Action.RETRY), troubles[0])


def unreachable(endpoint: Endpoint | None, reason: str) -> Trouble:
    """No answer from the node: down, starting, stopped, behind a dead network."""
    if endpoint is not None and endpoint.origin == "managed":
        remedy = "Start it with: canopy cassandra up"
    else:
        remedy = "See what is wrong: canopy status --check"
    where = f"Cassandra at {endpoint.label}" if endpoint else "Cassandra"
    sentence = f"{where} does not answer (NoHostAvailable: {_one_line(reason)})."
    return Trouble(Action.RETRY, "unreachable", sentence, remedy)


def wrong_data_centre(endpoint: Endpoint, wanted: str, present: set[str]) -> Trouble:
    there = ", ".join(sorted(present)) or "none"
    sentence = f"Cassandra at {endpoint.label} has no node in the data centre {wanted!r}; it has: {there}."
    return Trouble(Action.STOP, "datacenter", sentence, "Set local_dc to one of these, or leave it out.")


def keyspace_missing(endpoint: Endpoint | None, keyspace: str) -> Trouble:
    """The server says it as InvalidRequest, or nothing is found where it should be."""
    sentence = f"Keyspace '{keyspace}' does not exist" + (f" at {endpoint.label}." if endpoint else ".")
    return Trouble(Action.STOP, "keyspace", sentence, "Create it with: canopy cassandra schema")


# -- one rule per family of exceptions ---------------------------------------------------------------


def _from_socket(error: BaseException, context: _Context) -> Trouble:
    # The driver makes an OSError of whatever fails on the socket; what it was stands in its text. An end in
    # the middle of a handshake is a node that goes, not one that disagrees.
    tls = re.search(r"\[SSL: (?!UNEXPECTED_EOF)\w+\] (.*?)(?: \(_ssl\.c|$)", str(error))
    if tls is not None or (isinstance(error, ssl.SSLError) and "EOF" not in str(error)):
        said = _one_line(tls[1] if tls is not None else error)
        sentence = f"{context.where} and this side do not agree on TLS ({said})."
        remedy = "Check the ssl section of the settings."
        if "certificate is not valid for" in str(error):  # a name or an address: contact_points says which
            remedy = "Write contact_points as the certificate has it, or set ssl.check_hostname to false."
        return Trouble(Action.STOP, "tls", sentence, remedy)
    reason = "connection refused" if isinstance(error, ConnectionRefusedError) else str(error)
    if isinstance(error, OSError) and "refused" in str(error).lower():
        reason = "connection refused"
    return unreachable(context.endpoint, reason or type(error).__name__)


def _authentication(_: BaseException, context: _Context) -> Trouble:
    user = context.settings.username
    if user is None:
        sentence = f"{context.where} asks for a login, and none is configured (AuthenticationFailed)."
    else:
        sentence = (
            f"{context.where} refused the user {user!r} (AuthenticationFailed: username and/or password are "
            "incorrect)."
        )
    remedy = "Correct auth_provider or CASSANDRA_PASSWORD, then: canopy status --check"
    return Trouble(Action.STOP, "authentication", sentence, remedy)


def _unauthorized(error: BaseException, context: _Context) -> Trouble:
    sentence = f"{context.where} denies a permission: {server_text(error)}."
    return Trouble(Action.STOP, "permission", sentence, "Ask whoever runs it to grant that permission.")


def _timed_out(error: BaseException, context: _Context) -> Trouble:
    if isinstance(error, cassandra.OperationTimedOut) and "creating connection" in str(error):
        return unreachable(context.endpoint, "no answer to a connection")
    sentence = (
        f"{context.where} did not answer a request in time (OperationTimedOut: client request timeout)."
    )
    return Trouble(Action.RETRY, "timeout", sentence, context.slow_remedy, slow_down=True)


def _write_timeout(_: BaseException, context: _Context) -> Trouble:
    sentence = (
        f"{context.where} took a write too slowly (WriteTimeout: the coordinator timed out waiting for "
        "replica nodes' responses)."
    )
    level, look = context.settings.consistency.write, context.look_at_nodes("nodetool status")
    remedy = f"Lower consistency.write ({level}), or look: {look}"
    return Trouble(Action.RETRY, "timeout", sentence, remedy, slow_down=True)


def _read_timeout(_: BaseException, context: _Context) -> Trouble:
    sentence = f"{context.where} could not read from its replicas in time."
    return Trouble(Action.RETRY, "read timeout", sentence, context.slow_remedy)


def _unavailable(error: BaseException, context: _Context) -> Trouble:
    need, alive = getattr(error, "required_replicas", "?"), getattr(error, "alive_replicas", "?")
    sentence = f"{context.where} has too few replicas up: {need} needed, {alive} alive."
    return Trouble(
        Action.RETRY, "unavailable", sentence, "Start the missing nodes, or lower consistency.write."
    )


def _write_failure(error: BaseException, context: _Context) -> Trouble:
    if context.attempt > _WRITE_FAILURES_BEFORE_SPLIT:
        return context.row_trouble(f"a replica failed to write it ({_one_line(error)})")
    sentence = f"A replica of {context.where} failed to take a write."
    return Trouble(Action.RETRY, "write failure", sentence, "Look at the server's log if this goes on.")


def _overloaded(error: BaseException, context: _Context) -> Trouble:
    if isinstance(error, protocol.ServerError):
        if context.attempt >= _SERVER_ERRORS_BEFORE_PARK:
            return context.row_trouble(f"the server fails on it ({server_text(error)})")
        sentence = f"{context.where} reports an internal error: {server_text(error)}."
        return Trouble(Action.RETRY, "server error", sentence, "Look at the server's log.", slow_down=True)
    sentence = f"{context.where} is overloaded or still starting ({server_text(error)})."
    return Trouble(Action.RETRY, "overloaded", sentence, "It is sent again, more slowly.", slow_down=True)


def _busy(_: BaseException, context: _Context) -> Trouble:
    sentence = f"Too many requests to {context.where} are under way."
    return Trouble(Action.RETRY, "overloaded", sentence, "They are sent again, more slowly.", slow_down=True)


def _invalid(error: BaseException, context: _Context) -> Trouble:
    text = server_text(error)
    low = text.lower()
    if re.search(r"keyspace '?\S+?'? does not exist", low):
        return keyspace_missing(context.endpoint, context.settings.keyspace)
    if re.search(r"unconfigured (table|columnfamily)|table \S+ does not exist|undefined (column )?name", low):
        sentence = f"{context.where} has not the tables that this Canopy writes: {text}."
        return Trouble(Action.STOP, "schema", sentence, _SCHEMA_REMEDY)
    if re.search(r"unknown identifier|undefined identifier", low):
        sentence = f"{context.where} has not the tables that this Canopy writes: {text}."
        return Trouble(Action.STOP, "schema", sentence, _SCHEMA_REMEDY)
    if "batch too large" in low:
        return context.row_trouble(text)
    if "disk usage exceeds" in low:
        return Trouble(Action.SLOW, "disk", f"{context.where} refuses writes: its disk is full.",
                       "Free space there; records wait safely in the local log.")  # fmt: skip
    if "consistency" in low:
        sentence = f"{context.where} does not accept the consistency level: {text}."
        return Trouble(Action.STOP, "consistency", sentence, "Set consistency.write and consistency.read.")
    return context.row_trouble(text)


def _protocol(_: BaseException, context: _Context) -> Trouble:
    sentence = (
        f"What listens at {context.endpoint.label if context.endpoint else 'that port'} did not speak CQL."
    )
    return Trouble(Action.STOP, "protocol", sentence, "Check contact_points and port (9042 is usual).")


def _bad_value(error: BaseException, context: _Context) -> Trouble:
    return context.row_trouble(str(error))


def _driver(error: BaseException, context: _Context) -> Trouble:
    text = _one_line(error)
    if "metadata service" in text:
        sentence = "The Astra database is asleep or unreachable."
        return Trouble(Action.SLOW, "unreachable", sentence, "Resume it in the Astra console.")
    if "shut down" in text or "shutdown" in text or "reprepare" in text or "query ID" in text:
        sentence = f"The connection to {context.where} must be made anew ({text})."
        return Trouble(Action.REBUILD, "connection", sentence)
    sentence = f"{context.where}: {text}."
    return Trouble(Action.SLOW, "unknown", sentence, "It is tried again every minute.")


def _unresolvable(_: BaseException, context: _Context) -> Trouble:
    hosts = ", ".join(context.endpoint.contact_points) if context.endpoint else "the contact points"
    sentence = f"The name of {hosts} cannot be resolved."
    return Trouble(Action.RETRY, "unreachable", sentence, "Check contact_points, or this machine's network.")


def server_text(error: BaseException) -> str:
    """What the server said, without the driver's framing."""
    text = getattr(error, "message", None) or str(error)
    matched = re.search(r'message="(.*)"', str(text), re.DOTALL)
    return _one_line(matched[1] if matched else text)


def _one_line(error: object, limit: int = 200) -> str:
    text = " ".join(str(error).split()).rstrip(".")
    return text if len(text) <= limit else text[: limit - 1] + "…"


# The first family that the exception belongs to decides; subclasses stand before their bases.
_RULES: tuple[tuple[tuple[type[BaseException], ...], Callable[[BaseException, _Context], Trouble]], ...] = (
    ((cassandra.AuthenticationFailed, protocol.BadCredentials), _authentication),
    ((cassandra.Unauthorized, protocol.UnauthorizedErrorMessage), _unauthorized),
    ((cassandra.InvalidRequest, protocol.InvalidRequestException, protocol.SyntaxException), _invalid),
    ((cassandra.ConfigurationException, protocol.ConfigurationException), _invalid),
    ((cassandra.WriteTimeout, protocol.WriteTimeoutErrorMessage), _write_timeout),
    ((cassandra.ReadTimeout, cassandra.ReadFailure), _read_timeout),
    ((protocol.ReadTimeoutErrorMessage, protocol.ReadFailureMessage), _read_timeout),
    ((cassandra.Unavailable, protocol.UnavailableErrorMessage), _unavailable),
    ((cassandra.WriteFailure, protocol.WriteFailureMessage), _write_failure),
    ((protocol.OverloadedErrorMessage, protocol.IsBootstrappingErrorMessage), _overloaded),
    ((protocol.TruncateError, protocol.ServerError), _overloaded),
    ((cassandra.OperationTimedOut,), _timed_out),
    ((cassandra.UnresolvableContactPoints,), _unresolvable),
    ((pool.NoConnectionsAvailable, connection.ConnectionBusy), _busy),
    (
        (connection.ProtocolError, connection.ProtocolVersionUnsupported, protocol.ProtocolException),
        _protocol,
    ),
    ((KeyError,), _protocol),  # a stranger's answer that the driver's parser stumbles over
    ((connection.ConnectionException, OSError), _from_socket),
    ((TypeError, struct.error, OverflowError, UnicodeError), _bad_value),
    ((cassandra.DriverException, AssertionError), _driver),
)
