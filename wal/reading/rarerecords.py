"""The records of a stream that are not plain log calls, found once and then only as far as the stream grew.

Standard library only.
"""

from __future__ import annotations

import math
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from wal.reading.segmentindex import SegmentIndex
from wal.reading.streamreader import UNREADABLE
from wal.reading.streams import StreamEntry
from wal.reading.topology import describe
from wal.record import CorruptRecord, Kind, decode
from wal.segments.segment import Row, read_rows
from wal.source import TopologyRow


@dataclass(slots=True)
class RareRecords:
    """What a stream's summary, topology and gap records say.

    ``summary`` maps a name to its newest value or text; ``topologies`` are in seq order; ``dropped`` counts
    the calls that the disk did not take.
    """

    summary: dict[str, object] = field(default_factory=dict[str, object])
    topologies: list[TopologyRow] = field(default_factory=list[TopologyRow])
    dropped: int = 0
    last_seq: int = 0

    def follow(self, stream: StreamEntry, index: SegmentIndex, patience_s: float = math.inf) -> None:
        """Take in what the stream has logged since, as far as it is found within ``patience_s``. What cannot
        be read is passed over: the stream's entry states the problem."""
        if stream.last_seq <= self.last_seq:
            return
        give_up = time.monotonic() + patience_s
        paths = index.after(self.last_seq)
        for at, path in enumerate(paths):
            first_seq = index.first_seq(path)
            if at and first_seq is not None and time.monotonic() >= give_up:
                self.last_seq = max(first_seq - 1, self.last_seq)
                return
            try:
                found = read_rows(path, self.last_seq, rare=True)
            except UNREADABLE:
                continue
            for row in found.rows:
                self._take(stream, row, found.keysets)
        self.last_seq = stream.last_seq

    def _take(self, stream: StreamEntry, row: Row, keysets: Mapping[int, Sequence[str]]) -> None:
        seq, kind, keyset, step, ts, body = row
        try:
            if kind == Kind.TOPOLOGY:
                self.topologies.append(describe(stream.stream_id, seq, step, ts, body))
                return
            record = decode(seq, kind, keysets.get(keyset, ()), step, ts, body)
        except CorruptRecord:
            return
        if record.kind is Kind.SUMMARY:
            self.summary.update(record.values)
            self.summary.update(record.texts)  # an integer's exact decimal wins over its double
        elif record.kind is Kind.GAP:
            self.dropped += int(record.values.get("dropped", 0))
