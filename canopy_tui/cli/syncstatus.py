"""``canopy sync --status``: what the syncer says of itself, and how far each stream is shipped."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

from canopy_tui.format import age, clean, count, duration, left, plural, right

MAX_REJECTED = 20
"""Rejected records that are named; the rest are counted."""


@dataclass(frozen=True, slots=True)
class StreamLine:
    """One stream: how many of its ``records`` are acknowledged."""

    run_id: str
    stream_id: str
    project: str
    name: str
    rank: int
    state: str
    records: int
    shipped: int
    problem: str

    @property
    def waiting(self) -> int:
        return max(self.records - self.shipped, 0)


@dataclass(frozen=True, slots=True)
class View:
    """Everything that ``--status`` shows. ``pid`` is of the syncer that runs now, None for none; ``status``
    what the last one wrote; ``rejected`` (stream, seq, reason)."""

    log_dir: Path
    pid: int | None
    status: Mapping[str, object]
    streams: tuple[StreamLine, ...]
    rejected: tuple[tuple[str, int, str], ...]


def look(directory: Path) -> View:
    """Read it all: the log, ``state.db``, and who holds the lock."""
    from wal.catalog import Catalog
    from wal.reading.acks import Acks
    from wal.shipping import daemon

    acks = Acks(directory)
    acks.poll()
    catalog = Catalog(directory)
    try:
        entries = catalog.streams()
    finally:
        catalog.close()
    streams = tuple(
        StreamLine(
            run_id=str(entry.run_id), stream_id=str(entry.stream_id), project=entry.run.project,
            name=entry.run.name, rank=entry.info.rank, state=entry.state.value, records=entry.last_seq,
            shipped=entry.last_seq - max(entry.unshipped, 0), problem=entry.problem or "",
        )
        for entry in entries
    )  # fmt: skip
    return View(directory, daemon.holder(directory), acks.status, streams, _rejected(directory))


def _rejected(directory: Path) -> tuple[tuple[str, int, str], ...]:
    path = directory / "state.db"
    if not path.exists():
        return ()
    try:
        with closing(sqlite3.connect(f"{path.as_uri()}?mode=ro", uri=True, timeout=1.0)) as db:
            rows = db.execute("SELECT stream, seq, reason FROM rejected ORDER BY stream, seq").fetchall()
    except sqlite3.Error:
        return ()
    return tuple((str(stream), int(seq), str(reason)) for stream, seq, reason in rows)


def as_dict(view: View) -> dict[str, object]:
    """The view as JSON has it."""
    return {
        "log_dir": str(view.log_dir),
        "syncer_pid": view.pid,
        "status": dict(view.status),
        "streams": [
            {
                "run_id": line.run_id, "stream_id": line.stream_id, "project": line.project,
                "name": line.name, "rank": line.rank, "state": line.state, "records": line.records,
                "shipped": line.shipped, "waiting": line.waiting, "problem": line.problem,
            }
            for line in view.streams
        ],
        "rejected": [{"stream": s, "seq": seq, "reason": reason} for s, seq, reason in view.rejected],
    }  # fmt: skip


def lines(view: View, now_ns: int) -> Iterator[str]:
    """What is printed: the verdict, the syncer, a line per stream that is not shipped, what is wrong."""
    records = sum(line.records for line in view.streams)
    waiting = sum(line.waiting for line in view.streams)
    yield _verdict(view, records, waiting)
    yield f"Log       {view.log_dir}"
    yield f"Syncer    {_syncer(view, now_ns)}"
    yield f"Cassandra {_cassandra(view, now_ns)}"
    shown = [line for line in view.streams if line.waiting or line.problem]
    if shown:
        yield ""
        yield f"{left('run', 24)} {left('stream', 8)} {left('state', 8)} {right('records', 11)} " + right(
            "waiting", 11
        )
    for line in shown:
        yield (
            f"{left(clean(line.name), 24)} {line.stream_id[-8:]} {left(line.state, 8)} "
            f"{right(count(line.records), 11)} {right(count(line.waiting), 11)}"
        )
    problems = list(dict.fromkeys([*(line.problem for line in shown if line.problem), *_problems(view)]))
    if problems or view.rejected:
        yield ""
    yield from (clean(problem, 1000) for problem in problems)
    for stream, seq, reason in view.rejected[:MAX_REJECTED]:
        yield f"rejected: record {seq} of stream {stream}: {clean(reason, 1000)}"
    if len(view.rejected) > MAX_REJECTED:
        yield f"… and {plural(len(view.rejected) - MAX_REJECTED, 'more rejected record')}"


def _verdict(view: View, records: int, waiting: int) -> str:
    if not view.streams:
        return "Nothing was logged here yet."
    total = f"{plural(records, 'record')} in {plural(len(view.streams), 'stream')}"
    if waiting == 0:
        return f"Everything is shipped: {total}."
    if waiting == records:
        return f"Nothing is shipped yet: {total}, safe in the local log."
    return f"{count(waiting)} of {total} wait in the local log; the others are shipped."


def _syncer(view: View, now_ns: int) -> str:
    updated = view.status.get("updated_ns")
    if view.pid is None:
        if not isinstance(updated, int):
            return "none has run"
        return f"none runs; the last one said something {age(now_ns - updated)} ago"
    rate = view.status.get("rate")
    busy = view.status.get("waiting") and isinstance(rate, (int, float)) and rate >= 1
    speed = f", {count(round(float(str(rate))))} records/s" if busy else ""
    return f"process {view.pid}, version {view.status.get('version', '?')}{speed}"


def _cassandra(view: View, now_ns: int) -> str:
    if not view.status:
        return "not asked yet"
    parts = [str(view.status.get("connection", ""))]
    endpoint = view.status.get("endpoint")
    if endpoint:
        parts.append(f"{endpoint}, keyspace {view.status.get('keyspace', '')}")
    parts += [str(view.status[key]) for key in ("detail", "remedy") if view.status.get(key)]
    retry_ns = view.status.get("next_retry_ns")
    if view.pid is not None and isinstance(retry_ns, int) and retry_ns > now_ns:
        parts.append(f"asked again in {duration(retry_ns - now_ns)}; canopy sync --once asks now")
    return clean(" · ".join(parts), 1000)


def why(status: Mapping[str, object]) -> str:
    """What is wrong with Cassandra and what to do, as sentences; empty when nothing is."""
    detail, remedy = str(status.get("detail") or ""), str(status.get("remedy") or "")
    if detail:
        detail = f"{detail[0].upper()}{detail[1:].rstrip('.')}."
    return f"{detail} {remedy}".strip()


def _problems(view: View) -> list[str]:
    problems = view.status.get("problems")
    return [str(problem) for problem in problems] if isinstance(problems, list) else []  # pyright: ignore[reportUnknownArgumentType]
