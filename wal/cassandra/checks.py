"""What a user can get wrong with Cassandra: the driver's build, contact points, login, keyspace, consistency
against replication. Each is looked at for real, on a connection of its own.
"""

from __future__ import annotations

import socket
from collections.abc import Mapping
from importlib.util import find_spec

import cassandra
from cassandra.cluster import Cluster
from cassandra.connection import locally_supported_compressions

from wal.cassandra import schema
from wal.cassandra.session import Session, connect
from wal.cassandra.trouble import StoreError
from wal.reading.checks import Check, Grade
from wal.settings import Endpoint, Settings

REACH_S = 2.0
"""A contact point that takes longer to accept a connection is named."""

CONNECT_S = 10.0

_EVENT_LOOPS = {"LibevConnection": "libev", "AsyncioConnection": "asyncio", "AsyncoreConnection": "asyncore"}


def check_driver() -> Check:
    """Is the driver a quick build: compiled parts, libev, LZ4?"""
    loop = Cluster.connection_class.__name__  # pyright: ignore[reportOptionalMemberAccess]
    lacking = [
        what
        for what, there in (
            ("its compiled parts (C extensions)", find_spec("cassandra.cmurmur3") is not None),
            ("the libev event loop", loop == "LibevConnection"),
            ("LZ4", "lz4" in locally_supported_compressions),
        )
        if not there
    ]
    built = f"cassandra-driver {cassandra.__version__}, event loop {_EVENT_LOOPS.get(loop, loop)}"
    if not lacking:
        return Check("driver", Grade.OK, f"{built}, compiled, with LZ4.")
    remedy = "Install the wheels for this platform: pip install --only-binary :all: cassandra-driver lz4"
    return Check("driver", Grade.NOTE, f"{built}: it works, slower, without {' and '.join(lacking)}.", remedy)


def check_cassandra(endpoint: Endpoint, settings: Settings) -> list[Check]:
    """Contact points, login, keyspace, consistency: as far as one leads to the next."""
    checks = [_check_contact_points(endpoint)] if endpoint.contact_points else []
    if checks and checks[0].grade is Grade.BAD:
        return checks
    try:
        session = connect(endpoint, settings, timeout=CONNECT_S)
    except StoreError as error:
        name = "login" if error.trouble.kind == "authentication" else "connection"
        return [*checks, _of_trouble(name, error)]
    try:
        return [*checks, _check_login(session), *_check_keyspace(session, settings)]
    finally:
        session.close(wait=False)


def _of_trouble(name: str, error: StoreError) -> Check:
    return Check(name, Grade.BAD, error.trouble.sentence, error.trouble.remedy)


def _check_contact_points(endpoint: Endpoint) -> Check:
    problems = {host: reason for host in endpoint.contact_points if (reason := _unreachable(host, endpoint))}
    if not problems:
        return Check("contact points", Grade.OK, f"{endpoint.label} accepts connections.")
    said = ", ".join(f"{host}:{endpoint.port} {reason}" for host, reason in problems.items())
    if len(problems) < len(endpoint.contact_points):
        return Check("contact points", Grade.NOTE, f"Others answer, but {said}.", "Correct contact_points.")
    if endpoint.origin == "managed":
        return Check(
            "contact points", Grade.BAD, f"NoHostAvailable: {said}.", "Start it: canopy cassandra up"
        )
    remedy = "Start it there (systemctl start cassandra), or correct contact_points and port."
    return Check("contact points", Grade.BAD, f"NoHostAvailable: {said}.", remedy)


def _unreachable(host: str, endpoint: Endpoint) -> str:
    """Why a host cannot be connected to, as the end of a sentence; empty when it can."""
    try:
        socket.create_connection((host, endpoint.port), REACH_S).close()
    except socket.gaierror:
        return "is a name that nobody knows"
    except ConnectionRefusedError:
        return "refuses connections: nothing listens there"
    except TimeoutError:
        return f"does not answer within {REACH_S:g} s: a firewall, or another address"
    except OSError as error:
        return f"cannot be reached ({error.strerror or error})"
    return ""


def _check_login(session: Session) -> Check:
    probe = session.probe()
    user = session.settings.username
    who = f"as {user!r}" if user is not None else "without a login"
    sentence = (
        f"Connected {who} to Cassandra {probe.version}, data centre {probe.datacenter}, "
        f"{probe.latency_ms:.1f} ms."
    )
    return Check("login", Grade.OK, sentence)


def _check_keyspace(session: Session, settings: Settings) -> list[Check]:
    """Nodes, replication, tables: with too few replicas the tables cannot even be read."""
    own = session.probe().datacenter
    up, down = 0, list[str]()
    for host in session.cluster.metadata.all_hosts():  # pyright: ignore[reportOptionalMemberAccess]
        if host.is_up is False:
            down.append(str(host.endpoint))
        elif host.datacenter == own:
            up += 1
    checks: list[Check] = []
    if down:
        sentence = f"Down: {', '.join(sorted(down))}."
        checks.append(Check("nodes", Grade.NOTE, sentence, "Look at them: nodetool status"))
    try:
        replication = session.read(
            "SELECT replication FROM system_schema.keyspaces WHERE keyspace_name = ?", [settings.keyspace]
        )
        if replication:
            levels = settings.consistency.write, settings.consistency.read
            checks.append(judge_consistency(replication[0][0], own, up, *levels))
        if not checks or checks[-1].grade is not Grade.BAD:
            schema.check(session, settings.keyspace)
            sentence = f"{settings.keyspace} has all tables, of this version."
            checks.append(Check("keyspace", Grade.OK, sentence))
    except StoreError as error:
        checks.append(_of_trouble("keyspace", error))
    return checks


def judge_consistency(replication: Mapping[str, str], own: str, up: int, write: str, read: str) -> Check:
    """Can these levels be had with this replication, seen from the data centre ``own`` with ``up`` nodes up?

    ``replication`` is as ``system_schema.keyspaces`` has it.
    """
    name = "consistency"
    factors = {dc: int(factor) for dc, factor in replication.items() if factor.isdecimal()}
    simple = factors.get("replication_factor")
    local = simple if simple is not None else factors.get(own, 0)
    every = simple if simple is not None else sum(factors.values())
    if not local:
        there = ", ".join(f"{dc}: {factor}" for dc, factor in sorted(factors.items())) or "nothing"
        sentence = f"The keyspace has no replica in the data centre {own}; it has {there}."
        return Check(name, Grade.BAD, sentence, "Set local_dc to one of these, or ALTER KEYSPACE.")
    needs = {level: _replicas_needed(level, local, every) for level in (write, read)}
    for level, need in needs.items():
        if min(local, up) < need and level not in ("ALL", "QUORUM", "EACH_QUORUM"):
            sentence = f"{level} needs {need} of {local} replicas; nodes of {own} that are up: {up}."
            return Check(name, Grade.BAD, sentence, "Start the missing nodes: nodetool status")
    held = f"Written at {write} and read at {read}, replication {local} in {own}"
    if local == 1 and up > 1:
        remedy = f"ALTER KEYSPACE to {min(up, 3)}, then on each node: nodetool repair"
        return Check(name, Grade.NOTE, f"{held}: a node's disk that is lost takes its rows along.", remedy)
    if needs[write] + needs[read] <= local:
        sentence = f"{held}: what was just written may not be read yet."
        return Check(
            name, Grade.NOTE, sentence, "Set consistency.write and consistency.read to LOCAL_QUORUM."
        )
    spare = local - max(needs.values())
    goes_on = f"goes on with {spare} of them down" if spare > 0 else "stops while a replica is down"
    return Check(name, Grade.OK, f"{held}: {goes_on}.")


def _replicas_needed(level: str, local: int, every: int) -> int:
    """Replicas that must answer a request of this level."""
    fixed = {"ANY": 1, "ONE": 1, "LOCAL_ONE": 1, "TWO": 2, "THREE": 3, "ALL": every, "QUORUM": every // 2 + 1}
    return fixed.get(level, local // 2 + 1)  # LOCAL_QUORUM, EACH_QUORUM, and their serial kin
