"""Each oracle is silent about what is whole, and speaks when somebody has tampered with it."""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from helpers.nodes import fresh_keyspace
from helpers.syncing import drain

from faults.oracles import ORACLES, Direct, Scan, judge
from faults.trainer import log_seeded
from faults.truth import Truth
from wal.cassandra.server import Node
from wal.segments.meta import Limits
from wal.settings import Settings
from wal.training.current import start_run
from wal.training.starting import Wishes

RECORDS = 600
"""Two segments, pages of several levels at two points of the stream."""

SEQ = 500
"""The record that is tampered with."""


@dataclass
class Place:
    """A keyspace with a run for each way to tamper."""

    direct: Direct
    keyspace: str
    truths: dict[str, Truth]

    def execute(self, cql: str, *values: object) -> list[Any]:
        return self.direct.execute(cql.replace("{}", self.keyspace), *values)


@dataclass(frozen=True)
class One:
    """One run of it: ``row`` is the record's, ``page`` its first page as :class:`Scan` has them."""

    place: Place
    truth: Truth
    scan: Scan

    @property
    def row(self) -> Any:
        return self.scan.rows[self.truth.run_id, self.truth.stream_id, SEQ][0]

    @property
    def page(self) -> Any:
        return self.scan["metric_pages"][0]

    @property
    def listed(self) -> Any:
        return self.scan["runs_by_week"][0]

    def put_row(self, stamp: int, **changes: object) -> None:
        """The record's row with changes."""
        names = ("run_id", "stream", "chunk", "seq", "kind", "step", "ts", "values", "texts")
        cells = {name: changes.get(name, getattr(self.row, name)) for name in names}
        kept = {name: value for name, value in cells.items() if value is not None}
        marks = ", ".join("?" * len(kept))
        self.place.execute(
            f"INSERT INTO {{}}.training_metrics ({', '.join(kept)}) VALUES ({marks}) USING TIMESTAMP ?",
            *kept.values(), stamp,
        )  # fmt: skip


KEY = "run_id = ? AND stream = ? AND chunk = ? AND seq = ?"


def key_of(row: Any) -> tuple[object, ...]:
    return row.run_id, row.stream, row.chunk, row.seq


def delete_row(one: One) -> None:
    one.place.execute(f"DELETE FROM {{}}.training_metrics WHERE {KEY}", *key_of(one.row))


def double_in_another_chunk(one: One) -> None:
    one.put_row(one.row.stamp_step, chunk=one.row.chunk + 1)


def double_in_another_stream(one: One) -> None:
    one.put_row(one.row.stamp_step, stream=one.truth.run_id)


def move_behind_the_end(one: One) -> None:
    one.put_row(one.row.stamp_step, seq=RECORDS + 1, chunk=(RECORDS + 1) // 1024)


def flip_a_bit(one: One) -> None:
    values = dict(one.row.values)
    (bits,) = struct.unpack(">Q", struct.pack(">d", values["loss"]))
    values["loss"] = struct.unpack(">d", struct.pack(">Q", bits ^ 1))[0]
    delete_row(one)  # at the same timestamp the larger value wins, whichever it is
    one.put_row(2**62, values=values)


def stamp_anew(one: One) -> None:
    one.put_row(one.row.stamp_step + 1)


def change_a_page(one: One) -> None:
    page = one.page
    one.place.execute(
        "UPDATE {}.metric_pages USING TIMESTAMP ? SET body = ? WHERE run_id = ? AND stream = ? "
        "AND metric = ? AND level = ? AND chunk = ? AND page = ?",
        page.stamp + 1, page.body[:-1] + bytes([page.body[-1] ^ 1]), page.run_id, page.stream, page.metric,
        page.level, page.chunk, page.page,
    )  # fmt: skip


def list_it_twice(one: One) -> None:
    week, start = one.listed.week, one.listed.start_time
    one.place.execute(
        "INSERT INTO {}.runs_by_week (week, start_time, run_id, records) VALUES (?, ?, ?, ?)",
        week - 1, start, one.truth.run_id, RECORDS,
    )  # fmt: skip


def miscount_a_metric(one: One) -> None:
    one.place.execute(
        "UPDATE {}.run_metrics USING TIMESTAMP ? SET points = ? WHERE run_id = ? AND metric = ? "
        "AND stream = ?",
        2**62, RECORDS - 1, one.truth.run_id, "loss", one.truth.stream_id,
    )  # fmt: skip


TAMPERING: dict[Callable[[One], None], str] = {
    delete_row: "lost",
    double_in_another_chunk: "doubled",
    double_in_another_stream: "doubled",
    move_behind_the_end: "doubled",
    flip_a_bit: "changed",
    stamp_anew: "misstamped",
    change_a_page: "mispaged",
    list_it_twice: "mislisted",
    miscount_a_metric: "miscounted",
}


@pytest.fixture(scope="module")
def settings(cassandra5: Node) -> Iterator[Settings]:
    with fresh_keyspace(cassandra5) as settings:
        yield settings


@pytest.fixture(scope="module")
def place(cassandra5: Node, settings: Settings, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    log_dir = tmp_path_factory.mktemp("log")
    truths: dict[str, Truth] = {}
    for seed, tamper in enumerate(TAMPERING):
        run = start_run(log_dir, Wishes(project="faults", name=tamper.__name__), limits=Limits(records=400))
        assert run.stream_id is not None
        log_seeded(run, seed, RECORDS)
        run.finish()
        directory = log_dir / str(run.run_id) / str(run.stream_id)
        truths[tamper.__name__] = Truth(run.run_id, run.stream_id, seed, RECORDS, directory)
    drain(log_dir, settings)
    with Direct(cassandra5.endpoint) as direct:
        yield Place(direct, settings.keyspace, truths)


@pytest.mark.parametrize("tamper", TAMPERING)
def test_the_oracle_speaks(place: Place, tamper: Callable[[One], None]) -> None:
    truth = place.truths[tamper.__name__]
    whole = place.direct.scan(place.keyspace).only(truth.run_id)
    assert judge([truth], whole) == {}
    assert len(whole.rows) == RECORDS
    tamper(One(place, truth, whole))
    findings = judge([truth], place.direct.scan(place.keyspace).only(truth.run_id))
    assert TAMPERING[tamper] in findings, findings


def test_every_oracle_was_made_to_speak() -> None:
    assert {oracle.__name__ for oracle in ORACLES} == set(TAMPERING.values())


def test_a_record_that_the_log_lost_is_found(tmp_path: Path) -> None:
    run = start_run(tmp_path, Wishes(project="faults", name="short"))
    assert run.stream_id is not None
    log_seeded(run, 1, 10)
    run.finish()
    directory = tmp_path / str(run.run_id) / str(run.stream_id)
    assert Truth(run.run_id, run.stream_id, 1, 9, directory).committed == 10
    with pytest.raises(AssertionError, match="10 of 11"):
        Truth(run.run_id, run.stream_id, 1, 11, directory).committed  # noqa: B018
