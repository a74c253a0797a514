"""What ``canopy verify`` and ``canopy resend`` share: the connection, which run is meant, what is printed."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Generator, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING
from uuid import UUID

import click

from canopy_tui.format import clean, count, plural

if TYPE_CHECKING:
    from wal.shipping.delivery import Delivery
    from wal.shipping.proof import RunProof
    from wal.shipping.verifying import StreamProof
    from wal.source import RunRow

REDRAW_S = 0.2
RANGES_SHOWN = 8
"""Ranges of rows that a line names; the others are counted."""


class Progress:
    """One line on stderr while it is a terminal: rows read so far."""

    def __init__(self) -> None:
        self._shown = sys.stderr.isatty()
        self._next = 0.0
        self._before = 0
        self._stream = 0

    def rows(self, of_stream: int) -> None:
        """So many rows of the stream that is being read."""
        if of_stream < self._stream:
            self._before += self._stream
        self._stream = of_stream
        now = time.monotonic()
        if self._shown and now >= self._next:
            self._next = now + REDRAW_S
            click.echo(f"\r\x1b[K{count(self._before + of_stream)} rows read", err=True, nl=False)

    def clear(self) -> None:
        if self._shown:
            click.echo("\r\x1b[K", err=True, nl=False)


@contextmanager
def delivering() -> Generator[Delivery]:
    """The log directory and the Cassandra in use. Raises click's error where there is none."""
    from canopy_tui.cli.nocassandra import no_cassandra, readable_state
    from wal.cassandra.store import open_store
    from wal.link import Finder
    from wal.paths import log_dir
    from wal.shipping.delivery import Delivery

    target = Finder(os.environ, Path.cwd())()
    if target.endpoint is None:
        raise no_cassandra()
    store = open_store(target.endpoint, target.settings)
    progress = Progress()
    try:
        with readable_state(log_dir()):
            yield Delivery(log_dir(), store, progress.rows)
    finally:
        progress.clear()
        store.close()


def all_runs(delivery: Delivery) -> list[RunRow]:
    """Every run of this machine's log and of Cassandra, newest first."""
    from wal.local import LocalSource

    source = LocalSource(delivery.log_dir)
    try:
        found = {row.run_id: row for row in delivery.store.runs()} | {
            row.run_id: row for row in source.runs()
        }
    finally:
        source.close()
    return sorted(found.values(), key=lambda row: (row.started_ns, row.run_id), reverse=True)


# -- what is printed -----------------------------------------------------------------------------------


def run_lines(proof: RunProof, name: str) -> Iterator[str]:
    """A line with the run's name, one a stream, one for each thing that is wrong with it."""
    yield f"{clean(name)}  {proof.run_id}"
    for stream in proof.streams:
        yield from _stream_lines(stream, stray=proof.stray)


def _stream_lines(stream: StreamProof, *, stray: bool) -> Iterator[str]:
    expected = stream.expected
    who = f"  stream {str(expected.stream_id)[-8:]}"
    if stray:
        yield f"{who}  {plural(stream.rows, 'row')} of a stream that nobody announced"
    else:
        where = f" on {clean(expected.host, 40)}" if expected.host else ""
        yield f"{who}  rank {expected.rank}{where}  {_verdict(stream)}{_pages(stream)}"
    if stream.repeats is not None:
        yield f"    doubled: its rows are those of stream {str(stream.repeats)[-8:]}"
    for what, ranges in (
        ("missing", stream.missing), ("not what was logged", stream.differing),
        ("as logged, but written by somebody else", stream.restamped),
        ("logged by nobody", stream.added), ("refused and set aside here (canopy rejected)", stream.rejected),
        ("not delivered yet", stream.waiting), ("there, and not to be proven from here", stream.unstated),
        ("expired: older than the table keeps them", stream.expired),
    ):  # fmt: skip
        if ranges and not (stray and ranges is stream.added):
            yield f"    {rows_text(ranges)} {what}"
    if expected.unregistered:
        yield "    run_streams does not name it"
    if expected.misstated:
        yield f"    run_segments does not say what the log says of {_segments(expected.misstated)}"
    for name in stream.pages:
        yield f"    the pages of {clean(name)} are not those that its rows make"
    yield from (f"    {clean(problem, 1000)}" for problem in expected.problems)


def _verdict(stream: StreamProof) -> str:
    if stream.last_seq == 0:
        return "no rows"
    if stream.complete.pairs == ((1, stream.last_seq),):
        return f"rows 1..{count(stream.last_seq)} complete"
    return f"{count(stream.complete.count)} of rows 1..{count(stream.last_seq)} complete"


def _pages(stream: StreamProof) -> str:
    if not stream.expected.paged_seq:
        return ""
    checked = f", {plural(stream.pages_checked, 'metric')} checked" if stream.pages_checked else ""
    return f" · pages to row {count(stream.expected.paged_seq)}{checked}"


def _segments(numbers: list[int]) -> str:
    names = ", ".join(map(str, sorted(set(numbers))))
    return f"segment {names}" if len(numbers) == 1 else f"the segments {names}"


def rows_text(ranges: Iterable[tuple[int, int]]) -> str:
    """``row 7``, ``rows 7, 9..12 and 3 more ranges``."""
    pairs = list(ranges)
    names = [count(first) if first == last else f"{count(first)}..{count(last)}" for first, last in pairs]
    noun = "row" if len(pairs) == 1 and pairs[0][0] == pairs[0][1] else "rows"
    more = f" and {plural(len(names) - RANGES_SHOWN, 'more range')}" if len(names) > RANGES_SHOWN else ""
    return f"{noun} {', '.join(names[:RANGES_SHOWN])}{more}"


def as_dict(proof: RunProof, name: str) -> dict[str, object]:
    """A run's proof as JSON has it."""
    return {
        "run_id": str(proof.run_id), "name": name, "announced": not proof.stray,
        "streams": [_stream_dict(stream) for stream in proof.streams],
    }  # fmt: skip


def _stream_dict(stream: StreamProof) -> dict[str, object]:
    expected = stream.expected
    ranges = {
        kind: [list(pair) for pair in getattr(stream, kind)]
        for kind in (
            "complete", "missing", "differing", "restamped", "added", "rejected", "waiting", "unstated",
            "expired",
        )
    }  # fmt: skip
    return {
        "stream_id": str(expected.stream_id), "host": expected.host, "rank": expected.rank,
        "state": expected.state, "records": stream.last_seq, "rows": stream.rows, **ranges,
        "repeats": str(stream.repeats) if stream.repeats else None, "misstated": expected.misstated,
        "unregistered": expected.unregistered,
        "paged_seq": expected.paged_seq, "pages_checked": stream.pages_checked, "pages_wrong": stream.pages,
        "problems": expected.problems,
    }  # fmt: skip


def name_of(rows: dict[UUID, str], run_id: UUID) -> str:
    """The run's name, or that nobody lists it."""
    return rows.get(run_id, "a run that is in no list")
