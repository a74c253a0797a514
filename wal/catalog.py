"""What lies in the log directory: its streams and runs, looked at again for the price of what changed.

Importing this reaches the standard library only. Facts of streams that cannot change any more are kept in
``index.db`` (see :mod:`wal.reading.catalogcache`), keyed by what ``os.stat`` shows of their files.
"""

from __future__ import annotations

import math
import os
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from uuid import UUID

from wal.reading.acks import Acks
from wal.reading.catalogcache import CachedStream, CatalogCache, cached_names
from wal.reading.goals import goal_of, main_metric, total_steps
from wal.reading.indexfile import IndexFile
from wal.reading.runrows import run_row
from wal.reading.streamreader import Fingerprint, StreamFacts, StreamReader, fingerprint, make_entry
from wal.reading.streams import StreamEntry, Summaries, state_of
from wal.reading.streamtree import Due, StreamTree, Tracked, is_settled
from wal.segments.liveness import Liveness, liveness
from wal.source import RunRow, RunState
from wal.summary import MetricSummary

__all__ = [
    "Catalog", "StreamEntry", "goal_of", "main_metric", "total_steps",
]  # fmt: skip

CACHE_EVERY_RECORDS = 1_000
"""A live stream goes into the cache again after this many records: what a later look would read anew."""


SAVE_RETRY_S = 30.0
"""Between two tries to write the cache while another process holds its lock."""


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
        self._tree = StreamTree(log_dir)
        self._entries: dict[UUID, tuple[StreamEntry, ...]] = {}  # by run, oldest first
        self._rows: dict[UUID, RunRow] = {}
        self._stale_rows: set[UUID] = set()
        self._order: list[UUID] = []
        self._unsaved: dict[UUID, Tracked] = {}
        self._summaries: dict[str, dict[str, bytes]] = {}
        self._next_save = 0.0
        self._looked_at = -math.inf
        self._guard = threading.RLock()

    # -- asking -------------------------------------------------------------------------------------

    def streams(self, age_s: float = 0.0) -> list[StreamEntry]:
        """Every stream, looked at within the last ``age_s``, oldest first. Raises SourceError when the log
        directory is there but cannot be read; one that does not exist holds nothing."""
        with self._guard:
            if time.monotonic() - self._looked_at >= age_s:
                self._look()
            entries = [entry for streams in self._entries.values() for entry in streams]
        return sorted(entries, key=lambda entry: (entry.info.started_ns, entry.stream_id))

    def runs(self) -> dict[UUID, list[StreamEntry]]:
        """The streams of every run, oldest first. Raises like :meth:`streams`."""
        with self._guard:
            self._look()
            return {run_id: list(streams) for run_id, streams in self._entries.items()}

    def streams_of(self, run_id: UUID) -> list[StreamEntry]:
        """The streams of one run, looked at now, oldest first; none of a run that is not here. What other
        runs there are costs nothing. Raises like :meth:`streams`."""
        with self._guard:
            self._look_through(self._tree.one(run_id))
            return list(self._entries.get(run_id, ()))

    def known(self, run_id: UUID, stream_id: UUID) -> StreamEntry | None:
        """A stream as it was at the last look, whenever that was; None for one that was not there."""
        with self._guard:
            streams = self._entries.get(run_id, ())
        return next((entry for entry in streams if entry.stream_id == stream_id), None)

    def run_rows(self, limit: int | None = None) -> list[RunRow]:
        """Runs newest first. A run that did not change since the last call is the same object as then.

        Raises like :meth:`streams`.
        """
        with self._guard:
            self._look()
            before = {run_id: self._rows.get(run_id) for run_id in self._stale_rows}
            for run_id in self._stale_rows:
                streams = self._entries.get(run_id)
                if streams:
                    self._rows[run_id] = run_row(streams)
                else:
                    self._rows.pop(run_id, None)
            self._stale_rows.clear()
            if any(_start_of(row) != _start_of(self._rows.get(run_id)) for run_id, row in before.items()):
                self._order = sorted(
                    self._rows, key=lambda run_id: (self._rows[run_id].started_ns, run_id), reverse=True
                )
            return [self._rows[run_id] for run_id in self._order[:limit]]

    def close(self) -> None:
        """Write the cache and let others write it."""
        with self._guard:
            self.index.close()

    # -- looking ------------------------------------------------------------------------------------

    def _look(self) -> None:
        self._look_through(self._tree.due())
        self._looked_at = time.monotonic()

    def _look_through(self, due: Due) -> None:
        """Bring the entries up to date."""
        if self._loaded is None:
            self._loaded = self._cache.load()
        for run in due.runs:
            for stream in run.streams.values():
                self._look_at(stream)
                if stream.reader is not None:
                    self._unsaved[stream.stream_id] = stream
        self._tree.settle(due.runs)
        self._save(due.gone)
        for run in self._tree.runs.values() if self.acks.poll() else due.runs:
            self._take(run.run_id, [self._with_acks(stream) for stream in run.streams.values()])
        for run_id in self._entries.keys() - self._tree.run_ids() if due.gone else ():
            self._take(run_id, [])

    def _take(self, run_id: UUID, entries: list[StreamEntry]) -> None:
        """Have a run's streams as they are now."""
        entries.sort(key=lambda entry: (entry.info.started_ns, entry.stream_id))
        before = self._entries.get(run_id, ())
        if len(entries) == len(before) and all(a is b for a, b in zip(before, entries, strict=True)):
            return
        if entries:
            self._entries[run_id] = tuple(entries)
        else:
            self._entries.pop(run_id, None)
        same = len(entries) == len(before) and all(map(_says_the_same, before, entries))
        if not same:
            self._stale_rows.add(run_id)

    def _look_at(self, tracked: Tracked) -> None:
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
        tracked.settled_mtime_ns = mtime_ns if is_settled(max(mtime_ns, heartbeat_ns)) else None
        if entry is None:
            entry = self._recall(tracked, shown, heartbeat_ns)
        if entry is not None and shown == tracked.seen and entry.problem is None:
            tracked.entry = self._unchanged(tracked, entry, heartbeat_ns)
            return
        self._read(tracked, shown, heartbeat_ns)

    def _recall(self, tracked: Tracked, shown: Fingerprint, heartbeat_ns: int) -> StreamEntry | None:
        """The entry that the cache has for these very files."""
        cached = (self._loaded or {}).get(str(tracked.stream_id))
        if cached is None or cached.fingerprint != shown:
            tracked.cached = cached
            return None
        tracked.cached, tracked.seen = cached, shown
        summaries = Summaries(cached.facts.positions, fetch=lambda name: self._fetch(tracked, name))
        tracked.entry = make_entry(tracked, cached.facts, summaries, heartbeat_ns, self._clock_ns())
        return tracked.entry

    def _unchanged(self, tracked: Tracked, entry: StreamEntry, heartbeat_ns: int) -> StreamEntry:
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

    def _read(self, tracked: Tracked, shown: Fingerprint, heartbeat_ns: int) -> None:
        entry = tracked.entry
        rewritten = entry is not None and entry.final  # what cannot grow has changed: start afresh
        if tracked.reader is None or rewritten:
            tracked.reader = self._reader(tracked, fresh=rewritten)
        tracked.entry = tracked.reader.refresh(heartbeat_ns, self._clock_ns())
        tracked.seen = shown

    def _reader(self, tracked: Tracked, fresh: bool) -> StreamReader:
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

    def _cannot_read(self, tracked: Tracked, error: OSError) -> None:
        tracked.settled_mtime_ns = None
        problem = f"{tracked.directory} cannot be read: {error.strerror or error}"
        entry = tracked.entry or make_entry(tracked, StreamFacts(), Summaries({}, {}), 0, self._clock_ns())
        if entry.problem != problem:
            tracked.entry = replace(entry, problem=problem)

    def _with_acks(self, tracked: Tracked) -> StreamEntry:
        entry = tracked.entry
        assert entry is not None, "every stream was looked at"
        acked = self.acks.of(entry.stream_id)
        if acked != entry.acked:
            entry = tracked.entry = replace(entry, acked=acked)
        return entry

    # -- the cache ----------------------------------------------------------------------------------

    def _save(self, gone: list[str]) -> None:
        """Put into the cache what it lacks: streams that ended, and live ones that grew a lot."""
        if time.monotonic() < self._next_save:
            return
        rows: list[tuple[CachedStream, dict[str, bytes]]] = []
        saved: list[Tracked] = []
        for stream in self._unsaved.values():
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
        for name in gone:
            self._unsaved.pop(UUID(name), None)
        if not rows and not gone:
            return
        if not self._cache.save(rows, gone):  # another process keeps the cache
            self._next_save = time.monotonic() + SAVE_RETRY_S
            return
        for stream, (cached, _) in zip(saved, rows, strict=True):
            stream.cached = cached
            self._let_go(stream)

    def _let_go(self, tracked: Tracked) -> None:
        """A stream that ended needs no reader any more, and its curves lie in the cache."""
        entry, cached = tracked.entry, tracked.cached
        if entry is None or cached is None or not entry.final:
            return
        tracked.reader = None
        for by_stream in self._summaries.values():
            by_stream.pop(cached.stream, None)
        summaries = Summaries(cached.facts.positions, fetch=lambda name: self._fetch(tracked, name))
        tracked.entry = replace(entry, summaries=summaries)
        self._unsaved.pop(tracked.stream_id, None)

    def _fetch(self, tracked: Tracked, name: str) -> bytes:
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


def _start_of(row: RunRow | None) -> int | None:
    return row.started_ns if row is not None else None


def _says_the_same(before: StreamEntry, now: StreamEntry) -> bool:
    """Whether nothing but a sign of life tells two entries of a stream apart."""
    return (
        now.summaries is before.summaries
        and now.acked is before.acked
        and (now.state, now.ended_ns, now.problem) == (before.state, before.ended_ns, before.problem)
    )
