"""Connecting: what listens, what does not, and that nobody waits longer than said."""

from __future__ import annotations

import gc
import socket
import threading
import time
import weakref
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from cassandra.query import BatchStatement
from helpers.nodes import settings_for
from helpers.waiting import eventually

from wal.cassandra.session import READ_TIMEOUT_S, accepts_connections, connect
from wal.cassandra.store import open_store
from wal.cassandra.trouble import Action, StoreError
from wal.settings import Endpoint, Secret, Settings, Tls, resolve

PATIENCE_S = 30.0
"""A hang would last for ever; this only bounds the test."""


def endpoint_of(settings: Settings) -> Endpoint:
    endpoint = resolve(settings, {})
    assert endpoint is not None
    return endpoint


def local(port: int, **changes: Any) -> Settings:
    return Settings(contact_points=("127.0.0.1",), port=port, explicit=True, **changes)


def trouble_of(settings: Settings, timeout: float = READ_TIMEOUT_S) -> StoreError:
    """The error of connecting, which must come on its own while this test waits on another thread."""
    caught: list[StoreError] = []

    def attempt() -> None:
        with pytest.raises(StoreError) as error:
            connect(endpoint_of(settings), settings, timeout=timeout)
        caught.append(error.value)

    thread = threading.Thread(target=attempt, daemon=True)
    thread.start()
    thread.join(PATIENCE_S)
    assert caught, "connecting hangs"
    return caught[0]


@contextmanager
def listening(backlog: int = 5) -> Iterator[socket.socket]:
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        server.listen(backlog)
        yield server


def test_nothing_listens() -> None:
    with listening() as server:
        port = server.getsockname()[1]
    error = trouble_of(local(port))
    assert error.trouble.kind == "unreachable"
    assert "connection refused" in str(error)
    assert not accepts_connections(endpoint_of(local(port)))


def test_a_listener_that_never_answers_costs_no_more_than_the_timeout() -> None:
    with listening() as server:
        settings = local(server.getsockname()[1])
        started = time.monotonic()
        error = trouble_of(settings, timeout=0.5)
        waited = time.monotonic() - started
        assert accepts_connections(endpoint_of(settings))
    assert error.trouble.kind == "unreachable"
    assert "does not answer" in str(error)
    assert waited < PATIENCE_S / 2


def test_dropped_packets_cost_no_more_than_the_timeout() -> None:
    """A full accept queue drops what comes next, as a firewall does: not refused, not answered."""
    with listening(backlog=0) as server:
        port = server.getsockname()[1]
        fillers = [socket.socket() for _ in range(8)]
        for filler in fillers:
            filler.setblocking(False)
            filler.connect_ex(("127.0.0.1", port))
        error = trouble_of(local(port, connect_timeout=0.5), timeout=0.5)
        for filler in fillers:
            filler.close()
    assert error.trouble.kind == "unreachable"


def test_several_silent_contact_points_share_the_timeout() -> None:
    with listening() as server:
        settings = replace(local(server.getsockname()[1]), contact_points=("127.0.0.1", "localhost"))
        started = time.monotonic()
        error = trouble_of(settings, timeout=0.3)  # the driver may say so first: both sentences will do
        waited = time.monotonic() - started
    assert error.trouble.kind == "unreachable"
    assert "does not answer" in str(error)
    assert waited < PATIENCE_S / 2


def test_a_port_that_does_not_speak_cql() -> None:
    with listening() as server:

        def greet() -> None:
            while True:
                try:
                    client, _ = server.accept()
                except OSError:
                    return
                with client:
                    client.recv(64)
                    client.sendall(b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n")

        threading.Thread(target=greet, daemon=True).start()
        error = trouble_of(local(server.getsockname()[1]))
        server.shutdown(socket.SHUT_RDWR)
    assert (error.trouble.action, error.trouble.kind) == (Action.STOP, "protocol")


def test_a_name_that_does_not_resolve() -> None:
    settings = replace(local(9042), contact_points=("no-such-host.invalid",))
    assert trouble_of(settings, timeout=PATIENCE_S / 2).trouble.kind == "unreachable"


def test_tls_files_that_are_not_there(tmp_path: Path) -> None:
    tls = Tls(enabled=True, ca_file=tmp_path / "none.pem")
    error = trouble_of(local(9042, tls=tls))
    assert error.trouble.action is Action.STOP
    assert "TLS files" in str(error)


def test_a_bundle_that_is_not_there(tmp_path: Path) -> None:
    settings = Settings(secure_connect_bundle=tmp_path / "none.zip", explicit=True)
    error = trouble_of(settings)
    assert (error.trouble.action, error.trouble.kind) == (Action.STOP, "bundle")
    assert "none.zip" in str(error)


# -- a real node ------------------------------------------------------------------------------------


def test_what_the_node_says_of_itself(cassandra: Any) -> None:
    settings = settings_for(cassandra)
    session = connect(endpoint_of(settings), settings, timeout=PATIENCE_S)
    probe = session.probe()
    assert probe.version.startswith(("4.1.", "5.0."))
    assert probe.datacenter == "datacenter1"
    assert probe.latency_ms > 0
    session.close()


def test_a_wrong_data_centre_names_the_right_one(cassandra5: Any) -> None:
    error = trouble_of(settings_for(cassandra5, local_dc="dc_of_another_cluster"), timeout=PATIENCE_S)
    assert (error.trouble.action, error.trouble.kind) == (Action.STOP, "datacenter")
    assert "it has: datacenter1" in str(error)


def test_a_failed_attempt_does_not_spoil_the_next(cassandra5: Any) -> None:
    settings = settings_for(cassandra5)
    trouble_of(replace(settings, local_dc="dc_of_another_cluster"), timeout=PATIENCE_S)
    session = connect(endpoint_of(settings), settings, timeout=PATIENCE_S)
    session.close(wait=False)


def test_a_login_is_given_when_the_node_does_not_ask_for_one(cassandra5: Any) -> None:
    settings = settings_for(cassandra5, username="ada", password=Secret("hunter2"))
    connect(endpoint_of(settings), settings, timeout=PATIENCE_S).close()


def test_a_wrong_password_is_a_sentence_and_the_right_one_connects(cassandra_login: Any) -> None:
    settings = settings_for(cassandra_login)
    error = trouble_of(settings, timeout=PATIENCE_S)
    assert (error.trouble.action, error.trouble.kind) == (Action.STOP, "authentication")
    assert "asks for a login, and none is configured" in str(error)
    wrong = replace(settings, username="cassandra", password=Secret("hunter2"))
    error = trouble_of(wrong, timeout=PATIENCE_S)
    assert "refused the user 'cassandra'" in str(error)
    assert "CASSANDRA_PASSWORD" in str(error)
    assert "hunter2" not in str(error)
    right = replace(wrong, password=Secret("cassandra"))
    connect(endpoint_of(right), right, timeout=PATIENCE_S).close()


def test_a_statement_that_the_server_refuses_is_a_sentence(cassandra5: Any) -> None:
    settings = settings_for(cassandra5)
    session = connect(endpoint_of(settings), settings, timeout=PATIENCE_S)
    with pytest.raises(StoreError, match=r"Keyspace 't_\w+' does not exist"):
        session.read(f"SELECT v FROM {settings.keyspace}.schema_meta")
    with pytest.raises(StoreError, match="rejected a statement"):
        session.read("SELECT nonsense FROM system.local WHERE")
    session.close()


def test_what_was_written_is_let_go_at_once(keyspace5: Settings) -> None:
    """Not when the garbage collector comes by: a backlog is thousands of batches."""
    session = connect(endpoint_of(keyspace5), keyspace5, timeout=PATIENCE_S)
    insert = session.prepare(f"INSERT INTO {keyspace5.keyspace}.schema_meta (k, v) VALUES (?, ?)")
    gc.disable()
    try:
        batch = BatchStatement()
        batch.add(insert, ("test", "x"))
        done, errors = threading.Event(), list[Exception | None]()
        session.start(batch, lambda error: (errors.append(error), done.set()))
        assert done.wait(PATIENCE_S)
        assert errors == [None]
        held = weakref.ref(batch)
        del batch
        eventually(lambda: held() is None)  # the driver's thread is about to leave its callback
    finally:
        gc.enable()
        session.close()


def test_a_hung_node_costs_a_reader_no_more_than_its_timeout(own_node: Any) -> None:
    from wal.cassandra import schema

    settings = settings_for(own_node)
    session = connect(endpoint_of(settings), settings, timeout=PATIENCE_S)
    schema.create(session, settings)
    session.close()
    store = open_store(endpoint_of(settings), settings, timeout=PATIENCE_S)
    own_node.pause()
    started = time.monotonic()
    with pytest.raises(StoreError, match="did not answer a request in time"):
        store.runs()
    assert time.monotonic() - started < PATIENCE_S / 2
    error = trouble_of(settings, timeout=0.5)
    assert "does not answer" in str(error)
    own_node.resume()
    deadline = time.monotonic() + PATIENCE_S
    while True:  # the same store answers again by itself
        try:
            assert store.runs() == []
            break
        except StoreError:
            assert time.monotonic() < deadline
            time.sleep(0.1)
    store.close(wait=True)
