"""What lies in the log directory: its streams and runs, looked at again for the price of what changed.

Importing this reaches the standard library only. Facts of streams that cannot change any more are kept in
``index.db`` (see :mod:`wal.reading.catalogcache`), keyed by what ``os.stat`` shows of their files.
"""

from __future__ import annotations

import os
import re
import stat
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from uuid import UUID

from wal.reading.acks import Acks
from wal.reading.catalogcache import CachedStream, CatalogCache, cached_names
from wal.reading.goals import goal_of, main_metric, total_steps
from wal.reading.indexfile import IndexFile
from wal.reading.runrows import run_row
from wal.reading.streamreader import Fingerprint, StreamFacts, StreamReader, fingerprint, make_entry
from wal.reading.streams import StreamEntry, Summaries, state_of
from wal.segments.liveness import Liveness, liveness
from wal.source import RunRow, RunState, SourceError
from wal.summary import MetricSummary

__all__ = [
    "Catalog", "StreamEntry", "goal_of", "main_metric", "total_steps",
]  # fmt: skip

SETTLED_NS = 2_000_000_000
"""A directory's mtime is trusted only when it is older than this at the look: within one tick of the file
system's clock (2 s at worst) a later change can leave the same mtime."""

CRASHED_PER_LOOK = 16
"""Crashed streams looked at per look, in turn, for a sign of life: a fraction of a millisecond."""

CACHE_EVERY_RECORDS = 1_000
"""A live stream goes into the cache again after this many records: what a later look would read anew."""


SAVE_RETRY_S = 30.0
"""Between two tries to write the cache while another process holds its lock."""

_UUID = re.compile("[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")


@dataclass(slots=True)
class _Tracked:
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


@dataclass(slots=True)
class _RunDir:
    settled_mtime_ns: int | None = None
    streams: dict[str, _Tracked] = field(default_factory=dict[str, _Tracked])


class Catalog:
    """The streams and runs of one log directory. Any thread may ask; one looks at a time.

    ``clock_ns`` says how old a sign of life is; the age of files is the real clock's.
    """

    def __init__(self, log_dir: Path, clock_ns: Callable[[], int] = time.time_ns) -> None:
        self.log_dir = log_dir
        self.acks = Acks(log_dir)
        self._clock_ns = clock_ns
        self.index = IndexFile(log_dir)
        self._cache = CatalogCache(self.index)
        self._loaded: dict[str, CachedStream] | None = None
        self._runs: dict[str, _RunDir] = {}
        self._rows: dict[UUID, tuple[tuple[StreamEntry, ...], RunRow]] = {}
        self._summaries: dict[str, dict[str, bytes]] = {}
        self._next_save = 0.0
        self._turn = 0
        self._guard = threading.RLock()

    # -- asking -------------------------------------------------------------------------------------

    def streams(self) -> list[StreamEntry]:
        """Every stream, looked at now, oldest first. Raises SourceError when the log directory is there but
        cannot be read; one that does not exist holds nothing."""
        with self._guard:
            entries = [self._with_acks(tracked) for tracked in self._look()]
        return sorted(entries, key=lambda entry: (entry.info.started_ns, entry.stream_id))

    def runs(self) -> dict[UUID, list[StreamEntry]]:
        """The streams of every run, oldest first. Raises like :meth:`streams`."""
        runs: dict[UUID, list[StreamEntry]] = {}
        for entry in self.streams():
            runs.setdefault(entry.run_id, []).append(entry)
        return runs

    def run_rows(self, limit: int | None = None) -> list[RunRow]:
        """Runs newest first. A run that did not change since the last call is the same object as then.

        Raises like :meth:`streams`.
        """
        kept: dict[UUID, tuple[tuple[StreamEntry, ...], RunRow]] = {}
        for run_id, streams in self.runs().items():
            before = self._rows.get(run_id)
            key = tuple(streams)
            same = before is not None and all(a is b for a, b in zip(before[0], key, strict=False))
            kept[run_id] = (
                before if before and same and len(before[0]) == len(key) else (key, run_row(streams))
            )
        self._rows = kept
        rows = sorted((row for _, row in kept.values()), key=lambda row: (row.started_ns, row.run_id))
        rows.reverse()
        return rows if limit is None else rows[:limit]

    def close(self) -> None:
        """Write the cache and let others write it."""
        with self._guard:
            self.index.close()

    # -- looking ------------------------------------------------------------------------------------

    def _look(self) -> list[_Tracked]:
        if self._loaded is None:
            self._loaded = self._cache.load()
        gone = self._find_streams()
        tracked = [stream for run in self._runs.values() for stream in run.streams.values()]
        for stream in self._due_crashed(tracked):
            stream.settled_mtime_ns = None
        for stream in tracked:
            self._look_at(stream)
        self.acks.poll()
        self._save(tracked, gone)
        return tracked

    def _find_streams(self) -> list[str]:
        """Bring the tree of directories up to date; the ids of streams that are gone come back."""
        present: dict[str, _RunDir] = {}
        gone: list[str] = []
        for name, path, mtime_ns in _uuid_dirs(self.log_dir):
            run = self._runs.get(name) or _RunDir()
            present[name] = run
            if mtime_ns == run.settled_mtime_ns:
                continue
            try:
                found = {stream: directory for stream, directory, _ in _uuid_dirs(Path(path))}
            except SourceError:
                continue  # a run that cannot be read now keeps what was known of it
            for stream in run.streams.keys() - found.keys():
                del run.streams[stream]
                gone.append(stream)
            for stream, directory in found.items():
                if stream not in run.streams:
                    run.streams[stream] = _Tracked(UUID(name), UUID(stream), Path(directory))
            run.settled_mtime_ns = mtime_ns if _is_settled(mtime_ns) else None
        for name in self._runs.keys() - present.keys():
            gone.extend(self._runs[name].streams)
        self._runs = present
        return gone

    def _due_crashed(self, tracked: list[_Tracked]) -> list[_Tracked]:
        """The crashed streams whose turn it is: a writer that lost its lock for a while is not dead."""
        crashed = [s for s in tracked if s.entry is not None and s.entry.state is RunState.CRASHED]
        start = self._turn if self._turn < len(crashed) else 0
        self._turn = start + CRASHED_PER_LOOK
        return crashed[start : self._turn]

    def _look_at(self, tracked: _Tracked) -> None:
        entry = tracked.entry
        try:
            mtime_ns = os.stat(tracked.directory).st_mtime_ns
            if entry is not None and entry.final and mtime_ns == tracked.settled_mtime_ns:
                return
            shown = fingerprint(tracked.directory)
        except OSError as error:
            self._cannot_read(tracked, error)
            return
        heartbeat_ns = max((mtime for _, _, mtime in shown), default=mtime_ns)
        tracked.settled_mtime_ns = mtime_ns if _is_settled(max(mtime_ns, heartbeat_ns)) else None
        if entry is None:
            entry = self._recall(tracked, shown, heartbeat_ns)
        if entry is not None and shown == tracked.seen and entry.problem is None:
            tracked.entry = self._unchanged(tracked, entry, heartbeat_ns)
            return
        self._read(tracked, shown, heartbeat_ns)

    def _recall(self, tracked: _Tracked, shown: Fingerprint, heartbeat_ns: int) -> StreamEntry | None:
        """The entry that the cache has for these very files."""
        cached = (self._loaded or {}).get(str(tracked.stream_id))
        if cached is None or cached.fingerprint != shown:
            tracked.cached = cached
            return None
        tracked.cached, tracked.seen = cached, shown
        summaries = Summaries(cached.facts.positions, fetch=lambda name: self._fetch(tracked, name))
        tracked.entry = make_entry(tracked, cached.facts, summaries, heartbeat_ns, self._clock_ns())
        return tracked.entry

    def _unchanged(self, tracked: _Tracked, entry: StreamEntry, heartbeat_ns: int) -> StreamEntry:
        """Nothing was written since: only the process can have died, and time passed."""
        if entry.final and entry.state is not RunState.CRASHED:
            return entry
        alive = liveness(tracked.directory, entry.info)
        if entry.final and alive is not Liveness.ALIVE:
            return entry
        if alive is Liveness.DEAD:  # what it wrote last may be newer than our look at the files
            self._read(tracked, fingerprint(tracked.directory), heartbeat_ns)
            assert tracked.entry is not None
            return tracked.entry
        now_ns = self._clock_ns()
        if alive is Liveness.ALIVE:
            heartbeat_ns = max(heartbeat_ns, now_ns)
        state = state_of(None, alive, now_ns - heartbeat_ns)
        return replace(entry, liveness=alive, state=state, heartbeat_ns=heartbeat_ns, ended_ns=None)

    def _read(self, tracked: _Tracked, shown: Fingerprint, heartbeat_ns: int) -> None:
        entry = tracked.entry
        rewritten = entry is not None and entry.final  # what cannot grow has changed: start afresh
        if tracked.reader is None or rewritten:
            tracked.reader = self._reader(tracked, fresh=rewritten)
        tracked.entry = tracked.reader.refresh(heartbeat_ns, self._clock_ns())
        tracked.seen = shown

    def _reader(self, tracked: _Tracked, fresh: bool) -> StreamReader:
        """A reader that goes on from what the cache knows of a live stream."""
        place = tracked.run_id, tracked.stream_id, tracked.directory
        cached = tracked.cached
        if (
            not fresh
            and cached is not None
            and cached.facts.meta is not None
            and cached.facts.meta.end is None
        ):
            packed = self._cache.summaries_of(cached.stream)
            if packed.keys() == cached.facts.positions.keys() and cached.facts.liveness is not Liveness.DEAD:
                return StreamReader(*place, replace(cached.facts), packed)
        return StreamReader(*place)

    def _cannot_read(self, tracked: _Tracked, error: OSError) -> None:
        tracked.settled_mtime_ns = None
        problem = f"{tracked.directory} cannot be read: {error.strerror or error}"
        entry = tracked.entry or make_entry(tracked, StreamFacts(), Summaries({}, {}), 0, self._clock_ns())
        if entry.problem != problem:
            tracked.entry = replace(entry, problem=problem)

    def _with_acks(self, tracked: _Tracked) -> StreamEntry:
        entry = tracked.entry
        assert entry is not None, "every stream was looked at"
        acked = self.acks.of(entry.stream_id)
        if acked != entry.acked:
            entry = tracked.entry = replace(entry, acked=acked)
        return entry

    # -- the cache ----------------------------------------------------------------------------------

    def _save(self, tracked: list[_Tracked], gone: list[str]) -> None:
        """Put into the cache what it lacks: streams that ended, and live ones that grew a lot."""
        if time.monotonic() < self._next_save:
            return
        rows: list[tuple[CachedStream, dict[str, bytes]]] = []
        saved: list[_Tracked] = []
        for stream in tracked:
            reader, entry, seen = stream.reader, stream.entry, stream.seen
            if reader is None or entry is None or seen is None or entry.problem or reader.facts.meta is None:
                continue
            before = stream.cached.facts.last_seq if stream.cached else -CACHE_EVERY_RECORDS
            newly_final = entry.final and (stream.cached is None or stream.cached.fingerprint != seen)
            if not newly_final and (entry.final or entry.last_seq - before < CACHE_EVERY_RECORDS):
                continue
            facts = replace(reader.facts, positions=dict(reader.facts.positions))
            cached = CachedStream(str(stream.stream_id), seen, facts)
            names = cached_names(facts.positions)
            rows.append((cached, {name: entry.summaries.packed(name) for name in names}))
            saved.append(stream)
        if not rows and not gone:
            return
        if not self._cache.save(rows, gone):  # another process keeps the cache
            self._next_save = time.monotonic() + SAVE_RETRY_S
            return
        for stream, (cached, _) in zip(saved, rows, strict=True):
            stream.cached = cached
            self._let_go(stream)

    def _let_go(self, tracked: _Tracked) -> None:
        """A stream that ended needs no reader any more, and its curves lie in the cache."""
        entry, cached = tracked.entry, tracked.cached
        if entry is None or cached is None or not entry.final:
            return
        tracked.reader = None
        for by_stream in self._summaries.values():
            by_stream.pop(cached.stream, None)
        summaries = Summaries(cached.facts.positions, fetch=lambda name: self._fetch(tracked, name))
        tracked.entry = replace(entry, summaries=summaries)

    def _fetch(self, tracked: _Tracked, name: str) -> bytes:
        """A summary from the cache, all streams' of that name at once; else from the stream itself."""
        with self._guard:
            by_stream = self._summaries.get(name)
            if by_stream is None:
                by_stream = self._summaries[name] = self._cache.summaries(name)
            body = by_stream.get(str(tracked.stream_id))
            if body is None:
                reader = StreamReader(tracked.run_id, tracked.stream_id, tracked.directory)
                found = reader.refresh(0, self._clock_ns()).summaries
                # Both the cache and the stream may have been damaged since: then nothing is known.
                body = found.packed(name) if name in found else MetricSummary().pack()
                by_stream[str(tracked.stream_id)] = body
            return body


def _uuid_dirs(directory: Path) -> Iterator[tuple[str, str, int]]:
    """(name, path, mtime in ns) of the directories in ``directory`` whose name is a UUID."""
    try:
        with os.scandir(directory) as entries:
            for entry in entries:
                if _UUID.fullmatch(entry.name) is None:
                    continue
                try:
                    status = entry.stat()
                except OSError:
                    continue
                if stat.S_ISDIR(status.st_mode):
                    yield entry.name, entry.path, status.st_mtime_ns
    except FileNotFoundError:
        return
    except OSError as error:
        raise SourceError(
            f"The log directory {directory} cannot be read ({error.strerror}): make it readable, "
            "or name another one with CANOPY_DIR."
        ) from None


def _is_settled(mtime_ns: int) -> bool:
    # The real clock, not the one that is passed in: it is compared with what the file system wrote.
    return time.time_ns() - mtime_ns > SETTLED_NS
