"""The catalogue entries of the runs that are being shipped, each read as far as it grew."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from uuid import UUID

from wal.reading.rarerecords import RareRecords
from wal.reading.segmentindex import SegmentIndex
from wal.reading.streamreader import Fingerprint, StreamReader, fingerprint
from wal.reading.streams import StreamEntry
from wal.segments.meta import starts_of
from wal.shipping.unshipped import Stream


@dataclass(slots=True, eq=False)
class _Followed:
    reader: StreamReader
    index: SegmentIndex
    rare: RareRecords = field(default_factory=RareRecords)
    seen: Fingerprint | None = None
    entry: StreamEntry | None = None


class Follower:
    """Entries of all streams of a run in the log directory, shipped ones too: its row speaks of them all."""

    def __init__(self, clock_ns: Callable[[], int]) -> None:
        self._clock_ns = clock_ns
        self._runs: dict[UUID, dict[UUID, _Followed]] = {}

    def entry(self, stream: Stream) -> StreamEntry:
        """The entry of one stream, read now."""
        followed = self._followed(stream.run_id, stream.stream_id, stream.directory)
        return self._refresh(followed, again=not stream.ended)

    def siblings(self, stream: Stream) -> list[StreamEntry]:
        """The entries of all streams of the same run as they were read last: who they are does not change."""
        return self._all(stream, again=False)

    def entries(self, stream: Stream) -> list[StreamEntry]:
        """The entries of all streams of the same run, read now."""
        return self._all(stream, again=True)

    def _all(self, stream: Stream, *, again: bool) -> list[StreamEntry]:
        for directory in _stream_dirs(stream.directory.parent):
            followed = self._followed(stream.run_id, UUID(directory.name), directory)
            if followed.entry is None or (again and not followed.entry.final):
                self._refresh(followed)
        found = [followed.entry for followed in self._runs[stream.run_id].values()]
        # One of which nothing can be read says nothing of the run; the stream that asks was read before.
        return [e for e in found if e is not None and (e.info.host or e.stream_id == stream.stream_id)]

    def summary(self, stream: Stream) -> dict[str, object]:
        """What the user put into the run's summary, the newest stream's word last."""
        summary: dict[str, object] = {}
        entries = self.entries(stream)
        starts = starts_of(entry.info for entry in entries)
        for entry in sorted(entries, key=lambda entry: starts[entry.info.stream_id]):
            followed = self._runs[stream.run_id][entry.stream_id]
            followed.rare.follow(entry, followed.index)
            summary.update(followed.rare.summary)
        return summary

    def forget(self, run_id: UUID) -> None:
        """The run is done: let go of its curves."""
        self._runs.pop(run_id, None)

    def _followed(self, run_id: UUID, stream_id: UUID, directory: Path) -> _Followed:
        streams = self._runs.setdefault(run_id, {})
        followed = streams.get(stream_id)
        if followed is None:
            reader = StreamReader(run_id, stream_id, directory)
            followed = streams[stream_id] = _Followed(reader, SegmentIndex(directory))
        return followed

    def _refresh(self, followed: _Followed, *, again: bool = False) -> StreamEntry:
        """``again``: read it also if it was final, for its writer is alive after all."""
        try:
            seen = fingerprint(followed.reader.directory)
        except OSError:
            seen = ()
        if again or followed.entry is None or seen != followed.seen or not followed.entry.final:
            changed_ns = max((time_ns for _, _, time_ns in seen), default=0)
            followed.entry = followed.reader.refresh(changed_ns, self._clock_ns())
            followed.seen = seen
        return followed.entry


def _stream_dirs(run_dir: Path) -> list[Path]:
    try:
        return sorted(path for path in run_dir.iterdir() if len(path.name) == 36)
    except OSError:
        return []
