"""The log's streams in ``index.db`` (see :mod:`wal.reading.indexfile`): what was read of them. Standard
library only."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterable
from dataclasses import dataclass

from wal.reading.goals import MAIN_METRICS
from wal.reading.indexfile import IndexFile
from wal.reading.streamreader import Fingerprint, StreamFacts
from wal.segments.liveness import Liveness
from wal.segments.meta import dump_end, dump_run, dump_segment, dump_stream, load_meta

CACHED_METRICS = 16
"""Summaries kept per stream, 4 KB each, in the order of first logging; others are read from the segment."""


@dataclass(frozen=True, slots=True)
class CachedStream:
    """One stream as the cache knows it: what os.stat showed then, and what was read."""

    stream: str
    fingerprint: Fingerprint
    facts: StreamFacts


def cached_names(names: Iterable[str]) -> list[str]:
    """Which metrics' summaries the cache keeps."""
    ordered = list(names)
    first = ordered[:CACHED_METRICS]
    return first + [name for name in ordered[CACHED_METRICS:] if name in MAIN_METRICS]


class CatalogCache:
    """The streams' part of the index."""

    def __init__(self, index: IndexFile) -> None:
        self._index = index

    def load(self) -> dict[str, CachedStream]:
        """All cached streams by id; those that cannot be understood are left out."""
        rows = self._index.query("SELECT stream, fingerprint, facts FROM stream")
        cached: dict[str, CachedStream] = {}
        for stream, fingerprint, facts in rows:
            try:
                files = json.loads(fingerprint)
                shown = tuple((str(name), int(size), int(mtime)) for name, size, mtime in files)
                cached[stream] = CachedStream(stream, shown, _load_facts(facts))
            except (ValueError, KeyError, TypeError):
                continue
        return cached

    def summaries(self, name: str) -> dict[str, bytes]:
        """The packed summaries of one metric, by stream."""
        return dict(self._index.query("SELECT stream, body FROM summary WHERE name = ?", (name,)))

    def summaries_of(self, stream: str) -> dict[str, bytes]:
        """The packed summaries of one stream, by metric."""
        return dict(self._index.query("SELECT name, body FROM summary WHERE stream = ?", (stream,)))

    def save(self, streams: Iterable[tuple[CachedStream, dict[str, bytes]]], gone: Iterable[str]) -> bool:
        """Write streams with their summaries, and forget those that are gone. False when this process may
        not write here."""
        rows, lost = list(streams), list(gone)

        def change(writer: sqlite3.Connection) -> None:
            for cached, packed in rows:
                writer.execute("DELETE FROM summary WHERE stream = ?", (cached.stream,))
                writer.execute(
                    "INSERT OR REPLACE INTO stream VALUES (?, ?, ?)",
                    (cached.stream, json.dumps(cached.fingerprint), _dump_facts(cached.facts)),
                )
                writer.executemany(
                    "INSERT INTO summary VALUES (?, ?, ?)",
                    [(name, cached.stream, body) for name, body in packed.items()],
                )
            for stream in lost:
                writer.execute("DELETE FROM stream WHERE stream = ?", (stream,))
                writer.execute("DELETE FROM summary WHERE stream = ?", (stream,))

        return self._index.write(change)


def _dump_facts(facts: StreamFacts) -> str:
    meta = facts.meta
    assert meta is not None, "a stream of which nothing was read is not cached"
    return json.dumps(
        {
            "number": facts.number, "last_seq": facts.last_seq, "last_ts": facts.last_ts,
            "steps": facts.steps, "positions": facts.positions, "liveness": facts.liveness.value,
            "meta": {
                "segment": dump_segment(meta.number, meta.first_seq), "run": dump_run(meta.run),
                "stream": dump_stream(meta.stream), **({"end": dump_end(meta.end)} if meta.end else {}),
            },
        },
    )  # fmt: skip


def _load_facts(text: str) -> StreamFacts:
    stored = json.loads(text)
    steps = stored["steps"]
    return StreamFacts(
        meta=load_meta(stored["meta"]),
        liveness=Liveness(stored["liveness"]),
        number=int(stored["number"]),
        last_seq=int(stored["last_seq"]),
        last_ts=int(stored["last_ts"]),
        steps=(int(steps[0]), int(steps[1])) if steps else None,
        positions={str(name): int(position) for name, position in stored["positions"].items()},
    )
