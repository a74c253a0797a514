"""Hostile input for everything that reads what somebody else may have written: ``run(seed, inputs)``.

Each target makes inputs from a seed, hands them to the code, and counts. Refusals of the documented kinds are
what is hoped for; anything else ends the run with the input that did it. Run as a program it first limits its
own memory to what it has plus :data:`ROOM_BYTES`.
"""

from __future__ import annotations

import os
import random
import re
import resource
import sqlite3
import struct
import sys
import tempfile
import zlib
from collections.abc import Callable, Iterator, Sequence
from datetime import datetime, timedelta
from hashlib import blake2b
from pathlib import Path
from typing import Any
from uuid import UUID

import numpy as np

from wal.cassandra import tables
from wal.cassandra.pointreads import Reader
from wal.cassandra.trouble import Action, StoreError, Trouble
from wal.journal import (
    CorruptSegment,
    NewerFormat,
    PrunedSegment,
    last_seq,
    read_meta,
    read_records,
    read_summaries,
)
from wal.local import LocalSource
from wal.paging.buckets import from_points, parents
from wal.paging.pages import CorruptPage, decode, encode
from wal.record import CorruptRecord, Kind, unpack_topology
from wal.record import decode as decode_record
from wal.settings import Settings
from wal.shipping.columns import read_columns
from wal.shipping.pagepoints import points_of
from wal.source import Pruned, RunRow, SourceError
from wal.summary import CURVE_BUCKETS, MetricSummary

ROOM_BYTES = 256 << 20
"""What all inputs together may need at once: none is larger than 100 kB."""

NUMBERS = (0, 1, -1, 2, 63, 64, 255, 1 << 20, (1 << 31) - 1, -(1 << 31), 1 << 53, (1 << 63) - 1, -(1 << 63))
TEXTS = (
    "", "loss", "val/loss", "\0", "\x1b]0;x\x07", "[/x]", "../../etc/passwd", "\ud800", "x" * 10_000, "done",
    "running", "{}", "[" * 50_000, '{"a":' * 5_000, "9" * 5_000, "1e999", "NaN", '{"a": 1}', "null",
)  # fmt: skip


def spoilt(rng: random.Random, sound: bytes) -> bytes:
    """Sound bytes with some changed, cut, doubled, or others in their place."""
    body = bytearray(sound)
    match rng.randrange(12):
        case 0:
            return rng.randbytes(rng.choice((0, 1, 31, 32, 33, 1000)))
        case 1:
            return bytes(body[: rng.randrange(len(body) + 1)])
        case 2:
            return bytes(body) + rng.randbytes(rng.randrange(1, 64))
        case _:
            for _ in range(rng.choice((1, 1, 1, 2, 6))):
                body[rng.randrange(min(len(body), rng.choice((16, 40, len(body)))))] = rng.randrange(256)
            return bytes(body)


# -- pages, records, summaries: bytes ---------------------------------------------------------------


def pages(rng: random.Random) -> Callable[[], None]:
    from wal.paging.buckets import Batch

    step = np.arange(900, dtype=np.int64) // 2
    value = np.where(step % 7 == 0, np.nan, step.astype(np.float64))
    zeros = np.zeros(900, dtype=np.int64)
    batch = Batch(metric=zeros, seq=np.arange(1, 901), step=step, us=step * 1000, value=value)
    sound = [page.body for page in encode(from_points(batch, 1), 1, 1)]

    def one() -> None:
        page = rng.choice(NUMBERS[:8])
        buckets = decode([(0, page, spoilt(rng, rng.choice(sound)))], 1)
        assert len(buckets) <= 64
        assert (buckets.n > 0).all()
        assert len(parents(buckets)) <= len(buckets)

    return one


def records(rng: random.Random) -> Callable[[], None]:
    names = tuple(f"metric_{n}" for n in range(8))
    sound = struct.pack("<8d", *range(8)) + b'{"note":"x"}'

    def one() -> None:
        body = spoilt(rng, sound)
        if rng.random() < 0.3:
            body = sound[:64] + rng.choice(TEXTS).encode("utf-8", "surrogatepass")
        decode_record(1, rng.choice((*Kind, 0, 99, -1)), names, rng.choice(NUMBERS), 0, body)

    return one


def topologies(rng: random.Random) -> Callable[[], None]:
    bomb = zlib.compress(b"[" * (3 << 20))

    def one() -> None:
        text = rng.choice(TEXTS).encode("utf-8", "surrogatepass")
        digest = blake2b(text, digest_size=16).digest()
        body = digest + (bomb if rng.random() < 0.02 else zlib.compress(text, 1))
        unpack_topology(spoilt(rng, body) if rng.random() < 0.5 else body, max_bytes=1 << 20)

    return one


def summaries(rng: random.Random) -> Callable[[], None]:
    sound = MetricSummary()
    for step in range(500):
        sound.add(step, float(step))
    packed, other = sound.pack(), sound.copy()

    def one() -> None:
        found = MetricSummary.unpack(spoilt(rng, packed))
        assert sum(1 for _ in found.curve()) <= CURVE_BUCKETS
        other.copy().merge(found)
        found.pack()

    return one


# -- segments: files --------------------------------------------------------------------------------


def _a_segment(folder: Path) -> bytes:
    from helpers.logs import log, log_topology, open_journal

    journal = open_journal(folder)
    for step in range(60):
        log(journal, step, {"loss": 1.0 / (step + 1), "accuracy": 0.5})
    log_topology(journal, 60, {"hidden_units": 3})
    journal.close()
    return (journal.directory / "000001.db").read_bytes()


_SPOILING = (
    "UPDATE meta SET v = ?",
    "UPDATE meta SET v = ? WHERE k = 'run'",
    "UPDATE meta SET v = ? WHERE k = 'seal'",
    "UPDATE meta SET v = ? WHERE k = 'end'",
    "UPDATE meta SET v = ? WHERE k = 'stream'",
    "UPDATE meta SET v = ? WHERE k = 'segment'",
    "UPDATE meta SET v = CAST(x'ff00fe' AS TEXT) || ?",
    "UPDATE meta SET v = replace(v, '1', ?) WHERE k <> 'format'",
    "UPDATE meta SET v = replace(v, ':0', ':\"' || substr(?, 1, 9) || '\"')",
    "INSERT INTO meta VALUES ('receipt', ?)",
    """INSERT INTO meta VALUES ('receipt',
     '{"destination": "x", "base_us": 1, "last_step": null, "pruned_ns": 1' || substr(?, 1, 9) || '}')""",
    "UPDATE keyset SET names = ?",
    "UPDATE metric SET name = ? || name",
    "UPDATE metric SET summary = CAST(? AS BLOB)",
    "UPDATE metric SET summary = CAST(substr(summary, 1, length(summary) - 7 + length(?) % 7) AS BLOB)",
    "UPDATE record SET body = CAST(? AS BLOB)",
)
_TRICKS = (
    "DROP TABLE record; CREATE VIEW record AS"
    " WITH RECURSIVE c(seq) AS (SELECT 1 UNION ALL SELECT seq + 1 FROM c)"
    " SELECT seq, 1 AS kind, 0 AS keyset, 1 AS step, 1 AS ts, x'00' AS body FROM c",
    "DROP TABLE record; CREATE TABLE record(seq INTEGER PRIMARY KEY, kind, keyset, step, ts,"
    " body AS (zeroblob(900000000))); INSERT INTO record VALUES (1, 1, 1, 1, 1)",
    "DROP TABLE meta; CREATE VIEW meta AS WITH RECURSIVE c(k) AS (SELECT 'x' UNION ALL SELECT k FROM c)"
    " SELECT k, k AS v FROM c",
    "ALTER TABLE record RENAME TO r;"
    "CREATE TABLE record(seq INTEGER PRIMARY KEY, kind, keyset, step, ts, body);"
    "INSERT INTO record SELECT seq, 'x', keyset, 1.5, NULL, 'text' FROM r; DROP TABLE r;"
    "PRAGMA writable_schema = 1; UPDATE sqlite_master SET sql = (SELECT sql FROM sound.sqlite_master"
    " WHERE name = 'record') WHERE name = 'record'",
)


def segments(rng: random.Random) -> Callable[[], None]:
    folder = Path(tempfile.mkdtemp(dir=os.environ.get("FUZZ_DIR")))
    sound = _a_segment(folder / "made")
    log_dir = folder / "log"
    path = log_dir / str(UUID(int=7, version=4)) / str(UUID(int=8, version=4)) / "000001.db"
    path.parent.mkdir(parents=True)
    (folder / "sound.db").write_bytes(sound)

    def spoil() -> None:
        kind = rng.random()
        if kind < 0.5:
            path.write_bytes(spoilt(rng, sound))
            return
        path.write_bytes(sound)
        connection = sqlite3.connect(path)
        connection.execute("PRAGMA synchronous = OFF")
        connection.execute("PRAGMA journal_mode = MEMORY").fetchone()
        try:
            if kind < 0.95:
                connection.execute(
                    rng.choice(_SPOILING), [rng.choice(TEXTS).encode(errors="ignore").decode()]
                )
            else:
                connection.execute("ATTACH ? AS sound", [str(folder / "sound.db")])
                connection.executescript(rng.choice(_TRICKS))
            connection.commit()
        except sqlite3.IntegrityError:  # two names made one: the segment stays sound
            pass
        finally:
            connection.close()

    def one() -> None:
        spoil()
        if rng.random() < 0.15:
            with_source(log_dir, path)
            return
        for read in (read_meta, last_seq, read_summaries, read_records, all_columns):
            read(path)

    return one


def all_columns(path: Path) -> None:
    """What the pages are made of."""
    points_of(read_columns(path, 1, 100), lambda _: 0)


def with_source(log_dir: Path, path: Path) -> None:
    """The whole way that the app goes: a bad segment is a problem of its stream, and nothing else."""
    source = LocalSource(log_dir)
    try:
        for row in source.runs():
            detail = source.run(row.run_id)
            for metric in list(detail.metrics)[:3]:
                sum(1 for _ in detail.metrics[metric].summary.curve())
                for stream in detail.streams:
                    source.points(row.run_id, stream.stream_id, metric)
            for stream in detail.streams:
                source.records(row.run_id, stream.stream_id)
            source.topologies(row.run_id)
    finally:
        source.close()
        for index in log_dir.glob("index.db*"):
            index.unlink()


# -- rows of Cassandra ------------------------------------------------------------------------------

MOST_ANSWERS = 200


class HostileNode:
    """What a node may answer: rows whose columns have their types, and any value of these."""

    def __init__(self, rng: random.Random) -> None:
        self._rng = rng
        self.settings = Settings()
        self._kinds = {t.name: dict(t.columns) for t in tables.TABLES}
        self._keys = {t.name: {*t.partition, *(name for name, _ in t.clustering)} for t in tables.TABLES}
        self._answers = 0

    def iterate(self, cql: str, parameters: Sequence[object] = (), **_: object) -> Iterator[tuple[Any, ...]]:
        return iter(self.read(cql, parameters))

    def read_many(self, cql: str, parameters: Any) -> Iterator[list[tuple[Any, ...]]]:
        for some in parameters:
            yield self.read(cql, some)

    def read(self, cql: str, parameters: Sequence[object] = ()) -> list[tuple[Any, ...]]:
        self._answers += 1
        if (
            self._answers > MOST_ANSWERS
        ):  # a row may claim any number of others, and a reader look for them all
            raise StoreError(Trouble(Action.RETRY, "unreachable", "It does not answer any more."))
        matched = re.match(r"SELECT (.*) FROM (\w+)\.(\w+)", cql)
        assert matched is not None, cql
        columns, keyspace, table = matched.groups()
        if keyspace == "system":
            return [(1_790_000_000_000,)]
        names = re.split(r", (?![^(]*\))", columns)
        count = self._rng.choice((0, 1, 1, 2, 3))
        return [tuple(self._value(table, name) for name in names) for _ in range(count)]

    def _value(self, table: str, name: str) -> Any:
        if "(" in name:  # an aggregate
            return self._rng.choice(NUMBERS)
        kind = "double" if name.startswith("values[") else self._kinds[table][name]
        if name not in self._keys[table] and self._rng.random() < 0.15:
            return None
        return self._of(kind)

    def _of(self, kind: str) -> Any:
        rng = self._rng
        inner = re.match(r"frozen<(list|map)<(.*)>>", kind)
        if inner is not None and inner[1] == "list":
            return [self._of(inner[2]) for _ in range(rng.randrange(6))]
        if inner is not None:
            return {self._of("text"): self._of(inner[2].split(", ")[1]) for _ in range(rng.randrange(4))}
        match kind:
            case "text":
                return rng.choice(TEXTS)
            case "uuid":
                return UUID(int=rng.randrange(4), version=4)
            case "timestamp":
                return datetime(2026, 1, 1) + timedelta(days=rng.choice((-700_000, 0, 1, 2_900_000)))
            case "double":
                return rng.choice((0.0, -0.0, 1e308, float("nan"), float("inf")))
            case "blob":
                return rng.randbytes(rng.choice((0, 1, 32, 100, 200)))
            case "tinyint":
                return rng.randrange(-128, 128)
            case "int":
                return rng.choice(NUMBERS[:10])
            case _:
                return rng.choice(NUMBERS)


def look_at_all(listed: Sequence[RunRow]) -> None:
    """As a list does that shows each of the curves."""
    for row in listed:
        for metric in row.metrics.values():
            sum(1 for _ in metric.summary.curve())


def rows(rng: random.Random) -> Callable[[], None]:
    run, stream = UUID(int=1, version=4), UUID(int=1, version=4)

    def one() -> None:
        reader: Any = Reader(HostileNode(rng))  # type: ignore[arg-type]
        ask = rng.choice((
            lambda: look_at_all(reader.runs()),
            lambda: reader.run(run),
            lambda: reader.records(run, stream, rng.choice(NUMBERS), 10),
            lambda: reader.points(run, stream, "loss", rng.choice(NUMBERS[:8])),
            lambda: reader.topologies(run),
            lambda: reader.topology(run, stream, 1),
            lambda: reader.paged(run, stream),
            lambda: reader.top_pages(run, stream, "loss"),
        ))  # fmt: skip
        ask()

    return one


Target = Callable[[random.Random], Callable[[], None]]

TARGETS: dict[str, tuple[Target, int, tuple[type[Exception], ...]]] = {
    "pages": (pages, 7_000, (CorruptPage,)),
    "records": (records, 4_000, (CorruptRecord,)),
    "topologies": (topologies, 2_000, (CorruptRecord,)),
    "summaries": (summaries, 3_000, (ValueError,)),
    "segments": (segments, 2_000, (CorruptSegment, NewerFormat, CorruptRecord, PrunedSegment, Pruned)),
    "rows": (rows, 3_000, (SourceError, KeyError)),
}
"""By name: what makes an input and reads it, how many, and what it may raise."""


def run(name: str, seed: int, inputs: int | None = None) -> tuple[int, int]:
    """(inputs, those refused) of one target. Raises what one of them did that it must not."""
    make, count, allowed = TARGETS[name]
    count = count if inputs is None else inputs
    one = make(random.Random(f"{name} {seed}"))
    refusals: list[Exception] = []
    for at in range(count):
        try:
            one()
        except allowed as error:
            refusals.append(error)
        except BaseException as error:
            error.add_note(f"target {name}, seed {seed}, input {at}")
            raise
    for error in refusals:  # a KeyError is an id's that is not there
        said = isinstance(error.args[0], UUID | int) if isinstance(error, KeyError) else bool(str(error))
        assert said, f"refused without a word: {error!r}"
    return count, len(refusals)


def limit_memory() -> None:
    """Let this process have no more than :data:`ROOM_BYTES` beyond what it has."""
    used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (used + ROOM_BYTES,) * 2)


def main() -> None:
    names = sys.argv[2:] or list(TARGETS)
    for name in names:
        run(name, 0, 20)  # what it imports is not an input's doing
    limit_memory()
    for name in names:
        print(name, *run(name, int(sys.argv[1])), flush=True)


if __name__ == "__main__":
    main()
