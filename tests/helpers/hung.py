"""A node that hangs: the worst kind, since nothing ever fails."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def hung_server() -> Iterator[tuple[int, threading.Event]]:
    """A port that takes every connection and never says a word; the event is set at the first one."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        asked, taken, over = threading.Event(), list[socket.socket](), threading.Event()
        server.settimeout(0.1)

        def accept() -> None:
            while not over.is_set():
                try:
                    taken.append(server.accept()[0])
                    asked.set()
                except TimeoutError:
                    continue

        thread = threading.Thread(target=accept, daemon=True)
        thread.start()
        try:
            yield server.getsockname()[1], asked
        finally:
            over.set()
            thread.join()
            for connection in taken:
                connection.close()
