"""One jar from a Maven repository to the cache: resumed where it was cut, checked before it counts."""

from __future__ import annotations

import hashlib
import http.client
import ssl
import threading
import urllib.error
import urllib.request
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

from wal.cassandra.noderecord import NodeError

if TYPE_CHECKING:
    from wal.cassandra.jars import Jar

# A connection that says nothing for so long is given up and made again; Ctrl-C waits as long at most.
SILENCE_SECONDS = 5.0
# Pauses between attempts that bring nothing; an attempt that brought bytes starts the row anew.
BACKOFF_SECONDS = (0.3, 1.0, 3.0)
CHUNK_BYTES = 128 * 1024
# Answers that another attempt will not change.
FINAL_STATUSES = (400, 401, 403, 404, 405, 410, 451)


class Download:
    """The download of one jar. ``add`` is told of bytes that came (or, negative, were thrown away)."""

    def __init__(
        self, jar: Jar, folder: Path, repository: str, add: Callable[[int], None], stop: threading.Event
    ) -> None:
        self.jar = jar
        self.url = f"{repository.rstrip('/')}/{jar.path}"
        self.target = folder / jar.path
        self.part = self.target.with_name(self.target.name + ".part")
        self._add = add
        self._stop = stop
        self._counted = 0

    def run(self) -> None:
        """Bring the jar; one with the wrong content is asked for once more. Raises NodeError."""
        self.target.parent.mkdir(parents=True, exist_ok=True)
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
        """Fill the part file to the pinned size, over as many connections as it takes while bytes come."""
        failures = 0
        while not self._stop.is_set():
            have = self._part_size()
            if have == self.jar.size:
                self._count(have)
                return
            try:
                self._receive(have)
                problem: Exception = TimeoutError("the connection was cut")
            except urllib.error.HTTPError as error:
                error.close()
                if error.code in FINAL_STATUSES:
                    raise NodeError(f"{self.url} cannot be had: {error.code} {error.reason}.") from None
                problem = error
            except (urllib.error.URLError, http.client.HTTPException, TimeoutError, ConnectionError) as error:
                problem = error
            if self._part_size() > have:
                failures = 0
            elif failures == len(BACKOFF_SECONDS):
                raise NodeError(
                    f"Cassandra's jars cannot be downloaded ({_reason(problem)}): "
                    "check the network, then try again."
                )
            else:
                self._stop.wait(BACKOFF_SECONDS[failures])
                failures += 1

    def _receive(self, have: int) -> None:
        """One request from byte ``have`` on, appended to the part file."""
        request = urllib.request.Request(self.url, headers={"Range": f"bytes={have}-"} if have else {})
        with urllib.request.urlopen(request, timeout=SILENCE_SECONDS, context=_tls()) as answer:
            if have and answer.status != 206:  # it does not resume: from the start
                have = 0
            self._count(have)
            with self.part.open("ab" if have else "wb") as file:
                while have < self.jar.size and not self._stop.is_set():
                    chunk = answer.read1(min(CHUNK_BYTES, self.jar.size - have))
                    if not chunk:
                        return
                    file.write(chunk)
                    have += len(chunk)
                    self._count(have)

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


@cache
def _tls() -> ssl.SSLContext:
    """The system's authorities and, where it is installed, certifi's: some macOS Pythons know none."""
    context = ssl.create_default_context()
    try:
        import certifi

        context.load_verify_locations(certifi.where())
    except (ImportError, OSError):
        pass
    return context


def _reason(problem: Exception) -> str:
    """What went wrong, without the wrapping."""
    inner = getattr(problem, "reason", problem)
    return str(getattr(inner, "strerror", None) or inner or type(problem).__name__)
