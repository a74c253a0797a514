"""Cassandra nodes for tests: real ones, gone when the test run is gone, however that ends."""

from __future__ import annotations

import os
import subprocess
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from wal.cassandra.handshake import free_port
from wal.cassandra.server import LOOPBACK, Node, new_node
from wal.settings import Settings

if TYPE_CHECKING:
    from helpers.keyspaces import Lender
    from wal.cassandra.session import Session

# Compile once and simply: a third less CPU time until a node is up, and tests do not run it for long. Read
# the clock every 20 ms, not every 2: half of what an idle node takes. What measures speed passes
# java_options=().
QUICK_JAVA = ("-XX:TieredStopAtLevel=1", "-Dcassandra.approximate_time_precision_ms=20")

# What a node that is never started again can do without: what it writes to disk of its tables and of itself.
# A table is made in a third of the time, and the node is up 1.5 s earlier.
ONE_LIFE = ("-Dcassandra.test.flush_local_schema_changes=false", "-Dcassandra.unsafesystem=true")

ANY_PORT = "PYTEST_NODES_ON_ANY_PORT"
"""Set where another test run starts nodes as well: the usual ports look free to both until one has them."""


@contextmanager
def running_node(directory: Path, version: str = "5.0", **options: Any) -> Iterator[Node]:
    """A node of its own on free ports, up when the block begins, gone when it ends. Data in ``directory``."""
    options.setdefault("java_options", QUICK_JAVA)
    if os.environ.get(ANY_PORT):
        options = {name: free_port(LOOPBACK, None) for name in ("port", "storage_port")} | options
    node = new_node(directory, version, durable=False, **options)
    with ended_with_us(node):
        node.wait_ready()
        yield node


_lenders: dict[Node, Lender] = {}


@contextmanager
def shared_node(directory: Path, version: str = "5.0", **options: Any) -> Iterator[Node]:
    """The same for many tests, none of which ends it: :func:`fresh_keyspace` lends its keyspaces to one after
    the other."""
    from helpers.keyspaces import Lender

    options["java_options"] = QUICK_JAVA + ONE_LIFE
    with running_node(directory, version, **options) as node, _session(settings_for(node)) as session:
        _lenders[node] = Lender(session, lambda: settings_for(node))
        yield node
        del _lenders[node]


def session_of(settings: Settings) -> Session | None:
    """The session of the shared node that these settings lead to; None for any other node."""
    for node, lender in _lenders.items():
        host, port = node.endpoint
        if (settings.contact_points, settings.port) == ((host,), port):
            return lender.session
    return None


@contextmanager
def ended_with_us(node: Node) -> Iterator[None]:
    """Start a node; end it when the block ends, or when this whole process does, be it by kill -9.

    A shell holds the reading end of a pipe: it hears of our end, whatever it is, and kills the node that
    the directory's lock file then names. (A node is a session of its own and would live on.)
    """
    node.start()
    guard = subprocess.Popen(
        ["sh", "-c", 'read -r _; kill -9 "$(cat "$0")" 2>/dev/null', str(node.spec.directory / "lock")],
        stdin=subprocess.PIPE,
        start_new_session=True,  # Ctrl-C is for us alone: we end the node in order
    )
    try:
        yield
    finally:
        guard.kill()
        guard.communicate()
        node.resume()
        node.kill()


def settings_for(node: Node, **changes: Any) -> Settings:
    """Settings as a user's file would give them for this node; their keyspace is new and not made yet."""
    host, port = node.endpoint
    values: dict[str, Any] = {
        "contact_points": (host,),
        "port": port,
        "local_dc": "datacenter1",
        "keyspace": f"t_{uuid.uuid4().hex[:16]}",
        "explicit": True,
    }
    return Settings(**(values | changes))


@contextmanager
def fresh_keyspace(node: Node, **changes: Any) -> Iterator[Settings]:
    """An empty keyspace with Canopy's schema on this node; dropped at the end if the node still answers."""
    from wal.cassandra import schema

    if node in _lenders and not changes:
        with _lenders[node].lent() as settings:
            yield settings
        return
    settings = settings_for(node, **changes)
    with _session(settings) as session:
        schema.create(session, settings)
        yield settings
        if node.alive:
            schema.drop(session, settings.keyspace)


@contextmanager
def keyspace_over_restarts(node: Node, **changes: Any) -> Iterator[Settings]:
    """The same for who kills the node meanwhile: no connection of ours is held."""
    from wal.cassandra import schema

    settings = settings_for(node, **changes)
    with _session(settings) as session:
        schema.create(session, settings)
    yield settings
    if node.alive:
        with _session(settings) as session:
            schema.drop(session, settings.keyspace)


@contextmanager
def _session(settings: Settings) -> Iterator[Session]:
    from wal.cassandra.session import connect
    from wal.settings import resolve

    endpoint = resolve(settings, {})
    assert endpoint is not None
    session = connect(endpoint, settings)
    try:
        yield session
    finally:
        session.close()
