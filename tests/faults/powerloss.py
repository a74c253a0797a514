"""A loss of power, replayed: a VFS takes down what SQLite writes and syncs, and :func:`after_loss` makes the
disks that such a loss may leave.

What was synced is there; of what was not, anything may be: nothing, all, the first part, any of it in any
order, a write torn at a sector. A directory's entries are held to the same, apart from their files. The
writer is the product's own, on apsw's SQLite by a thin stand-in for ``sqlite3.Connection``; what it syncs by
itself is taken down by :meth:`Recorder.watching`. Linux only: it names a descriptor's file by ``/proc``.
"""

from __future__ import annotations

import os
import random
import threading
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from contextlib import contextmanager
from enum import Enum
from pathlib import Path
from typing import Any, NamedTuple

import apsw
import pytest

SECTOR_BYTES = 512
"""What a disk writes whole or not at all."""


class Write(NamedTuple):
    path: str
    offset: int
    data: bytes


class Truncate(NamedTuple):
    path: str
    size: int


class Create(NamedTuple):
    path: str


class Delete(NamedTuple):
    path: str


class Sync(NamedTuple):
    """Everything of the file, or of the directory's entries, that came before event ``began`` is on disk."""

    path: str
    began: int


class Mark(NamedTuple):
    """Something that is promised from here on."""

    value: Any


Event = Write | Truncate | Create | Delete | Sync | Mark


class Recorder(apsw.VFS):
    """The platform's VFS, and ``events``: what went through it, in order."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.events: list[Event] = []
        self.lock = threading.RLock()
        """Held over an event and its taking down: a sync covers what was taken down before it began."""
        super().__init__(name, "")

    def connect(self, path: str | os.PathLike[str], **_: object) -> Any:
        """In the place of ``sqlite3.connect``."""
        if not os.path.getsize(path):
            self.note(Create(os.fspath(path)))  # the product makes its files by itself, empty
        return Connection(apsw.Connection(os.fspath(path), vfs=self.name))

    def note(self, event: Event) -> None:
        with self.lock:
            self.events.append(event)

    def mark(self, value: object) -> None:
        self.note(Mark(value))

    def marks(self, before: int | None = None) -> list[Any]:
        """What was marked, up to an event."""
        return [event.value for event in self.events[:before] if isinstance(event, Mark)]

    @contextmanager
    def watching(self) -> Generator[None]:
        """Take down what this process syncs and unlinks past SQLite."""
        with pytest.MonkeyPatch.context() as patched:
            for name in ("fsync", "fdatasync"):
                patched.setattr(os, name, self._syncing(getattr(os, name)))
            unlink = os.unlink

            def unlinking(path: str, **how: Any) -> None:
                with self.lock:
                    unlink(path, **how)
                    self.note(Delete(os.fspath(path)))

            patched.setattr(os, "unlink", unlinking)
            yield

    def _syncing(self, sync: Callable[[int], None]) -> Callable[[int], None]:
        def syncing(descriptor: int) -> None:
            path = os.readlink(f"/proc/self/fd/{descriptor}")
            self.synced(path, lambda: sync(descriptor))

        return syncing

    def synced(self, path: str, sync: Callable[[], None]) -> None:
        began = len(self.events)
        sync()
        self.note(Sync(path, began))

    # -- for SQLite ----------------------------------------------------------------------------------

    def xOpen(self, name: str | apsw.URIFilename | None, flags: list[int]) -> RecordedFile:
        path = name.filename() if isinstance(name, apsw.URIFilename) else name
        assert path is not None, "no temporary file is expected"
        return RecordedFile(self, path, flags)

    def xDelete(self, filename: str, syncdir: bool) -> None:
        began = len(self.events)
        with self.lock:
            super().xDelete(filename, syncdir)
            self.note(Delete(filename))
        if syncdir:
            self.note(Sync(os.path.dirname(filename), began + 1))


class RecordedFile(apsw.VFSFile):
    def __init__(self, recorder: Recorder, path: str, flags: list[int]) -> None:
        self._recorder = recorder
        self._path = path
        self._is_new = not os.path.exists(path)
        super().__init__("", path, flags)
        if self._is_new:
            recorder.note(Create(path))

    def xWrite(self, data: bytes, offset: int) -> None:
        with self._recorder.lock:
            super().xWrite(data, offset)
            self._recorder.note(Write(self._path, offset, bytes(data)))

    def xTruncate(self, newsize: int) -> None:
        with self._recorder.lock:
            super().xTruncate(newsize)
            self._recorder.note(Truncate(self._path, newsize))

    def xSync(self, flags: int) -> None:
        self._recorder.synced(self._path, lambda: super(RecordedFile, self).xSync(flags))
        if self._is_new:  # os_unix.c syncs the directory too, once, for a journal that it made
            self._is_new = False
            self._recorder.note(Sync(os.path.dirname(self._path), len(self._recorder.events)))


class Connection:
    """What the product uses of ``sqlite3.Connection``, and sqlite-utils for it; every statement is its own
    transaction, unless there is a BEGIN."""

    isolation_level = None

    def __init__(self, connection: apsw.Connection) -> None:
        self._connection = connection

    def cursor(self) -> Cursor:
        return Cursor(self._connection)

    def execute(self, sql: str, parameters: Sequence[object] = ()) -> Cursor:
        return self.cursor().execute(sql, parameters)

    def executemany(self, sql: str, rows: Iterable[Sequence[object]]) -> Cursor:
        return self.cursor().executemany(sql, rows)

    def executescript(self, sql: str) -> None:
        self.execute(sql)

    @property
    def in_transaction(self) -> bool:
        return self._connection.in_transaction

    def close(self) -> None:
        self._connection.close()


class Cursor:
    """Runs a statement to its end at once: sqlite3 looks one row ahead and so lets go of the file as soon."""

    def __init__(self, connection: apsw.Connection) -> None:
        self._cursor = connection.cursor()
        self._cursor.exec_trace = self._begins
        self._rows: Iterator[Any] = iter(())
        self.description: Any = None

    def _begins(self, cursor: apsw.Cursor, *_: object) -> bool:
        self.description = cursor.get_description()  # cannot be asked for once there are no more rows
        return True

    def execute(self, sql: str, parameters: Sequence[object] = ()) -> Cursor:
        self._rows = iter(self._cursor.execute(sql, parameters).fetchall())  # type: ignore[arg-type]
        return self

    def executemany(self, sql: str, rows: Iterable[Sequence[object]]) -> Cursor:
        self._cursor.executemany(sql, rows)  # type: ignore[arg-type]
        return self

    @property
    def lastrowid(self) -> int:
        return self._cursor.connection.last_insert_rowid()

    def fetchone(self) -> Any:
        return next(self._rows, None)

    def fetchall(self) -> list[Any]:
        return list(self._rows)

    def __iter__(self) -> Iterator[Any]:
        return self._rows


# -- what a loss leaves ----------------------------------------------------------------------------------


class Kept(Enum):
    """What survives of that which was not synced."""

    NOTHING = "nothing"
    EVERYTHING = "everything"
    PREFIX = "prefix"
    """All up to an instant, as on a file system that keeps the order."""
    FILES = "files"
    """Of each file all or nothing, as a kernel writes back file by file."""
    ANY = "any"
    """Any of it, in sectors, as on a file system that keeps no order."""


def after_loss(
    events: Sequence[Event], kept: Kept, rng: random.Random, counts: Callable[[Sync], bool] = lambda _: True
) -> dict[str, bytes]:
    """The files by path that a loss of power after the last event may leave. A sync of which ``counts`` is
    not true did nothing: the harness' own test breaks promises by it."""
    synced_through: dict[str, int] = {}
    for event in events:
        if isinstance(event, Sync) and counts(event):
            synced_through[event.path] = max(synced_through.get(event.path, 0), event.began)
    instant = rng.randrange(len(events) + 1)
    written_back: dict[str, bool] = {}

    def survives(at: int, path: str) -> bool:
        if at < synced_through.get(path, 0):
            return True
        if kept is Kept.ANY:
            return rng.random() < 0.5
        if kept is Kept.FILES:
            return written_back.setdefault(path, rng.random() < 0.5)
        return kept is Kept.EVERYTHING or (kept is Kept.PREFIX and at < instant)

    files: dict[str, bytearray] = {}
    entries: set[str] = set()
    for at, event in enumerate(events):
        if isinstance(event, Sync | Mark):
            continue
        if isinstance(event, Create):
            files[event.path] = bytearray()
            if survives(at, os.path.dirname(event.path)):
                entries.add(event.path)
        elif isinstance(event, Delete):
            if survives(at, os.path.dirname(event.path)):
                entries.discard(event.path)
        elif survives(at, event.path):
            _apply(event, files[event.path])
        elif isinstance(event, Write) and kept is Kept.ANY:
            _apply(_torn(event, rng), files[event.path])
    return {path: bytes(files[path]) for path in entries}


def _torn(write: Write, rng: random.Random) -> Write:
    """Some of its first sectors, as they lie on the disk."""
    sectors = (write.offset + len(write.data)) // SECTOR_BYTES - write.offset // SECTOR_BYTES
    end = (write.offset // SECTOR_BYTES + rng.randint(0, sectors)) * SECTOR_BYTES
    return write._replace(data=write.data[: max(end - write.offset, 0)])


def _apply(event: Write | Truncate, file: bytearray) -> None:
    if isinstance(event, Truncate):
        del file[event.size :]
        file.extend(bytes(event.size - len(file)))
    elif event.data:
        file.extend(bytes(max(event.offset - len(file), 0)))
        file[event.offset : event.offset + len(event.data)] = event.data


def put_files(files: dict[str, bytes], root: Path, copy: Path) -> None:
    """Lay files of ``root`` down in ``copy``."""
    for path, data in files.items():
        target = copy / Path(path).relative_to(root)
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(data)
