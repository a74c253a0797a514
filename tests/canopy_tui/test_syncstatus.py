"""``canopy sync --status``: what it says of each state of things."""

from __future__ import annotations

from pathlib import Path

import pytest

from canopy_tui.cli.syncstatus import StreamLine, View, lines, why

NOW_NS = 1_790_000_000 * 10**9
PARKED: dict[str, object] = {
    "connection": "trouble", "detail": "The keyspace mine does not exist at db:9042.",
    "remedy": "Create it with: canopy cassandra schema", "endpoint": "db:9042", "keyspace": "mine",
    "version": "0.1.0", "waiting": 50, "rate": 0.0, "next_retry_ns": NOW_NS + 41 * 10**9,
    "updated_ns": NOW_NS - 19 * 10**9,
}  # fmt: skip


def stream(records: int, shipped: int) -> StreamLine:
    return StreamLine("run", "stream", "spirals", "train-1", 0, "done", records, shipped, "")


def said(status: dict[str, object], *streams: StreamLine, pid: int | None = 7) -> str:
    return "\n".join(lines(View(Path("/log"), pid, status, streams, ()), NOW_NS))


def test_a_parked_syncer_says_why_what_to_do_and_when_it_asks_again() -> None:
    text = said(PARKED, stream(50, 0))
    assert "Nothing is shipped yet: 50 records in 1 stream, safe in the local log." in text
    assert (
        "Cassandra trouble · db:9042, keyspace mine · The keyspace mine does not exist at db:9042. · Create "
        "it with: canopy cassandra schema · asked again in 41 s; canopy sync --once asks now"
    ) in text


def test_nobody_asks_again_where_no_syncer_runs() -> None:
    text = said(PARKED, stream(50, 20), pid=None)
    assert "30 of 50 records in 1 stream wait in the local log; the others are shipped." in text
    assert "asked again" not in text
    assert "Syncer    none runs; the last one said something 19 s ago" in text


def test_a_rate_is_said_while_something_waits() -> None:
    busy: dict[str, object] = {
        "connection": "up", "endpoint": "db:9042", "keyspace": "mine", "rate": 1668.0, "version": "1",
    }  # fmt: skip
    assert "1,668 records/s" in said(busy | {"waiting": 5}, stream(50, 45))
    assert "records/s" not in said(busy | {"waiting": 0}, stream(50, 50))


@pytest.mark.parametrize(
    ("status", "sentences"),
    [
        ({"detail": "the node is stopped", "remedy": "Start it."}, "The node is stopped. Start it."),
        ({"detail": "It is gone.", "remedy": ""}, "It is gone."),
        ({"detail": "", "remedy": ""}, ""),
        ({}, ""),
    ],
)
def test_why_is_sentences(status: dict[str, object], sentences: str) -> None:
    assert why(status) == sentences
