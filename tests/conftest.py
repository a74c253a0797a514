"""What every test shares: an environment of its own, and the Cassandra nodes, each started once a run.

The environment is scrubbed while this file is imported, before any test module can import textual,
which reads its variables once and for all.
"""

from __future__ import annotations

import atexit
import os
import shutil
import signal
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import HealthCheck, settings

if TYPE_CHECKING:
    from helpers.certificates import Certificate

    from wal.cassandra.server import Node
    from wal.settings import Settings

# For working offline; in CI a missing Cassandra is always a failure.
_WITHOUT_CASSANDRA = bool(os.environ.get("CANOPY_TEST_NO_CASSANDRA")) and not os.environ.get("CI")

# A developer's own settings must not colour a snapshot or point a test at a real cluster.
_FOREIGN_NAMES = ("NO_COLOR", "FORCE_COLOR", "CLICOLOR", "CLICOLOR_FORCE", "COLORTERM")
_FOREIGN_PREFIXES = ("TEXTUAL_", "CANOPY_", "CASCOR_", "CASSANDRA_")
_KEPT = ("CANOPY_MAVEN_REPOSITORY",)  # says where this machine gets jars from, nothing else

for _name in list(os.environ):
    if _name in _FOREIGN_NAMES or (_name.startswith(_FOREIGN_PREFIXES) and _name not in _KEPT):
        del os.environ[_name]

# Some hundreds of processes are started: each would compile this checkout's modules for itself.
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
sys.dont_write_bytecode = False

# A shell starts what it puts in the background with SIGINT ignored, and a child inherits that: no Ctrl-C that
# a test sends to a process would arrive, and its end would be waited for in vain.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

# Nothing that a test does may reach the user's own state; the cache of jars is shared, as each is
# checked by its SHA-256.
_scratch = Path(tempfile.mkdtemp(prefix="canopy-tests-"))
atexit.register(shutil.rmtree, _scratch, ignore_errors=True)
os.environ.update(
    TEXTUAL_ANIMATIONS="none",
    TERM="xterm-256color",
    XDG_STATE_HOME=str(_scratch / "state"),
    XDG_CONFIG_HOME=str(_scratch / "config"),
    XDG_DATA_HOME=str(_scratch / "data"),
)

# An example that took long on a busy machine is no failure: tests assert no timings.
settings.register_profile("canopy", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("canopy")

# The checkout before tests/: both hold folders named wal and canopy_tui.
_tests = Path(__file__).parent
sys.path[:0] = [str(_tests.parent), str(_tests)]

_NODE_FIXTURES = {
    "cassandra", "cassandra5", "cassandra41", "cassandra_login", "keyspace", "keyspace5", "own_node",
}  # fmt: skip


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark what needs a node, so that ``-m 'not cassandra'`` runs the rest, and the harness of faults."""
    for item in items:
        if _NODE_FIXTURES.intersection(_fixtures_of(item)):
            item.add_marker(pytest.mark.cassandra)
        if item.path.parent.name == "faults":
            item.add_marker(pytest.mark.faults)
        if _WITHOUT_CASSANDRA and item.get_closest_marker("cassandra"):
            item.add_marker(pytest.mark.skip(reason="CANOPY_TEST_NO_CASSANDRA is set"))


def _fixtures_of(item: pytest.Item) -> Iterator[str]:
    """Those that a test names, and those that a parameter of its names: ``request.getfixturevalue``."""
    yield from getattr(item, "fixturenames", ())
    call = getattr(item, "callspec", None)
    yield from (value for value in call.params.values() if isinstance(value, str)) if call else ()


def _shared_node(version: str) -> Iterator[Node]:
    from helpers.nodes import shared_node

    with shared_node(_scratch / f"node-{version}", version) as node:
        yield node


@pytest.fixture(scope="session")
def cassandra5() -> Iterator[Node]:
    """A Cassandra 5.0 for the whole run. Leave it running: ``own_node`` is there to be killed."""
    yield from _shared_node("5.0")


@pytest.fixture(scope="session")
def cassandra41() -> Iterator[Node]:
    """A Cassandra 4.1 for the whole run. Leave it running: ``own_node`` is there to be killed."""
    yield from _shared_node("4.1")


@pytest.fixture(scope="session")
def certificate() -> Certificate:
    """What ``cassandra_login`` shows who speaks TLS with it: good for localhost, not for 127.0.0.1."""
    from helpers.certificates import make_certificate

    return make_certificate(_scratch, "localhost")


@pytest.fixture(scope="session")
def cassandra_login(certificate: Certificate) -> Iterator[Node]:
    """A Cassandra 5.0 that asks for a login; it knows the user "cassandra" with the password "cassandra". It
    speaks TLS with those who want it."""
    from helpers.nodes import ONE_LIFE, QUICK_JAVA, running_node

    options: dict[str, Any] = {"authenticator": "PasswordAuthenticator", "overrides": certificate.overrides}
    options["java_options"] = QUICK_JAVA + ONE_LIFE
    with running_node(_scratch / "node-login", **options) as node:
        yield node


@pytest.fixture(scope="session", params=["5.0", "4.1"])
def cassandra(request: pytest.FixtureRequest) -> Node:
    """Each of the two in turn: a test that asks for it runs once on each."""
    return request.getfixturevalue({"5.0": "cassandra5", "4.1": "cassandra41"}[request.param])


@pytest.fixture
def keyspace(cassandra: Node) -> Iterator[Settings]:
    """Settings of a fresh keyspace with Canopy's schema, on each of the two servers in turn."""
    from helpers.nodes import fresh_keyspace

    with fresh_keyspace(cassandra) as settings:
        yield settings


@pytest.fixture
def keyspace5(cassandra5: Node) -> Iterator[Settings]:
    """The same on Cassandra 5.0 alone, for tests whose subject is not the server."""
    from helpers.nodes import fresh_keyspace

    with fresh_keyspace(cassandra5) as settings:
        yield settings


@pytest.fixture(scope="session")
def mortal_node() -> Iterator[Node]:
    """The one behind ``own_node``."""
    from helpers.nodes import running_node

    with running_node(_scratch / "node-mortal") as node:
        yield node


@pytest.fixture
def own_node(mortal_node: Node) -> Node:
    """A Cassandra 5.0 that is up, the test's own while it runs: kill, pause, stop, start it as you like. What
    earlier tests wrote lies there, in keyspaces of theirs."""
    mortal_node.resume()
    if not mortal_node.alive:
        mortal_node.start()
        mortal_node.wait_ready()
    return mortal_node
