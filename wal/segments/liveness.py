"""Is the process that writes a stream alive? Asked without ever taking what it holds.

A trainer holds ``fcntl.lockf`` on byte 0 of its stream's ``lock`` file for as long as it lives; the kernel
lets go of it however the process dies, and a forked child does not inherit it. Observers only ask
(``F_GETLK``). Closing any descriptor of that file inside the holder would drop the lock, so a process knows
its own streams from a registry and never opens their lock files again.
"""

from __future__ import annotations

import fcntl
import os
import struct
import sys
from collections.abc import Generator
from contextlib import contextmanager
from enum import Enum
from functools import cache
from pathlib import Path

from wal.paths import open_private
from wal.segments.meta import StreamInfo

LOCK_NAME = "lock"

# struct flock: type, whence, start, length, pid on Linux; start, length, pid, type, whence on Darwin.
_FLOCK_FIRST = sys.platform.startswith("linux")
_FLOCK = struct.Struct("hhqqi4x" if _FLOCK_FIRST else "qqihh")

_DEADMAN_BYTE = 128
"""UNIX_SHM_DMS in SQLite's os_unix.c: who finds it unlocked is the first, and starts a new ``-shm``."""

_own_locks: dict[str, int] = {}
"""Descriptors by path."""


class Liveness(Enum):
    """``UNKNOWN``: nothing on this machine can tell (another host's stream, or a lock file that is gone)."""

    ALIVE = "alive"
    DEAD = "dead"
    UNKNOWN = "unknown"


def take_lock(directory: Path) -> int:
    """Take a stream's lock for the rest of this process' life; the descriptor that holds it comes back.

    Raises OSError when the file cannot be made or another process holds it.
    """
    path = directory / LOCK_NAME
    descriptor = open_private(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC)
    try:
        fcntl.lockf(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB, 1)
    except OSError:
        os.close(descriptor)
        raise
    _own_locks[str(path)] = descriptor
    return descriptor


def hold_lock(descriptor: int) -> None:
    """Take the lock of :func:`take_lock` again, in case it was dropped: the kernel drops it when anything in
    this process closes the file, say a script that copies the log directory. Costs one system call."""
    try:
        fcntl.lockf(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB, 1)
    except OSError:
        pass


def drop_lock(directory: Path, descriptor: int) -> None:
    """Let go of a lock taken by :func:`take_lock`."""
    _own_locks.pop(str(directory / LOCK_NAME), None)
    os.close(descriptor)


def note_durable(descriptor: int, seq: int) -> None:
    """Say in the lock file that all of the stream up to ``seq`` would survive a loss of power."""
    try:
        os.pwrite(descriptor, b"%020d\n" % seq, 0)
    except OSError:  # a full disk: who looks on sees an older number, which is true as well
        pass


def durable_seq(stream_dir: Path) -> int | None:
    """What the writer of a stream said last by :func:`note_durable`; None when it never did."""
    path = stream_dir / LOCK_NAME
    held = _own_locks.get(str(path))
    try:
        said = os.pread(held, 32, 0) if held is not None else path.read_bytes()
    except OSError:
        return None
    return int(said) if said.strip().isdigit() else None


def forget_locks() -> None:
    """In a forked child: the locks are the parent's, the child only inherited their descriptors."""
    _own_locks.clear()


def lock_holder(path: Path) -> int | None:
    """The pid of the process that holds byte 0 of ``path``; None when nobody does or there is no such file.

    Raises OSError where that cannot be known. Never to be asked by the holder itself about a lock that is
    not in this module's registry: closing the file would drop it.
    """
    if str(path) in _own_locks:
        return os.getpid()
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        return None
    try:
        answer = fcntl.fcntl(descriptor, fcntl.F_GETLK, _pack_flock(fcntl.F_WRLCK))
    finally:
        os.close(descriptor)
    kind, pid = _unpack_flock(answer)
    return None if kind == fcntl.F_UNLCK else pid


def hold_wal_index(shm: Path) -> int:
    """Make the ``-shm`` of a file that is going to be written, and keep other processes from emptying it; the
    descriptor that does comes back, to be closed after the connection.

    SQLite keeps them from it by a lock on one byte, which the kernel drops when anything in this process
    closes the file, say a script that copies its log directory. The next reader would then take itself for
    the first and truncate what is mapped here: records are lost, or the process dies of SIGBUS (seen). A lock
    of the open file description on the same byte is dropped by nothing but its own descriptor. Only Linux has
    such locks; where there are none, nothing is held. Raises OSError when the file cannot be made.
    """
    descriptor = open_private(shm, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC)
    _set_deadman(descriptor, fcntl.F_RDLCK)
    return descriptor


@contextmanager
def wal_index_let_go(descriptor: int) -> Generator[None]:
    """Without the lock of :func:`hold_wal_index` for a moment.

    SQLite 3.51 and later look whether anybody else holds that byte before they leave WAL mode, and take our
    lock for another process' (``unixIsSharingShmNode`` in os_unix.c): "database is locked", for ever.
    """
    _set_deadman(descriptor, fcntl.F_UNLCK)
    try:
        yield
    finally:
        _set_deadman(descriptor, fcntl.F_RDLCK)


def _set_deadman(descriptor: int, kind: int) -> None:
    if hasattr(fcntl, "F_OFD_SETLK"):
        try:
            fcntl.fcntl(descriptor, fcntl.F_OFD_SETLK, _pack_flock(kind, _DEADMAN_BYTE))
        except OSError:  # a file system without them
            pass


def _pack_flock(kind: int, byte: int = 0) -> bytes:
    fields = (kind, os.SEEK_SET, byte, 1, 0) if _FLOCK_FIRST else (byte, 1, 0, kind, os.SEEK_SET)
    return _FLOCK.pack(*fields)


def _unpack_flock(answer: bytes) -> tuple[int, int]:
    fields = _FLOCK.unpack(answer)
    return (fields[0], fields[4]) if _FLOCK_FIRST else (fields[3], fields[2])


def liveness(stream_dir: Path, stream: StreamInfo) -> Liveness:
    """Whether the process of ``stream`` lives. Death is claimed only on the stream's own host."""
    if str(stream_dir / LOCK_NAME) in _own_locks:
        return Liveness.ALIVE
    if stream.host != host_name():
        return Liveness.UNKNOWN
    here = boot_id()
    if here and stream.boot_id and here != stream.boot_id:
        return Liveness.DEAD
    path = stream_dir / LOCK_NAME
    try:
        holder = lock_holder(path)
    except OSError:
        return Liveness.UNKNOWN
    if holder is not None:
        return Liveness.ALIVE
    return Liveness.DEAD if path.exists() else Liveness.UNKNOWN


@cache
def host_name() -> str:
    """This machine's name, as streams carry it."""
    return os.uname().nodename


@cache
def boot_id() -> str:
    """What tells this boot of the machine from any other; empty where that cannot be known."""
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    except OSError:
        return _sysctl("kern.bootsessionuuid") if sys.platform == "darwin" else ""


def _sysctl(name: str) -> str:
    """A string sysctl of macOS. (``kern.boottime`` would do, but it moves when the clock is set.)"""
    try:
        import ctypes  # only here: it costs a few milliseconds

        libc = ctypes.CDLL(None)
        size = ctypes.c_size_t(0)
        if libc.sysctlbyname(name.encode(), None, ctypes.byref(size), None, 0) != 0:
            return ""
        text = ctypes.create_string_buffer(size.value)
        if libc.sysctlbyname(name.encode(), text, ctypes.byref(size), None, 0) != 0:
            return ""
        return text.value.decode("ascii", "replace")
    except (ImportError, AttributeError, OSError):
        return ""


def start_ticks(pid: int | None = None) -> int:
    """When a process started, in clock ticks since boot; 0 without ``/proc`` or such a process."""
    try:
        stat = Path(f"/proc/{pid or 'self'}/stat").read_bytes()
        return int(stat.rpartition(b")")[2].split()[19])  # field 22; the name in field 2 may hold anything
    except (OSError, ValueError, IndexError):
        return 0
