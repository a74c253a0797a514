"""What lies in a log directory and is not shipped yet: finding streams, and the two lanes.

The live lane holds what was committed since the syncer looked last, and the newest records of a stream that
is or just was alive; the backlog lane everything else, oldest stream first. A record that is logged now does
not wait behind a million old ones. A stream with nothing left to do is not looked at again.
"""

from __future__ import annotations

import heapq
import os
from collections import deque
from collections.abc import Iterator
from itertools import chain, islice
from pathlib import Path
from uuid import UUID

from wal import journal
from wal.shipping.crashed import CrashedStream, CrashWatch
from wal.shipping.unshipped import Segment, Stream, directory_time

NEWEST_RUNS = 4
RUN_DIRECTORIES_PER_LOOK = 16
"""Run directories whose time is compared per look: the newest ones always, the others in turn. However many
runs there are, a look costs a fraction of a millisecond; a resume of an old run is told by a nudge."""

THOROUGH_LOOKS = 20
"""Looks at every run directory after a nudge: whoever nudges may be about to make one."""

ONLINE = "online"
"""The mode of a trainer that starts a syncer unless one runs."""


class Backlog:
    """Every stream of a log directory that has something left to do."""

    def __init__(self, log_dir: Path, *, include_offline: bool = True) -> None:
        self.log_dir = log_dir
        self.streams: dict[UUID, Stream] = {}
        self.local: dict[UUID, Stream] = {}
        """Streams that are not to be shipped: only their pages are kept."""
        self.shipped: set[UUID] = set()
        self.crashed = CrashWatch()
        self._include_offline = include_offline
        self._unseen: deque[tuple[UUID, UUID, Path]] = deque()
        self._known: set[UUID] = set()
        self._run_times: dict[str, int] = {}
        self._rotation: deque[str] = deque()
        self._thorough_looks = 0
        self._listed_at = 0
        self._old: list[tuple[int, UUID]] = []  # heap of streams with something in their backlog lane
        self._queued: set[UUID] = set()
        self._turn: deque[UUID] = deque()  # streams in the order of their next turn in the live lane

    def forget(self, stream_id: UUID) -> None:
        """Nothing is left to do for a stream: it is not looked at again, but for what :attr:`crashed` has."""
        self._known.add(stream_id)
        self.shipped.add(stream_id)
        self.streams.pop(stream_id, None)

    def forget_local(self, stream_id: UUID) -> None:
        """The same for one that is not to be shipped."""
        self._known.add(stream_id)
        self.local.pop(stream_id, None)

    def keep_local(self, stream: Stream) -> None:
        """A stream is not to be shipped any more: its run was deleted in Cassandra."""
        self.streams.pop(stream.stream_id, None)
        self.local[stream.stream_id] = stream

    @property
    def everything(self) -> Iterator[Stream]:
        """The streams to be shipped and the others."""
        return chain(self.streams.values(), self.local.values())

    @property
    def waiting(self) -> int:
        """Committed records that are not acknowledged, over all streams seen so far."""
        return sum(stream.waiting for stream in self.streams.values())

    @property
    def damaged(self) -> int:
        """Of :attr:`waiting`, the records that cannot be read."""
        return sum(stream.damaged.count for stream in self.streams.values())

    @property
    def pruned(self) -> bool:
        """Whether segments of which only the receipt is left are among what is to be shipped."""
        return any(s.pruned for stream in self.streams.values() for s in stream.segments.values())

    @property
    def live(self) -> bool:
        """Whether a stream's writer lives, or might: on another host only its files tell."""
        return any(stream.live for stream in self.everything)

    @property
    def wants_syncer(self) -> bool:
        """Whether a trainer lives on this machine that asked for a syncer in the background."""
        return any(
            stream.alive is journal.Liveness.ALIVE and stream.info is not None and stream.info.mode == ONLINE
            for stream in self.everything
            if not stream.ended
        )

    @property
    def problems(self) -> list[str]:
        """A sentence per segment that cannot be read."""
        return [text for stream in self.streams.values() for text in stream.problems.values()]

    def holds(self, stream_id: UUID, segment: int) -> bool:
        """Whether a segment is still in the log directory. Looks at every run: for what is rarely asked."""
        return any(self.log_dir.glob(f"*/{stream_id}/{segment:06d}.db"))

    # -- finding -------------------------------------------------------------------------------------

    def find(self, now_ns: int) -> Iterator[tuple[UUID, UUID, Path]]:
        """Streams not seen before, newest run first. What the caller does not take comes the next time."""
        self._look_for_runs(now_ns)
        for _ in range(len(self._unseen)):
            yield self._unseen.popleft()

    @property
    def all_seen(self) -> bool:
        """Whether every stream that was found has been opened."""
        return not self._unseen

    def _look_for_runs(self, now_ns: int) -> None:
        time_ns = directory_time(self.log_dir, now_ns)
        if time_ns is None:
            return
        if time_ns == 0 or time_ns != self._listed_at:
            self._listed_at = time_ns
            names = {name for name in os.listdir(self.log_dir) if _is_uuid(name)}
            new = sorted(names - self._run_times.keys(), reverse=True)
            for name in self._run_times.keys() - names:
                del self._run_times[name]
            self._run_times.update(dict.fromkeys(reversed(new), 0))  # the newest last
            for name in new:
                self._look_for_streams(name, now_ns)
            self._rotation.extend(new)
        for name in self._due_runs():
            self._look_for_streams(name, now_ns)

    def _due_runs(self) -> Iterator[str]:
        """The run directories to look at now."""
        if self._thorough_looks > 0:
            self._thorough_looks -= 1
            yield from self._run_times
            return
        newest = list(islice(reversed(self._run_times), NEWEST_RUNS))
        yield from newest
        for _ in range(min(len(self._rotation), RUN_DIRECTORIES_PER_LOOK)):
            name = self._rotation.popleft()
            if name in self._run_times:
                self._rotation.append(name)
                if name not in newest:
                    yield name

    def look_thoroughly(self) -> None:
        """Somebody says that there is something new: look everywhere, for a few looks."""
        self._thorough_looks = THOROUGH_LOOKS
        self.crashed.look_at_all()

    def _look_for_streams(self, name: str, now_ns: int) -> None:
        directory = f"{self.log_dir}/{name}"
        time_ns = directory_time(directory, now_ns)
        if time_ns is None or (time_ns != 0 and time_ns == self._run_times[name]):
            return
        self._run_times[name] = time_ns
        try:
            found = sorted(entry for entry in os.listdir(directory) if _is_uuid(entry))
        except OSError:
            return
        for entry in found:
            stream_id = UUID(entry)
            if stream_id not in self._known:
                self._known.add(stream_id)
                self._unseen.append((UUID(name), stream_id, Path(directory, entry)))

    def adopt(self, stream: Stream, now_ns: int, *, doubtful: bool = False) -> None:
        """Take a stream in and look at it for the first time; an offline one to be shipped only if that is
        asked for, or if something that was sent of it is doubtful."""
        stream.look(now_ns)
        self._watch(stream)
        if stream.info is None and not stream.problems:
            # Half-born: its writer has made the directory and not the first segment. Seen again next time.
            self._known.discard(stream.stream_id)
            self._run_times[stream.directory.parent.name] = 0
            return
        offline = stream.info is not None and stream.info.mode == "offline"
        if offline and not self._include_offline and not doubtful:
            self.local[stream.stream_id] = stream
            return
        self.streams[stream.stream_id] = stream
        self._turn.append(stream.stream_id)
        self._queue(stream)

    def look(self, now_ns: int) -> bool:
        """Look at every stream that may still grow. True when one did."""
        grown = [stream for stream in tuple(self.everything) if stream.look(now_ns)]
        for crashed in self.crashed.changed():
            stream = self.streams.get(crashed.stream_id) or self.local.get(crashed.stream_id)
            if stream is not None:
                stream.revive(now_ns)
                grown.append(stream)
            elif crashed.directory.is_dir():
                self.shipped.discard(crashed.stream_id)
                self._unseen.append((crashed.run_id, crashed.stream_id, crashed.directory))
        for stream in grown:
            self._watch(stream)
        return bool(grown)

    def _watch(self, stream: Stream) -> None:
        remains = stream.remains
        if remains is not None:
            self.crashed.add(CrashedStream(stream.run_id, stream.stream_id, stream.directory, remains))

    def try_damaged(self, now_ns: int) -> None:
        """Read again what could not be read."""
        for stream in self.local.values():
            stream.try_damaged(now_ns)
        for stream in self.streams.values():
            stream.try_damaged(now_ns)
            self._queue(stream)

    # -- handing out ---------------------------------------------------------------------------------

    def next_live(self, limit: int) -> tuple[Stream, Segment, int, int] | None:
        """The next range of the live lane: the streams take turns."""
        for _ in range(len(self._turn)):
            stream_id = self._turn.popleft()
            stream = self.streams.get(stream_id)
            if stream is None:
                continue
            self._turn.append(stream_id)
            taken = stream.take(live=True, limit=limit)
            if stream.todo:
                self._queue(stream)
            if taken is not None:
                return stream, *taken
        return None

    def next_old(self, limit: int) -> tuple[Stream, Segment, int, int] | None:
        """The next range of the backlog lane: the stream that started first, its lowest seqs."""
        while self._old:
            stream = self.streams.get(self._old[0][1])
            taken = stream.take(live=False, limit=limit) if stream is not None else None
            if stream is not None and taken is not None:
                return stream, *taken
            self._queued.discard(heapq.heappop(self._old)[1])
        return None

    def give_back(self, stream: Stream, first: int, last: int, *, live: bool) -> None:
        """A range that was handed out comes back to its lane."""
        stream.give_back(first, last, live=live)
        self._queue(stream)

    def _queue(self, stream: Stream) -> None:
        if stream.todo and stream.stream_id not in self._queued and stream.info is not None:
            self._queued.add(stream.stream_id)
            heapq.heappush(self._old, (stream.info.started_ns, stream.stream_id))


def _is_uuid(name: str) -> bool:
    try:
        return str(UUID(name)) == name
    except ValueError:
        return False
