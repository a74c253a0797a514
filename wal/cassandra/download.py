"""One jar from a Maven repository to the cache: resumed where it was cut, checked before it counts."""

from __future__ import annotations

import hashlib
import ssl
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import requests
import urllib3
from requests.adapters import HTTPAdapter

from wal.cassandra.noderecord import NodeError
from wal.cassandra.pinned import Jar
from wal.paths import make_private_directory

# A connection that says nothing for so long is given up and made again; Ctrl-C waits as long at most.
SILENCE_SECONDS = 5.0
# Pauses between attempts that bring nothing; an attempt that brought bytes starts the row anew.
BACKOFF_SECONDS = (0.3, 1.0, 3.0)
CHUNK_BYTES = 128 * 1024
# Answers that another attempt will not change.
FINAL_STATUSES = (400, 401, 403, 404, 405, 410, 451)


def open_session(connections: int) -> requests.Session:
    """Connections that are kept: most jars are small, and a new TLS connection for each took 12 s, not 1.

    They trust what the operating system trusts as well as the authorities that requests brings: many a
    company's network shows a certificate of its own.
    """
    session = requests.Session()
    # A jar is compressed already, and a part of a compressed answer could not be resumed.
    session.headers["Accept-Encoding"] = "identity"
    session.mount("http://", HTTPAdapter(pool_maxsize=connections))
    session.mount("https://", _SystemTrust(pool_maxsize=connections))
    return session


class _SystemTrust(HTTPAdapter):
    def init_poolmanager(self, *args: Any, **options: Any) -> None:
        super().init_poolmanager(*args, ssl_context=ssl.create_default_context(), **options)


class Download:
    """The download of one jar. ``add`` is told of bytes that came (or, negative, were thrown away)."""

    def __init__(
        self,
        jar: Jar,
        folder: Path,
        repository: str,
        session: requests.Session,
        add: Callable[[int], None],
        stop: threading.Event,
    ) -> None:
        self.jar = jar
        self.url = f"{repository.rstrip('/')}/{jar.path}"
        self._host = urlsplit(repository).netloc
        self.target = folder / jar.path
        self.part = self.target.with_name(self.target.name + ".part")
        self._session = session
        self._add = add
        self._stop = stop
        self._counted = 0

    def run(self) -> None:
        """Bring the jar; one with the wrong content is asked for once more. Raises NodeError."""
        make_private_directory(self.target.parent)
        for _ in range(2):
            self._bring_part()
            if self._stop.is_set():
                return
            if self._sha256() == self.jar.sha256:
                self.part.replace(self.target)
                return
            self._discard()
        raise NodeError(
            f"{self.url} does not have the pinned SHA-256, twice: the repository or something on the way "
            "changes it; try another network or CANOPY_MAVEN_REPOSITORY."
        )

    def _bring_part(self) -> None:
        """Fill the part file to the pinned size, over as many answers as it takes while bytes come."""
        failures = 0
        while not self._stop.is_set():
            have = self._part_size()
            if have == self.jar.size:
                self._count(have)
                return
            try:
                reason = self._receive(have)
            except (requests.RequestException, urllib3.exceptions.HTTPError) as error:
                reason = _reason(error)
            if self._part_size() > have:
                failures = 0
            elif failures == len(BACKOFF_SECONDS):
                raise NodeError(
                    f"Cassandra's jars cannot be downloaded from {self._host} ({reason}): check the network, "
                    "or name another repository in CANOPY_MAVEN_REPOSITORY, then try again."
                )
            else:
                self._stop.wait(BACKOFF_SECONDS[failures])
                failures += 1

    def _receive(self, have: int) -> str:
        """One request from byte ``have`` on, appended to the part file. Returns why it may not be whole."""
        headers = {"Range": f"bytes={have}-"} if have else {}
        with self._session.get(self.url, headers=headers, stream=True, timeout=SILENCE_SECONDS) as answer:
            if not answer.ok:
                status = f"{answer.status_code} {answer.reason}"
                if answer.status_code in FINAL_STATUSES:
                    raise NodeError(f"{self.url} cannot be had: {status}.")
                return status
            if have and answer.status_code != requests.codes.partial_content:  # it does not resume
                have = 0
            self._count(have)
            with self.part.open("ab" if have else "wb") as file:
                # What came before a cut counts: read1 gives it, where iter_content throws it away.
                while chunk := answer.raw.read1(CHUNK_BYTES):
                    file.write(chunk)
                    have += len(chunk)
                    self._count(have)
                    if self._stop.is_set() or have > self.jar.size:
                        break
        return "the connection was cut"

    def _part_size(self) -> int:
        """Bytes of the part file; one that is longer than the jar is nothing to go on from."""
        try:
            size = self.part.stat().st_size
        except FileNotFoundError:
            return 0
        if size > self.jar.size:
            self._discard()
            return 0
        return size

    def _discard(self) -> None:
        self.part.unlink(missing_ok=True)
        self._count(0)

    def _count(self, here: int) -> None:
        self._add(here - self._counted)
        self._counted = here

    def _sha256(self) -> str:
        with self.part.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()


def _reason(error: Exception) -> str:
    """What went wrong at the bottom of it: "Connection refused", not the three layers that wrap it."""
    if isinstance(error, (requests.Timeout, urllib3.exceptions.TimeoutError)):
        return f"no answer within {SILENCE_SECONDS:.0f} s"
    words = "the connection was cut"
    cause: BaseException | None = error
    while cause is not None:
        words = getattr(cause, "strerror", None) or words
        cause = cause.__cause__ or cause.__context__
    return words
