"""Each mode of the proxy does what it says, seen from a plain socket to an echoing server."""

from __future__ import annotations

import socket
import socketserver
import threading
from collections.abc import Iterator
from contextlib import suppress

import pytest
from helpers.waiting import DEADLINE_S, wait_until

from faults.proxy import Mode, Proxy, proxied

MESSAGE = b"forty bytes that stand for one frame ..."
SILENCE_S = 0.05
"""A look at a link that must stay silent: nothing that comes later is missed, as every test reads on."""


class Echo(socketserver.BaseRequestHandler):
    def handle(self) -> None:
        try:
            while data := self.request.recv(65536):
                self.server.heard.append(data)  # type: ignore[attr-defined]
                self.request.sendall(data)
        except OSError:  # reset
            pass


@pytest.fixture
def server() -> Iterator[socketserver.ThreadingTCPServer]:
    with socketserver.ThreadingTCPServer(("127.0.0.1", 0), Echo) as server:
        server.daemon_threads = True
        server.heard = []  # type: ignore[attr-defined]
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        yield server
        server.shutdown()
        thread.join()


@pytest.fixture
def proxy(server: socketserver.ThreadingTCPServer) -> Iterator[Proxy]:
    with proxied(server.server_address) as proxy:  # type: ignore[arg-type]
        yield proxy


def connected(proxy: Proxy) -> socket.socket:
    connection = socket.create_connection(("127.0.0.1", proxy.port), timeout=DEADLINE_S)
    connection.sendall(MESSAGE)
    return connection


def received(connection: socket.socket, count: int = len(MESSAGE)) -> bytes:
    """Exactly so many bytes, or less at the end of the stream."""
    data = b""
    while len(data) < count and (more := connection.recv(count - len(data))):
        data += more
    return data


def is_silent(connection: socket.socket) -> bool:
    connection.settimeout(SILENCE_S)
    try:
        connection.recv(1)
        return False
    except TimeoutError:
        return True
    finally:
        connection.settimeout(DEADLINE_S)


def test_it_forwards(proxy: Proxy) -> None:
    with connected(proxy) as connection:
        assert received(connection) == MESSAGE


def test_refuse_resets_and_listens_again(proxy: Proxy) -> None:
    with connected(proxy) as connection:
        received(connection)
        proxy.switch(Mode.REFUSE)
        with pytest.raises(ConnectionResetError):
            connection.recv(1)
        with pytest.raises(ConnectionRefusedError):
            connected(proxy)
        proxy.switch(Mode.FORWARD)
    with connected(proxy) as connection:
        assert received(connection) == MESSAGE


def test_reset_takes_connections_and_resets_them(proxy: Proxy) -> None:
    proxy.switch(Mode.RESET)
    with pytest.raises((ConnectionResetError, BrokenPipeError)), connected(proxy) as connection:
        connection.recv(1)


def test_what_was_sent_while_it_hung_arrives_afterwards(proxy: Proxy) -> None:
    with connected(proxy) as standing:
        received(standing)
        proxy.switch(Mode.HANG)
        standing.sendall(MESSAGE)
        with connected(proxy) as new:
            assert is_silent(standing)
            assert is_silent(new)
            proxy.switch(Mode.FORWARD)
            assert received(new) == received(standing) == MESSAGE


def test_delayed_pieces_stay_in_order(proxy: Proxy) -> None:
    proxy.switch(Mode.DELAY)
    with connected(proxy) as connection:
        assert is_silent(connection)
        connection.sendall(MESSAGE[::-1])
        proxy.switch(Mode.FORWARD)  # the late ones are not overtaken
        connection.sendall(b"!")
        assert received(connection, 81) == MESSAGE + MESSAGE[::-1] + b"!"


def test_cut_ends_within_a_frame(proxy: Proxy, server: socketserver.ThreadingTCPServer) -> None:
    proxy.switch(Mode.CUT)
    with connected(proxy) as connection:
        assert received(connection) == b""
    wait_until(lambda: server.heard)  # type: ignore[attr-defined]
    heard = b"".join(server.heard)  # type: ignore[attr-defined]
    assert 0 < len(heard) < len(MESSAGE)
    assert MESSAGE.startswith(heard)


def test_deafen_forwards_the_request_and_drops_the_answer(
    proxy: Proxy, server: socketserver.ThreadingTCPServer
) -> None:
    with connected(proxy) as connection:
        received(connection)
        proxy.switch(Mode.DEAFEN)
        connection.sendall(MESSAGE)
        wait_until(lambda: proxy.swallowed == len(MESSAGE))
        assert b"".join(server.heard) == 2 * MESSAGE  # type: ignore[attr-defined]
        assert is_silent(connection)
        proxy.switch(Mode.FORWARD)
        with pytest.raises(ConnectionResetError):
            connection.recv(1)


def test_a_server_that_is_down_is_a_connection_that_ends(server: socketserver.ThreadingTCPServer) -> None:
    with socket.create_server(("127.0.0.1", 0)) as closed:
        nobody = closed.getsockname()
    with proxied(nobody) as proxy, connected(proxy) as connection:
        with suppress(ConnectionResetError):  # as what was sent was read by nobody
            assert received(connection) == b""
        wait_until(lambda: proxy.connections == 0)
