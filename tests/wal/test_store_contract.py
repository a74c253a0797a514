"""The reading protocol: one body of tests that the local log and Cassandra 5.0 and 4.1 answer alike.

What is asked is compared with what was logged, not one source with the other. The logs are written by the
real journal and shipped by the real syncer.
"""

from __future__ import annotations

import math
import struct
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import numpy as np
import pytest
from helpers.logs import SECOND, START_NS, Ticking, log, log_special, log_topology, make_run, open_journal
from helpers.nodes import fresh_keyspace
from helpers.syncing import connect, make_syncer, step_until, target_of

from wal.cassandra.store import CassandraStore
from wal.journal import Journal
from wal.local import LocalSource
from wal.record import Kind, Record, digest, run_uuid
from wal.source import RunState, Source

RECORDS = 2_600
"""More than two chunks of 1,024 and several segments."""

PAYLOAD_NAN = struct.unpack("<d", struct.pack("<Q", 0x7FF8_DEAD_0000_0001))[0]
SIGNALLING_NAN = struct.unpack("<d", struct.pack("<Q", 0x7FF0_0000_0000_0001))[0]
HOSTILE = '[/x] \x1b[31m it\'s "quoted" \u202e ⟪é⟫ ' + "n" * 200
TOPOLOGY = {
    "input_size": 2, "output_size": 1, "output_weights": [[0.5], [0.25], [1.5]], "output_bias": [0.1],
    "hidden_units": [{"id": 0, "weights": [0.4, -1.1], "bias": 0.02}], "labels": ["ü" * 1000] * 400,
}  # fmt: skip


@dataclass
class Logged:
    """What a stream was given, in seq order."""

    journal: Journal
    records: list[Record] = field(default_factory=list)

    @property
    def run_id(self) -> UUID:
        return self.journal.run.run_id

    @property
    def stream_id(self) -> UUID:
        return self.journal.stream.stream_id

    def log(self, step: int, values: dict[str, float], ts: int | None = None, **texts: str) -> None:
        at = START_NS + step * SECOND if ts is None else ts
        seq = log(self.journal, step, values, at, **texts)
        self.records.append(Record(seq, Kind.LOG, step, at, values, texts))

    def special(self, kind: Kind, step: int, values: dict[str, float], **texts: str) -> None:
        seq = log_special(self.journal, kind, step, values, **texts)
        self.records.append(Record(seq, kind, step, START_NS + step * SECOND, values, texts))


def write_long(log_dir: Path, clock: Ticking) -> Logged:
    run = make_run(
        name=HOSTILE, at_ns=clock(), tags=("b", "a"), notes="line\nline", group="g", job_type="train",
        config={"lr": 0.1, "total_steps": 9_000, "data": {"name": "two spirals"}},
        metrics={"odd": {"goal": "max", "step_metric": None}},
    )  # fmt: skip
    logged = Logged(open_journal(log_dir, run, clock, records_per_segment=1_000))
    specials = [math.nan, math.inf, -math.inf, -0.0, PAYLOAD_NAN, SIGNALLING_NAN, 5e-324, 1.7e308]
    for i in range(1, RECORDS + 1):
        values = {"train/loss": 1.0 / i, "epoch": float(i // 10)}
        if i % 50 == 0:
            values["val/loss"] = 2.0 / i
        if i % 40 == 0:
            values["odd"] = specials[i // 40 % len(specials)]
        if i % 1_000 == 0:
            values |= {HOSTILE: 1.0, "": 2.0, "é": 3.0, "z": 4.0}
        step = 3 if i == 1_500 else i  # a step that goes back is a point like any other
        logged.log(step, values, **({"remark": "ein Text", "big": "1" * 30} if i % 700 == 0 else {}))
    logged.special(Kind.SUMMARY, RECORDS, {"score": 0.75}, verdict="fine")
    logged.special(Kind.ALERT, RECORDS, {}, title="look", text="at this", level="WARN")
    logged.journal.close("done", 0)
    return logged


def write_grown(log_dir: Path, clock: Ticking) -> list[Logged]:
    """A run that failed and was resumed: two streams, with topologies."""
    run = make_run(name="grown", at_ns=clock())
    first = Logged(open_journal(log_dir, run, clock))
    first.log(1, {"loss": 2.0, "acc": 0.5})
    log_topology(first.journal, 2, {"input_size": 2, "output_size": 1, "hidden_units": []})
    first.log(3, {"loss": 1.5, "acc": 0.6})
    first.journal.close("failed", 7)
    clock.tick(60)
    second = Logged(open_journal(log_dir, run, clock, after=first.stream_id))
    second.log(3, {"loss": 1.6, "acc": 0.55, "late": 9.0})
    log_topology(second.journal, 4, TOPOLOGY)
    second.log(5, {"loss": 1.0, "acc": 0.8})
    second.journal.close("done", 0)
    return [first, second]


@dataclass
class World:
    """The log that every source shows. ``alive`` stays open."""

    log_dir: Path
    clock: Ticking
    long: Logged
    grown: list[Logged]
    named: Logged
    alive: Logged

    @property
    def streams(self) -> list[Logged]:
        return [self.long, *self.grown, self.named, self.alive]


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    log_dir = tmp_path_factory.mktemp("log")
    clock = Ticking()
    named_run = make_run(name="named", at_ns=clock())
    named_run = type(named_run)(run_uuid("spirals", "mine"), "spirals", "named", user_id="mine")
    named = Logged(open_journal(log_dir, named_run, clock))
    named.log(1, {"loss": 1.0})
    named.journal.close("failed", 1)
    clock.tick(60)
    long = write_long(log_dir, clock)
    clock.tick(8 * 24 * 3600)  # another week
    grown = write_grown(log_dir, clock)
    clock.tick(60)
    alive = Logged(open_journal(log_dir, make_run(name="alive", at_ns=clock()), clock))
    alive.log(1, {"loss": 3.0})
    alive.log(2, {"loss": 2.0})
    yield World(log_dir, clock, long, grown, named, alive)
    alive.journal.close("done", 0)


def told(store: CassandraStore, world: World) -> bool:
    """Whether the catalogue knows all that the log holds: a live stream is never said to be drained."""
    everything = {stream.run_id: 0 for stream in world.streams}
    for stream in world.streams:
        everything[stream.run_id] += stream.journal.last_seq
    rows = store.runs()
    ended = sum(row.state is not RunState.RUNNING for row in rows)
    return {row.run_id: row.records for row in rows} == everything and ended == 3


@pytest.fixture(scope="module", params=["local", "cassandra5", "cassandra41"])
def source(request: pytest.FixtureRequest, world: World) -> Iterator[Source]:
    if request.param == "local":
        local = LocalSource(world.log_dir, world.clock)
        yield local
        local.close()
        return
    node: Any = request.getfixturevalue(request.param)
    state = world.log_dir / "state.db"
    with fresh_keyspace(node) as settings:
        syncer = make_syncer(world.log_dir, settings)
        store = connect(target_of(settings))
        step_until(syncer, lambda outcome: outcome.waiting == 0 and told(store, world))
        yield store
        store.close(wait=True)
        syncer.close()
    for path in state.parent.glob("state.db*"):  # the next server knows nothing of this one's
        path.unlink()


# -- the list ---------------------------------------------------------------------------------------


def test_runs_come_newest_first_and_once_each(source: Source, world: World) -> None:
    rows = source.runs()
    assert [row.name for row in rows] == ["alive", "grown", HOSTILE, "named"]
    assert [row.state for row in rows] == [RunState.RUNNING, RunState.DONE, RunState.DONE, RunState.FAILED]
    assert [row.records for row in rows] == [2, 6, RECORDS + 2, 1]
    assert [row.streams for row in rows] == [1, 2, 1, 1]
    assert [row.run_id for row in source.runs(limit=2)] == [world.alive.run_id, world.grown[0].run_id]


def test_a_row_says_what_the_user_said(source: Source, world: World) -> None:
    row = next(row for row in source.runs() if row.run_id == world.long.run_id)
    assert (row.project, row.tags, row.notes, row.group, row.job_type) == (
        "spirals", ("b", "a"), "line\nline", "g", "train",
    )  # fmt: skip
    assert row.total_steps == 9_000
    assert row.host == world.long.journal.stream.host
    assert (row.started_ns, row.step) == (START_NS + 60 * SECOND, RECORDS)
    assert row.ended_ns == START_NS + 60 * SECOND
    assert row.last_ts_ns == world.long.records[-1].ts


def test_a_row_has_the_curve_of_its_main_metric(source: Source, world: World) -> None:
    row = next(row for row in source.runs() if row.run_id == world.long.run_id)
    metric = row.metrics["val/loss"]
    logged = [r.values["val/loss"] for r in world.long.records if "val/loss" in r.values]
    assert metric.goal == "min"
    assert metric.summary.n == len(logged)
    assert metric.best == (min(logged), RECORDS)
    assert sum(bucket.n for _, _, bucket in metric.summary.curve()) == len(logged)


# -- one run ----------------------------------------------------------------------------------------


def test_a_run_in_full(source: Source, world: World) -> None:
    detail = source.run(world.long.run_id)
    assert detail.row.name == HOSTILE
    assert detail.config == {"lr": 0.1, "total_steps": 9_000, "data": {"name": "two spirals"}}
    assert detail.summary == {"score": 0.75, "verdict": "fine"}
    [stream] = detail.streams
    assert (stream.stream_id, stream.rank, stream.state) == (world.long.stream_id, 0, RunState.DONE)
    assert (stream.exit_code, stream.records) == (0, RECORDS + 2)
    assert (stream.first_step, stream.last_step) == (1, RECORDS)
    assert stream.pid == world.long.journal.stream.pid


def test_the_metrics_of_a_run(source: Source, world: World) -> None:
    metrics = source.run(world.long.run_id).metrics
    assert set(metrics) == {"train/loss", "epoch", "val/loss", "odd", HOSTILE, "", "é", "z"}
    assert [metrics[name].goal for name in ("train/loss", "odd", "epoch")] == ["min", "max", None]
    odd = metrics["odd"].summary
    values = [record.values["odd"] for record in world.long.records if "odd" in record.values]
    assert odd.n == len(values)
    assert odd.n_nan == sum(map(math.isnan, values))
    assert (odd.n_pinf, odd.n_ninf) == (values.count(math.inf), values.count(-math.inf))
    assert metrics["odd"].best == (1.7e308, 7 * 40)


def test_the_streams_of_a_resumed_run_are_merged(source: Source, world: World) -> None:
    detail = source.run(world.grown[0].run_id)
    first, second = world.grown
    assert [stream.stream_id for stream in detail.streams] == [first.stream_id, second.stream_id]
    assert [stream.state for stream in detail.streams] == [RunState.FAILED, RunState.DONE]
    assert detail.streams[0].exit_code == 7
    assert detail.streams[1].after == first.stream_id
    assert detail.row.state is RunState.DONE
    assert set(detail.metrics) == {"loss", "acc", "late"}
    loss = detail.metrics["loss"]
    assert (loss.summary.n, loss.summary.last, loss.best) == (4, 1.0, (1.0, 5))
    assert detail.metrics["late"].order == 2


def test_a_users_own_id_and_a_live_run(source: Source, world: World) -> None:
    named = source.run(run_uuid("spirals", "mine"))
    assert (named.row.name, named.row.state, named.row.started_ns) == ("named", RunState.FAILED, START_NS)
    alive = source.run(world.alive.run_id)
    assert (alive.row.state, alive.row.ended_ns) == (RunState.RUNNING, None)
    assert alive.streams[0].state is RunState.RUNNING


# -- records and points -----------------------------------------------------------------------------


def test_records_are_equal_bit_for_bit(source: Source, world: World) -> None:
    records = source.records(world.long.run_id, world.long.stream_id)
    assert [record.seq for record in records] == list(range(1, RECORDS + 3))
    assert digest(records) == digest(world.long.records)
    for record, given in zip(records, world.long.records, strict=True):
        assert (record.kind, record.step, record.ts) == (given.kind, given.step, given.ts)
        assert dict(record.texts) == dict(given.texts)
        assert {n: struct.pack("<d", v) for n, v in record.values.items()} == {
            n: struct.pack("<d", v) for n, v in given.values.items()
        }
    assert source.run(world.long.run_id).row.records == len(records)


@pytest.mark.parametrize(
    ("after", "limit"), [(0, 1), (0, 1_500), (1_000, 24), (1_023, 2), (2_595, None), (9_999, 5)]
)
def test_records_after_a_seq(source: Source, world: World, after: int, limit: int | None) -> None:
    found = source.records(world.long.run_id, world.long.stream_id, after, limit)
    last = len(world.long.records) if limit is None else min(after + limit, len(world.long.records))
    assert [record.seq for record in found] == list(range(after + 1, last + 1))


@pytest.mark.parametrize("metric", ["train/loss", "val/loss", "odd", HOSTILE, "", "é"])
@pytest.mark.parametrize("after", [0, 1_023, 1_024, 2_590])
def test_points_of_a_metric(source: Source, world: World, metric: str, after: int) -> None:
    points = source.points(world.long.run_id, world.long.stream_id, metric, after)
    given = [
        record for record in world.long.records
        if record.kind is Kind.LOG and metric in record.values and record.seq > after
    ]  # fmt: skip
    assert points.seq.tolist() == [record.seq for record in given]
    assert points.step.tolist() == [record.step for record in given]
    assert points.ts.tolist() == [record.ts for record in given]
    expected = np.array([record.values[metric] for record in given], dtype=np.float64)
    assert points.value.tobytes() == expected.tobytes()
    assert [array.dtype for array in (points.seq, points.step, points.ts)] == [np.dtype(np.int64)] * 3


def test_a_metric_that_is_not_there_has_no_points(source: Source, world: World) -> None:
    assert len(source.points(world.long.run_id, world.long.stream_id, "nothing")) == 0
    assert len(source.points(world.long.run_id, world.long.stream_id, "score")) == 0  # only a summary has it


# -- topologies -------------------------------------------------------------------------------------


def test_topologies_newest_first(source: Source, world: World) -> None:
    rows = source.topologies(world.grown[0].run_id)
    assert [(row.stream_id, row.seq, row.step) for row in rows] == [
        (world.grown[1].stream_id, 2, 4), (world.grown[0].stream_id, 2, 2),
    ]  # fmt: skip
    assert [(row.input_size, row.output_size, row.hidden_units, row.parameters) for row in rows] == [
        (2, 1, 1, 7), (2, 1, 0, 0),
    ]  # fmt: skip
    assert source.topologies(world.long.run_id) in ([], ())


def test_the_body_of_a_topology(source: Source, world: World) -> None:
    run_id, stream_id = world.grown[1].run_id, world.grown[1].stream_id
    assert source.topology(run_id, stream_id, 2) == TOPOLOGY
    [record] = source.records(run_id, stream_id, 1, 1)
    assert record.kind is Kind.TOPOLOGY
    assert record.texts["topology"] == source.topologies(run_id)[0].digest


# -- what is not there ------------------------------------------------------------------------------


def test_what_is_not_there_raises_key_error(source: Source, world: World) -> None:
    run_id, stream_id = world.grown[0].run_id, world.grown[0].stream_id
    asked = [
        lambda: source.run(uuid4()),
        lambda: source.points(uuid4(), stream_id, "loss"),
        lambda: source.points(run_id, uuid4(), "loss"),
        lambda: source.records(uuid4(), stream_id),
        lambda: source.records(run_id, uuid4()),
        lambda: source.topologies(uuid4()),
        lambda: source.topology(uuid4(), stream_id, 2),
        lambda: source.topology(run_id, stream_id, 1),
        lambda: source.topology(run_id, stream_id, 99),
    ]
    for ask in asked:
        with pytest.raises(KeyError):
            ask()
