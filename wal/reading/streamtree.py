"""Which runs and streams lie in a log directory, and which of them a look has to look at.

Nearly all runs of a long list have ended and stay as they are. A look costs what can have changed: the runs
that go on, and a share of the others in turn. Standard library only.
"""

from __future__ import annotations

import os
import re
import stat
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Generic, NamedTuple, TypeVar
from uuid import UUID

from wal.reading.catalogcache import CachedStream
from wal.reading.streamreader import Fingerprint, StreamReader
from wal.reading.streams import StreamEntry
from wal.source import RunState, SourceError

SETTLED_NS = 2_000_000_000
"""A directory's mtime is trusted only when it is older than this at the look: within one tick of the file
system's clock (2 s at worst) a later change can leave the same mtime."""

CRASHED_PER_LOOK = 16
"""Crashed streams looked at per look, in turn, for a sign of life: a fraction of a millisecond."""

ENDED_PER_LOOK, ENDED_SHARE = 256, 20
"""Of the runs that ended, so many are looked at per look, or one in so many where that is more: two
milliseconds, and after 20 looks every damage has been seen. A new stream of an ended run is seen at once:
whoever begins one touches the log directory."""

_UUID = re.compile("[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")

T = TypeVar("T")


@dataclass(slots=True, eq=False)
class Tracked:
    """A stream under watch. ``seen`` is what its files showed at the last look, ``settled_mtime_ns`` its
    directory's mtime then (None until it can be trusted), ``cached`` what the cache has of it."""

    run_id: UUID
    stream_id: UUID
    directory: Path
    entry: StreamEntry | None = None
    reader: StreamReader | None = None
    seen: Fingerprint | None = None
    settled_mtime_ns: int | None = None
    cached: CachedStream | None = None


@dataclass(slots=True, eq=False)
class RunDir:
    """A run's directory; ``settled_mtime_ns`` as of a stream's."""

    run_id: UUID
    path: str
    settled_mtime_ns: int | None = None
    streams: dict[str, Tracked] = field(default_factory=dict[str, Tracked])

    @property
    def has_ended(self) -> bool:
        """Whether nothing here can change but by a new stream or by damage."""
        return self.settled_mtime_ns is not None and all(
            one.settled_mtime_ns is not None and one.entry is not None and one.entry.final
            for one in self.streams.values()
        )


class Due(NamedTuple):
    """What a look has to look at. ``gone`` are the ids of streams that are not there any more."""

    runs: list[RunDir]
    gone: list[str]


class _Turns(Generic[T]):
    """Members by key, taken some at a time, in turn."""

    def __init__(self) -> None:
        self.members: dict[UUID, T] = {}
        self._queue: list[UUID] = []

    def take(self, count: int) -> list[T]:
        if not self._queue:
            self._queue = list(self.members)
        taken, self._queue = self._queue[:count], self._queue[count:]
        return [self.members[key] for key in taken if key in self.members]


class StreamTree:
    """The directories of one log directory. After what is :meth:`due` was looked at, :meth:`settle` it."""

    def __init__(self, log_dir: Path) -> None:
        self.runs: dict[str, RunDir] = {}
        self._log_dir = log_dir
        self._settled_ctime_ns: int | None = None
        self._open: dict[UUID, RunDir] = {}
        self._ended: _Turns[RunDir] = _Turns()
        self._crashed: _Turns[Tracked] = _Turns()

    def run_ids(self) -> set[UUID]:
        """Every run that has a stream."""
        return {run.run_id for run in self.runs.values() if run.streams}

    def due(self) -> Due:
        """All that may have changed since the last look. Raises SourceError when the log directory is there
        but cannot be read; one that does not exist holds nothing."""
        gone: list[str] = []
        if self._has_changed():
            gone += self._find_runs()
            due = {run.run_id: run for run in self.runs.values()}
        else:
            count = max(ENDED_PER_LOOK, len(self._ended.members) // ENDED_SHARE)
            due = self._open | {run.run_id: run for run in self._ended.take(count)}
        for stream in self._crashed.take(CRASHED_PER_LOOK):
            stream.settled_mtime_ns = None  # a writer that lost its lock for a while is not dead
            due[stream.run_id] = self.runs[str(stream.run_id)]
        for run in due.values():
            gone += self._find_streams(run)
        return Due(list(due.values()), gone)

    def one(self, run_id: UUID) -> Due:
        """The same of a single run. Raises the same."""
        run = self.runs.get(str(run_id))
        if run is None:
            path = self._log_dir / str(run_id)
            if not _is_directory(path):
                return Due([], [])
            run = self.runs[path.name] = RunDir(run_id, str(path))
        return Due([run], self._find_streams(run))

    def settle(self, runs: Iterable[RunDir]) -> None:
        """Remember of runs that were looked at whether they go on."""
        for run in runs:
            if run.has_ended:
                self._open.pop(run.run_id, None)
                self._ended.members[run.run_id] = run
            else:
                self._ended.members.pop(run.run_id, None)
                self._open[run.run_id] = run
            for stream in run.streams.values():
                if stream.entry is not None and stream.entry.state is RunState.CRASHED:
                    self._crashed.members[stream.stream_id] = stream
                else:
                    self._crashed.members.pop(stream.stream_id, None)

    def _has_changed(self) -> bool:
        """Whether runs came or went, or one was begun again. Its ctime also shows that it was made
        unreadable."""
        try:
            ctime_ns = os.stat(self._log_dir).st_ctime_ns
        except OSError:
            self._settled_ctime_ns = None
            return True
        if ctime_ns == self._settled_ctime_ns:
            return False
        self._settled_ctime_ns = ctime_ns if is_settled(ctime_ns) else None
        return True

    def _find_runs(self) -> list[str]:
        """Bring the runs up to date; the ids of streams that went with theirs come back."""
        try:
            present = dict(_uuid_dirs(self._log_dir))
        except SourceError:
            self._settled_ctime_ns = None
            raise
        gone: list[str] = []
        for name in self.runs.keys() - present.keys():
            run = self.runs.pop(name)
            self._open.pop(run.run_id, None)
            self._ended.members.pop(run.run_id, None)
            gone += self._forget(run, run.streams.keys())
        for name in present.keys() - self.runs.keys():
            self.runs[name] = RunDir(UUID(name), present[name])
        return gone

    def _find_streams(self, run: RunDir) -> list[str]:
        """Bring a run's streams up to date; the ids of those that are gone come back."""
        try:
            mtime_ns = os.stat(run.path).st_mtime_ns
            if mtime_ns == run.settled_mtime_ns:
                return []
            found = dict(_uuid_dirs(Path(run.path)))
        except FileNotFoundError:
            mtime_ns, found = 0, {}
        except (OSError, SourceError):
            return []  # a run that cannot be read now keeps what was known of it
        gone = self._forget(run, run.streams.keys() - found.keys())
        for stream, directory in found.items():
            if stream not in run.streams:
                run.streams[stream] = Tracked(run.run_id, UUID(stream), Path(directory))
        run.settled_mtime_ns = mtime_ns if is_settled(mtime_ns) else None
        return gone

    def _forget(self, run: RunDir, streams: Iterable[str]) -> list[str]:
        gone = list(streams)
        for name in gone:
            self._crashed.members.pop(run.streams.pop(name).stream_id, None)
        return gone


def _uuid_dirs(directory: Path) -> Iterator[tuple[str, str]]:
    """(name, path) of the directories in ``directory`` whose name is a UUID."""
    try:
        with os.scandir(directory) as entries:
            for entry in entries:
                if _UUID.fullmatch(entry.name) is not None and entry.is_dir():
                    yield entry.name, entry.path
    except FileNotFoundError:
        return
    except OSError as error:
        raise _unreadable(directory, error) from None


def _is_directory(path: Path) -> bool:
    try:
        return stat.S_ISDIR(os.stat(path).st_mode)
    except FileNotFoundError:
        return False
    except OSError as error:
        raise _unreadable(path.parent, error) from None


def _unreadable(directory: Path, error: OSError) -> SourceError:
    return SourceError(
        f"The log directory {directory} cannot be read ({error.strerror}): make it readable, "
        "or name another one with CANOPY_DIR."
    )


def is_settled(mtime_ns: int) -> bool:
    """Whether a change after this look must show in a later mtime."""
    # The real clock, not one that is passed in: it is compared with what the file system wrote.
    return time.time_ns() - mtime_ns > SETTLED_NS
