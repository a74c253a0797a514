"""Where the records are, as lines: each verdict in its words, tables that fit, output that stays bounded."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from uuid import UUID

import pytest

from canopy_tui.format import cells
from canopy_tui.runlines import ascii_pieces
from canopy_tui.status import clock
from canopy_tui.storagelines import MAX_PROBLEMS, sentence, storage_page
from wal.reading.storage import (
    DiskState,
    LastError,
    NodeState,
    StorageReport,
    StreamStorage,
    SyncerState,
    Totals,
    Verdict,
    total,
)
from wal.source import Connection, RunState, StoreStatus

NOW_NS = 1_790_000_000 * 10**9
DAY_S = 86_400


def stream(name: str = "train-1", **changes: object) -> StreamStorage:
    plain = StreamStorage(
        run_id=UUID(int=1), stream_id=UUID(int=2), project="spirals", name=name, rank=0, host="node-1",
        state=RunState.RUNNING, local=True, ships=True, committed=1_204_331, durable=1_204_300,
        acknowledged=1_116_211, verified=1_000_000, waiting=88_120, rejected=0, lag_s=2 * DAY_S + 4 * 3600.0,
        lane="backlog", rate=1_668.4, eta_s=53.0, disk_bytes=13 << 20,
    )  # fmt: skip
    return dataclasses.replace(plain, **changes)  # type: ignore[arg-type]


def report(
    *streams: StreamStorage, verdict: Verdict = Verdict.CATCHING_UP, **changes: object
) -> StorageReport:
    plain = StorageReport(
        taken_ns=NOW_NS, log_dir=Path("/logs"), verdict=verdict, reason="", remedy="",
        since_ns=NOW_NS - (2 * DAY_S + 4 * 3600) * 10**9, totals=total(streams), lag_s=None, rate=1_668.4,
        eta_s=53.0, streams=streams, unlisted=0,
        syncer=SyncerState(pid=7, version="0.1.0", connection=Connection.UP, rate=1_668.4, said_ns=NOW_NS,
                           endpoint="db:9042", keyspace="cascor"),
        store=StoreStatus(Connection.UP, endpoint="db:9042"), nodes=(), disk=DiskState(13 << 20, 74 << 30),
    )  # fmt: skip
    return dataclasses.replace(plain, **changes)  # type: ignore[arg-type]


def text_of(page: list[list[object]] | list) -> str:
    return "\n".join("".join(piece.text for piece in line) for line in page)


SENTENCES = {
    Verdict.NOTHING: "the log holds no runs",
    Verdict.VERIFIED: "all 1,204,331 records delivered and verified",
    Verdict.DELIVERED: "all 1,204,331 records delivered, 1,000,000 verified so far",
    Verdict.CATCHING_UP: "delivering: 88,120 of 1,204,331 records on the way, 53 s left",
    Verdict.STARTING: "Cassandra is starting, 88,120 records safe on disk",
    Verdict.UNATTENDED: "no syncer runs, 88,120 records safe on disk",
    Verdict.OFFLINE: "offline 2 d 04 h, 88,120 records safe on disk",
    Verdict.PARKED: "parked 2 d 04 h, 88,120 records safe on disk: It is so.",
    Verdict.LOCAL_ONLY: "local only, 88,120 records safe on disk",
    Verdict.REJECTED: "3 records rejected by the server, the other 1,116,211 delivered",
    Verdict.DAMAGED: "88,120 records cannot be read here, the other 1,116,211 delivered",
}


@pytest.mark.parametrize("verdict", Verdict)
def test_each_verdict_is_a_sentence(verdict: Verdict) -> None:
    rejected = 3 if verdict is Verdict.REJECTED else 0
    made = report(stream(rejected=rejected), verdict=verdict, reason="It is so.", remedy="Do that: x")
    assert sentence(made) == SENTENCES[verdict]
    page = text_of(storage_page(made, 200, True))
    assert page.startswith(SENTENCES[verdict])
    assert "Do that: x" in page
    assert page.count("It is so.") == 1


def test_a_syncer_says_what_it_does_and_when_it_asks_again() -> None:
    error = LastError(NOW_NS - 60 * 10**9, "Cassandra at db:9042 does not answer.", "Start it: x")
    waits = SyncerState(
        pid=7, version="1", said_ns=NOW_NS, next_retry_ns=NOW_NS + 41 * 10**9, last_error=error
    )
    page = text_of(storage_page(report(stream(), syncer=waits), 118, True))
    assert "process 7, version 1 · asks again in 41 s, or now: canopy sync --once" in page
    assert "Cassandra at db:9042 does not answer. Start it: x" in page
    nobody = SyncerState(said_ns=NOW_NS - 19 * 10**9)
    assert "none runs; the last one said something 19 s ago" in text_of(
        storage_page(report(stream(), syncer=nobody), 118, True)
    )
    assert "none has run" in text_of(storage_page(report(syncer=SyncerState()), 118, True))


def test_an_error_that_is_mended_says_when_and_advises_nothing() -> None:
    at_ns = NOW_NS - 7200 * 10**9
    error = LastError(at_ns, "Cassandra at db:9042 does not answer.", "Start it: x", at_ns + 60 * 10**9)
    page = text_of(storage_page(report(stream(), syncer=SyncerState(last_error=error)), 118, True))
    said, mended = clock(at_ns, NOW_NS), clock(error.mended_ns, NOW_NS)
    assert f"last error {said} · Cassandra at db:9042 does not answer. Mended {mended}." in page
    assert "Start it" not in page


def test_streams_that_stay_here_are_said() -> None:
    made = report(stream(), stream(ships=False, committed=1_000), verdict=Verdict.CATCHING_UP)
    assert '1,000 records of mode="offline" stay here until: canopy sync --once' in text_of(
        storage_page(made, 118, True)
    )


NODES = (
    NodeState("127.0.0.1:9042", "up", "datacenter1", "5.0.5", 0.8),
    NodeState("[2001:db8::17]:9042", "down", "dc-" + "x" * 40, "4.1.9", None),
)


@pytest.mark.parametrize("width", [40, 50, 78, 80, 100, 118, 160])
@pytest.mark.parametrize("one_run", [True, False])
def test_every_table_fits_and_is_aligned(width: int, one_run: bool) -> None:
    streams = (
        stream(), stream("n" * 300 + "[/x]\x1b[2J", rank=511, host="h" * 80, problem="p" * 900, rejected=9),
        stream(state=RunState.CRASHED, durable=None, committed=10**12, lag_s=None, lane="", rate=0.0),
        stream(local=False, disk_bytes=None, waiting=0),
    )  # fmt: skip
    page = storage_page(report(*streams, nodes=NODES, unlisted=3_000), width, True, one_run=one_run)
    assert max(cells(text_of([line])) for line in page) <= width
    assert "\x1b" not in text_of(page)
    rows = [
        text_of([line]) for line in page if "committed" in text_of([line]) or "1,204,331 " in text_of([line])
    ]
    heading, *others = [row for row in rows if not row.startswith("delivering")]
    assert len({cells(row) for row in (heading, *others)}) == 1
    end = heading.index("committed") + len("committed")
    assert all(row[:end].endswith("1,204,331") for row in others)
    assert "3,000 more streams" in text_of(page)


def test_columns_that_have_nothing_to_say_are_not_there() -> None:
    done = stream(waiting=0, lag_s=None, lane="", rate=0.0, eta_s=None)
    heading = text_of(storage_page(report(done, verdict=Verdict.DELIVERED), 200, True, one_run=True))
    for title in ("on the way", "lag", "lane", "records/s", "left", "rejected", "host"):
        assert title not in heading.splitlines()[2], title
    busy = text_of(storage_page(report(stream(rejected=1), stream(host="b")), 200, True, one_run=True))
    for title in (
        "durable",
        "on the way",
        "lag",
        "lane",
        "records/s",
        "left",
        "rejected",
        "disk MiB",
        "host",
    ):
        assert title in busy


def test_what_is_not_listed_is_counted() -> None:
    done = dataclasses.replace(report(stream(), unlisted=1))
    assert "1 more stream with nothing left to do" in text_of(storage_page(done, 118, True))
    some = dataclasses.replace(total([stream()]), waiting=88_120 + 200)
    more = text_of(storage_page(report(stream(), unlisted=950, totals=some), 118, True))
    assert "950 more streams, 200 records of them on the way" in more


@pytest.mark.parametrize(
    "lag_s", [0.0, 9.96, 59.0, 3599.0, 86_399.0, 86_400 * 9.9, 86_400 * 62, 86_400 * 4000]
)
def test_a_span_is_never_cut(lag_s: float) -> None:
    page = text_of(storage_page(report(stream(lag_s=lag_s)), 118, True))
    assert "…" not in page.splitlines()[3]


def test_a_broken_disk_does_not_fill_the_screen() -> None:
    streams = [stream(problem=f"file {n} is damaged") for n in range(50)]
    page = text_of(storage_page(report(*streams), 118, True))
    assert page.count("is damaged") == MAX_PROBLEMS


@pytest.mark.parametrize("width", range(24, 60))
def test_a_command_is_never_broken(width: int) -> None:
    waits = SyncerState(pid=7, version="1", said_ns=NOW_NS, next_retry_ns=NOW_NS + 41 * 10**9)
    made = report(
        stream(), verdict=Verdict.OFFLINE, reason="It does not answer.", remedy="See: canopy status --check",
        syncer=waits,
    )  # fmt: skip
    lines = text_of(storage_page(made, width, True, one_run=True)).splitlines()
    assert any("canopy status --check" in line for line in lines)
    if width >= 31:  # beside its label
        assert any("canopy sync --once" in line for line in lines)


def test_what_the_verdict_says_is_not_said_again() -> None:
    error = LastError(NOW_NS, "It is so.", "Do that: x")
    made = report(
        stream(problem="It is so.", rejected=1), verdict=Verdict.REJECTED, reason="It is so.",
        syncer=SyncerState(last_error=error),
    )  # fmt: skip
    assert text_of(storage_page(made, 118, True)).count("It is so.") == 1


def test_ascii() -> None:
    page = storage_page(report(stream(state=RunState.CRASHED), nodes=NODES), 118, False)
    assert "?" not in text_of([ascii_pieces(line) for line in page])


def test_no_records_at_all() -> None:
    empty = report(verdict=Verdict.NOTHING, totals=Totals(), disk=DiskState(0, None))
    assert text_of(storage_page(empty, 80, True)).startswith("the log holds no runs\n\nCassandra")
