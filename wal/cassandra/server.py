"""One Cassandra server process on one directory: started, waited for, stopped, killed, frozen.

:mod:`wal.cassandra.node` starts the user's node with it; tests and the demo hold on to it directly.
"""

from __future__ import annotations

import fcntl
import shutil
import signal
import subprocess
import time
from collections.abc import Callable, Generator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

from wal.cassandra import jars
from wal.cassandra.archive import ClassArchive
from wal.cassandra.handshake import answers, free_port, is_ours
from wal.cassandra.java import find_java
from wal.cassandra.nodeconfig import NodeSpec, command, write_files
from wal.cassandra.noderecord import NodeError
from wal.cassandra.pinned import DEFAULT_VERSION
from wal.paths import make_private_directory, open_private, write_private

LOOPBACK = "127.0.0.1"
NATIVE_PORT, STORAGE_PORT = 9042, 7000

# A node is up after 5 to 25 s on two cores; with a long commit log to replay it may take minutes.
START_SECONDS = 300.0
# A drain writes what is in memory to disk, up to a few hundred MB.
STOP_SECONDS = 30.0
POLL_SECONDS = 0.1
# Room a node needs to start with: commit log segments and its system tables.
MIN_FREE_BYTES = 512 * 2**20

LOG_TAIL_LINES = 8

# What a server writes into its log when its port is open.
STARTED = "Startup complete"

PRIVATE_UMASK = 0o077
"""The server's files are their owner's alone: they hold the rows."""

# How a Java ends that fell over its own memory, which a damaged archive of classes could bring about.
_CRASHES = (-signal.SIGABRT, -signal.SIGBUS, -signal.SIGSEGV)


class Node:
    """One server process on one directory. Not thread-safe.

    >>> node = new_node(directory, "5.0")
    >>> node.start(); node.wait_ready(); node.endpoint
    ('127.0.0.1', 9042)
    """

    def __init__(self, spec: NodeSpec) -> None:
        self.spec = spec
        self.process: subprocess.Popen[bytes] | None = None
        self._archive: ClassArchive | None = None
        self._started = False

    @property
    def endpoint(self) -> tuple[str, int]:
        """Host and native port."""
        return self.spec.host, self.spec.port

    @property
    def pid(self) -> int:
        """The process id of the started node; 0 before that."""
        return self.process.pid if self.process else 0

    @property
    def alive(self) -> bool:
        """Whether the process that :meth:`start` made still lives."""
        return self.process is not None and self.process.poll() is None

    def start(self, progress: jars.Progress = lambda _done, _total: None) -> None:
        """Bring what is missing, write the configuration, start the process. Raises NodeError.

        ``progress`` hears of the download, in bytes.
        """
        self._started = False
        java = find_java()
        class_path = jars.fetch(self.spec.version, progress=progress)
        try:
            make_private_directory(self.spec.directory)
            self._check_room()
            self._mark_version()
            with self._directory_lock() as lock:
                shutil.rmtree(self.spec.directory / "tmp", ignore_errors=True)
                write_files(self.spec)
                self.spec.log_file.unlink(missing_ok=True)
                self._archive = ClassArchive(java, class_path, self.spec.directory / "tmp" / "classes")
                arguments = command(self.spec, java, class_path, self._archive.options())
                with open(self.spec.output_file, "wb", opener=open_private) as output:
                    self._spawn(arguments, output, lock)
        except (FileExistsError, NotADirectoryError):
            raise NodeError(
                f"{self.spec.directory} is not a directory, so no node can be kept there."
            ) from None
        except OSError as error:
            raise NodeError(
                f"The node's files cannot be written in {self.spec.directory}: {error.strerror or error}."
            ) from None

    def _spawn(self, arguments: list[str], output: IO[bytes], lock: IO[bytes]) -> None:
        """Start the process in a session of its own, so that it outlives its starter's terminal.

        The server inherits the open lock file, so the directory stays locked until it is gone; the file
        says its process id.
        """
        self.process = subprocess.Popen(
            arguments,
            cwd=self.spec.directory,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            umask=PRIVATE_UMASK,
            pass_fds=(lock.fileno(),),
        )
        lock.write(str(self.process.pid).encode())
        lock.flush()

    def wait_ready(
        self, seconds: float = START_SECONDS, tick: Callable[[float], None] = lambda _seconds: None
    ) -> None:
        """Wait until it answers CQL; ``tick`` hears the seconds waited, once a second. Raises NodeError."""
        started = time.monotonic()
        told = 0
        while not (answers(*self.endpoint, timeout=1.0) and self._is_started()):
            waited = time.monotonic() - started
            if not self.alive:
                raise self._death()
            if waited > seconds:
                raise NodeError(
                    f"Cassandra did not answer within {seconds:.0f} s; its log is {self.spec.log_file}.",
                    self.log_tail(),
                )
            if waited >= told + 1:
                told = int(waited)
                tick(waited)
            time.sleep(POLL_SECONDS)
        if self._archive:
            self._archive.build_later()

    def _is_started(self) -> bool:
        """Whether it is this node that answers, and not one that took the port while this one starts."""
        if not self._started:
            try:
                self._started = STARTED in self.spec.log_file.read_text(encoding="utf-8", errors="replace")
            except OSError:
                return False
        return self._started

    def kill(self) -> None:
        """kill -9, as a crash would; returns when the process is gone."""
        if self.process:
            self.process.kill()
            self.process.wait()

    def stop(self, seconds: float = STOP_SECONDS) -> None:
        """End the process: asked first, killed after ``seconds``."""
        if self.process and self.alive:
            self.resume()
            self.process.terminate()
            try:
                self.process.wait(seconds)
            except subprocess.TimeoutExpired:
                self.kill()

    def pause(self) -> None:
        """Freeze the process: connections stand and nothing answers."""
        if self.process and self.alive:
            self.process.send_signal(signal.SIGSTOP)

    def resume(self) -> None:
        """Undo :meth:`pause`."""
        if self.process and self.alive:
            self.process.send_signal(signal.SIGCONT)

    def log_tail(self, lines: int = LOG_TAIL_LINES) -> tuple[str, ...]:
        """The last lines of the server's log; of what its Java printed when it came no further."""
        return last_lines(self.spec.log_file, lines) or last_lines(self.spec.output_file, lines)

    def _death(self) -> NodeError:
        status = self.process.returncode if self.process else None
        if self._archive and status in _CRASHES:
            self._archive.discard()
        return explain_death(self.spec, status)

    def _check_room(self) -> None:
        free_bytes = shutil.disk_usage(self.spec.directory).free
        if free_bytes < MIN_FREE_BYTES:
            raise NodeError(
                f"{free_bytes // 2**20} MB are free in {self.spec.directory}, and a node needs "
                f"{MIN_FREE_BYTES // 2**20} MB to start: make room there."
            )

    def _mark_version(self) -> None:
        """Data once written by a newer server cannot be read by an older one: say so before it tries."""
        mark = self.spec.directory / "version"
        before = data_version(self.spec.directory)
        if before is not None and _number(before) > _number(self.spec.version):
            raise NodeError(
                f"The data in {self.spec.directory} was written by Cassandra {before}, "
                f"which {self.spec.version} cannot read: start the newer one, or use another --name."
            )
        if before != self.spec.version:
            write_private(mark, self.spec.version)

    @contextmanager
    def _directory_lock(self) -> Generator[IO[bytes]]:
        with open(self.spec.directory / "lock", "ab+", opener=open_private) as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                lock.seek(0)
                raise NodeError(
                    f"A Cassandra (process {lock.read().decode() or 'unknown'}) already runs on "
                    f"{self.spec.directory}: stop it, or use another --name."
                ) from None
            lock.truncate(0)
            yield lock


def new_node(directory: Path, version: str = DEFAULT_VERSION, **options: Any) -> Node:
    """A node on free ports of 127.0.0.1; ``options`` are fields of NodeSpec. Not started."""
    host = options.setdefault("host", LOOPBACK)
    options.setdefault("port", free_port(host, NATIVE_PORT))
    options.setdefault("storage_port", free_port(host, STORAGE_PORT))
    return Node(NodeSpec(directory=directory, version=version, **options))


def cluster(directory: Path, count: int = 3, version: str = DEFAULT_VERSION, **options: Any) -> list[Node]:
    """``count`` nodes on 127.0.0.1, .2, .3 … with a token each, evenly apart. Not started: start the first,
    wait until it is ready, then the others. Raises NodeError where one of the addresses is not there."""
    hosts = [f"127.0.0.{number}" for number in range(1, count + 1)]
    for host in hosts:
        if not is_ours(host):
            raise NodeError(
                f"This machine has no address {host}, and each of {count} nodes needs one of its own: "
                f"on macOS, sudo ifconfig lo0 alias {host} up adds it."
            )
    port, storage_port = free_port(hosts[0], NATIVE_PORT), free_port(hosts[0], STORAGE_PORT)
    return [
        new_node(
            directory / host,
            version,
            host=host,
            port=port,
            storage_port=storage_port,
            seeds=hosts[:1],
            # The Murmur3 ring goes from -2^63 to 2^63 - 1.
            initial_token=-(2**63) + index * (2**64 // count) + 1,
            **options,
        )
        for index, host in enumerate(hosts)
    ]


def data_version(directory: Path) -> str | None:
    """Which version last started on this directory: "5.0"; None for a new one."""
    try:
        return (directory / "version").read_text(encoding="utf-8").strip() or None
    except OSError:
        return None


def last_lines(path: Path, count: int) -> tuple[str, ...]:
    """The last lines of a text file, without the empty ones; none when it cannot be read."""
    try:
        with path.open("rb") as file:
            file.seek(max(0, path.stat().st_size - 1024 * count))
            text = file.read().decode("utf-8", errors="replace")
    except OSError:
        return ()
    return tuple(line.rstrip() for line in text.splitlines() if line.strip())[-count:]


# What a server that died says in its log, and what that means for the user; the first that fits is taken.
_CAUSES = (
    (
        ("Address already in use", "is in use by another process", "Failed to bind port"),
        "a port of it was taken by another program meanwhile; start it again to use others",
    ),
    (("No space left on device", "Insufficient disk space"), "the disk is full"),
    (("Could not reserve enough space", "OutOfMemoryError", "Cannot allocate memory"), "memory ran out"),
    (("ConfigurationException", "Invalid yaml", "ScannerException"), "its settings are not valid"),
    (("CommitLogReplayException", "CorruptSSTableException"), "its data is damaged"),
)


def explain_death(spec: NodeSpec, status: int | None) -> NodeError:
    """Why a server ended by itself, from its log and its exit status (negative: the signal)."""
    lines = last_lines(spec.log_file, 60) + last_lines(spec.output_file, 60)
    text = "\n".join(lines)
    cause = next((cause for signs, cause in _CAUSES if any(sign in text for sign in signs)), None)
    if cause is None:
        killed = "it was killed" if status == -signal.SIGKILL else f"exit status {status}"
        cause = f"{killed}; if memory is short, free some" if status == -signal.SIGKILL else killed
    # A stack says nothing to a user, nor does Java's advice to the server's makers.
    told = [line for line in lines if not line.startswith(("\tat ", "WARNING: "))]
    tail = tuple(told[-LOG_TAIL_LINES:])
    return NodeError(f"Cassandra ended while it started: {cause}. Its log is {spec.log_file}.", tail)


def _number(version: str) -> tuple[int, ...]:
    return tuple(int(part) for part in version.split("."))
