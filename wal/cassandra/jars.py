"""The server's jars: downloaded once, checked by SHA-256 each time they are used."""

from __future__ import annotations

import fcntl
import hashlib
import os
import shutil
import threading
import time
from collections.abc import Callable, Generator
from concurrent.futures import ThreadPoolExecutor, as_completed
from contextlib import contextmanager
from pathlib import Path

from wal.cassandra.noderecord import NodeError
from wal.cassandra.pinned import Jar, pinned
from wal.paths import make_private_directory

# Called with the bytes that are here and all that are needed; from any thread, some ten times a second.
Progress = Callable[[int, int], None]

PARALLEL_DOWNLOADS = 8
# Room beyond the jars themselves, for the node to start in.
SPARE_BYTES = 256 * 2**20


def cache_dir() -> Path:
    """Where the jars are kept: the platform's cache directory; they can be had again at any time."""
    from platformdirs import user_cache_dir

    return Path(user_cache_dir("canopy")) / "jars"


def fetch(
    version: str,
    *,
    repository: str | None = None,
    cache: Path | None = None,
    progress: Progress = lambda _done, _total: None,
) -> list[Path]:
    """The class path of a version, in order; what is missing or damaged is downloaded first.

    ``repository`` is a Maven repository's URL (default: :func:`repository_url`). A cut download goes on
    where it stopped, in this call or in a later one; two processes do not download at once. Raises NodeError.
    """
    return fetch_jars(pinned(version), repository=repository, cache=cache, progress=progress)


def fetch_jars(
    jars: list[Jar], *, repository: str | None = None, cache: Path | None = None, progress: Progress
) -> list[Path]:
    """:func:`fetch` for any list of jars."""
    folder = cache or cache_dir()
    paths = [folder / jar.path for jar in jars]
    if not _missing(jars, folder):
        return paths
    try:
        make_private_directory(folder)
        with _only_downloader(folder, jars, progress):
            missing = _missing(jars, folder)
            if missing:
                _check_room(folder, sum(jar.size for jar in missing))
                _download_all(
                    missing, folder, repository or repository_url(), _Tally(jars, missing, progress)
                )
    except OSError as error:
        raise NodeError(f"Cassandra's jars cannot be kept in {folder}: {error.strerror or error}.") from None
    return paths


def repository_url() -> str:
    """``$CANOPY_MAVEN_REPOSITORY``, else the one that jgo, the resolver, uses. Raises NodeError."""
    if chosen := os.environ.get("CANOPY_MAVEN_REPOSITORY"):
        if not chosen.startswith(("http://", "https://")):
            raise NodeError(f"CANOPY_MAVEN_REPOSITORY must begin with https:// or http://, not {chosen!r}.")
        return chosen
    try:
        from jgo.constants import MAVEN_CENTRAL_URL
    except ImportError:
        raise _not_installed() from None
    return MAVEN_CENTRAL_URL


def _not_installed() -> NodeError:
    return NodeError(
        "Cassandra's jars are not here yet and what fetches them is not installed: "
        "pip install 'canopy-tui[local]'."
    )


def is_whole(jar: Jar, path: Path) -> bool:
    """Whether the file is the pinned jar, byte for byte."""
    try:
        if path.stat().st_size != jar.size:
            return False
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest() == jar.sha256
    except OSError:
        return False


def _missing(jars: list[Jar], folder: Path) -> list[Jar]:
    with ThreadPoolExecutor(PARALLEL_DOWNLOADS) as pool:
        whole = list(pool.map(is_whole, jars, [folder / jar.path for jar in jars]))
    return [jar for jar, here in zip(jars, whole, strict=True) if not here]


def _check_room(folder: Path, needed_bytes: int) -> None:
    free_bytes = shutil.disk_usage(folder).free
    if free_bytes < needed_bytes + SPARE_BYTES:
        raise NodeError(
            f"Cassandra needs {(needed_bytes + SPARE_BYTES) // 10**6} MB in {folder}, "
            f"and {free_bytes // 10**6} MB are free: make room, or set XDG_CACHE_HOME to another disk."
        )


@contextmanager
def _only_downloader(folder: Path, jars: list[Jar], progress: Progress) -> Generator[None]:
    """Hold the cache's lock; while another process downloads, report what it has got so far."""
    total = sum(jar.size for jar in jars)
    with (folder / "lock").open("w") as lock:
        while True:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                progress(min(total, sum(_bytes_here(folder / jar.path) for jar in jars)), total)
                time.sleep(0.2)
        yield


def _bytes_here(path: Path) -> int:
    for candidate in (path, path.with_name(path.name + ".part")):
        try:
            return candidate.stat().st_size
        except OSError:
            continue
    return 0


class _Tally:
    """Counts the bytes that are here, from many threads, and reports them."""

    def __init__(self, jars: list[Jar], missing: list[Jar], progress: Progress) -> None:
        self.total = sum(jar.size for jar in jars)
        self._done = self.total - sum(jar.size for jar in missing)
        self._progress = progress
        self._lock = threading.Lock()

    @property
    def done(self) -> int:
        return self._done

    def add(self, count: int) -> None:
        """``count`` more bytes are here; negative when a damaged file was thrown away."""
        with self._lock:
            self._done += count
            self._progress(self._done, self.total)


def _download_all(missing: list[Jar], folder: Path, repository: str, tally: _Tally) -> None:
    """All at once, the largest first, so that none is left to come alone at the end."""
    try:
        from wal.cassandra.download import Download, open_session
    except ImportError:
        raise _not_installed() from None

    stop = threading.Event()
    pool = ThreadPoolExecutor(PARALLEL_DOWNLOADS)
    session = open_session(PARALLEL_DOWNLOADS)
    try:
        futures = [
            pool.submit(Download(jar, folder, repository, session, tally.add, stop).run)
            for jar in sorted(missing, key=lambda jar: -jar.size)
        ]
        for future in as_completed(futures):
            future.result()
    except NodeError as error:
        kept = f"; {tally.done // 10**6} of {tally.total // 10**6} MB are kept" if tally.done else ""
        raise NodeError(f"{error.sentence.rstrip('.')}{kept}.") from None
    finally:
        stop.set()
        pool.shutdown(wait=True, cancel_futures=True)
        session.close()
