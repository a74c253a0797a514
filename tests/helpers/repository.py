"""A Maven repository for tests: a real HTTP server on loopback that can fail in the ways real ones do."""

from __future__ import annotations

import hashlib
import random
import threading
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from wal.cassandra.pinned import Jar


def make_jar(name: str, size: int) -> tuple[Jar, bytes]:
    """A jar of ``size`` bytes that look random and are the same each time."""
    content = random.Random(name).randbytes(size)
    return Jar("org.example", name, "1.0", "", hashlib.sha256(content).hexdigest(), size), content


class Repository(ThreadingHTTPServer):
    """Serves ``files`` by path and notes the Range of every request.

    ``cut_after[path]`` is how many bytes the next answer sends before the connection breaks, ``refusals`` are
    the statuses of the next answers; ``ranges`` False makes a server that always sends the whole file.
    """

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.files: dict[str, bytes] = {}
        self.cut_after: dict[str, int] = {}
        self.refusals: list[int] = []
        self.ranges = True
        self.asked: defaultdict[str, list[str | None]] = defaultdict(list)

    def add(self, name: str, size: int) -> Jar:
        """Serve a new jar."""
        jar, self.files[jar.path] = make_jar(name, size)
        return jar

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"


class _Handler(BaseHTTPRequestHandler):
    server: Repository

    def do_GET(self) -> None:
        path = self.path.lstrip("/")
        wanted = self.headers.get("Range")
        self.server.asked[path].append(wanted)
        content = self.server.files.get(path)
        if content is None or self.server.refusals:
            self.send_error(self.server.refusals.pop() if self.server.refusals else 404)
            return
        first = int(wanted.removeprefix("bytes=").partition("-")[0]) if wanted and self.server.ranges else 0
        self.send_response(206 if first else 200)
        self.send_header("Content-Length", str(len(content) - first))
        self.end_headers()
        end = first + self.server.cut_after.pop(path, len(content))
        self.wfile.write(content[first:end])
        self.close_connection = True

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base class' name
        """Say nothing."""


@contextmanager
def repository() -> Iterator[Repository]:
    """A repository that serves while the block runs."""
    with Repository() as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        try:
            yield server
        finally:
            server.shutdown()
            thread.join()
