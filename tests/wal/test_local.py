"""The reading protocol answered from the log alone."""

from __future__ import annotations

import itertools
import math
import struct
from pathlib import Path

import numpy as np
import pytest
from helpers.logs import (
    SECOND,
    START_NS,
    Ticking,
    log,
    log_special,
    log_topology,
    make_run,
    open_journal,
    write_run,
)  # fmt: skip
from helpers.waiting import eventually
from hypothesis import given, settings
from hypothesis import strategies as st

from wal.local import LocalSource
from wal.reading.points import no_points, segment_points, summarise
from wal.reading.segmentindex import SegmentIndex
from wal.record import Kind, uuid7
from wal.segments.segment import segment_paths
from wal.source import Points
from wal.summary import MetricSummary

NAN_WITH_PAYLOAD = struct.unpack("<d", struct.pack("<Q", 0x7FF8_DEAD_BEEF_0001))[0]


def bits(values: object) -> list[int]:
    return np.asarray(values, dtype=np.float64).view(np.int64).tolist()


def test_points_over_segments_and_key_sets(tmp_path: Path) -> None:
    odd = {"b": 1.5}
    records = [{"a": float(step), "b": -float(step)} if step % 3 else odd for step in range(1, 101)]
    run_id, stream_id = write_run(tmp_path, records, records_per_segment=9)
    source = LocalSource(tmp_path)
    points = source.points(run_id, stream_id, "a")
    kept = [step for step in range(1, 101) if step % 3]
    assert points.seq.tolist() == points.step.tolist() == kept
    assert points.value.tolist() == kept
    assert points.ts.tolist() == [START_NS + step * SECOND for step in kept]
    assert len(source.points(run_id, stream_id, "b")) == 100
    assert len(source.points(run_id, stream_id, "none")) == 0
    later = source.points(run_id, stream_id, "b", after_seq=57)
    assert later.seq.tolist() == list(range(58, 101))
    assert later.value.tolist() == [record["b"] for record in records[57:]]


def test_values_keep_their_bits(tmp_path: Path) -> None:
    values = [NAN_WITH_PAYLOAD, math.nan, math.inf, -math.inf, -0.0, 0.0, 5e-324, 1.7976931348623157e308]
    run_id, stream_id = write_run(tmp_path, [{"x": value, "y": 1.0} for value in values])
    assert bits(LocalSource(tmp_path).points(run_id, stream_id, "x").value) == bits(values)


def test_steps_of_any_kind(tmp_path: Path) -> None:
    steps = [5, 5, -7, 2**63 - 1, -(2**63), 0, 10**6]
    journal = open_journal(tmp_path)
    for step in steps:
        log(journal, step, {"x": float(step)}, ts=START_NS - step % 7)
    journal.close()
    points = LocalSource(tmp_path).points(journal.run.run_id, journal.stream.stream_id, "x")
    assert points.step.tolist() == steps
    assert points.seq.tolist() == [1, 2, 3, 4, 5, 6, 7]
    assert points.ts.tolist() == [START_NS - step % 7 for step in steps]


@settings(max_examples=25, deadline=None)
@given(
    st.lists(
        st.tuples(
            st.sampled_from([("a",), ("b",), ("a", "b"), ("a", "z"), ("é", "a")]),
            st.integers(-(2**63), 2**63 - 1),
            st.lists(st.floats(width=64), min_size=2, max_size=2),
        ),
        min_size=1,
        max_size=40,
    ),
    st.integers(0, 45),
)
def test_segment_points_equals_reading_the_records(
    tmp_path_factory: pytest.TempPathFactory, calls: list, after: int
) -> None:
    journal = open_journal(tmp_path_factory.mktemp("log"))
    for names, step, values in calls:
        log(journal, step, dict(zip(names, values, strict=False)), ts=step // 2)
    journal.close()
    points = segment_points(journal.directory / "000001.db", "a", after)
    expected = [
        (seq, step, step // 2, dict(zip(names, values, strict=False))["a"])
        for seq, (names, step, values) in enumerate(calls, start=1)
        if "a" in names and seq > after
    ]
    found = zip(points.seq.tolist(), points.step.tolist(), points.ts.tolist(), strict=True)
    assert list(found) == [row[:3] for row in expected]
    assert bits(points.value) == bits([row[3] for row in expected])


@settings(max_examples=100, deadline=None)
@given(
    st.lists(
        st.tuples(
            st.integers(-300, 300) | st.integers(-(2**62), 2**62),
            st.floats(width=64) | st.floats(-3, 3),
        ),
        max_size=200,
    )
)
def test_a_summary_of_arrays_equals_adding_one_by_one(calls: list[tuple[int, float]]) -> None:
    one_by_one = MetricSummary()
    for step, value in calls:
        one_by_one.add(step, value)
    seq = np.arange(1, len(calls) + 1)
    step = np.array([step for step, _ in calls], dtype=np.int64)
    value = np.array([value for _, value in calls], dtype=np.float64)
    rising = all(a <= b for a, b in itertools.pairwise(step.tolist()))
    assert fields(summarise(Points(seq, step, seq, value)), rising) == fields(one_by_one, rising)


def fields(summary: MetricSummary, rising: bool) -> tuple:
    """All of a summary, -0.0 equal to 0.0 and all NaN alike; first and last only of steps that rise."""
    names = ["n", "n_nan", "n_pinf", "n_ninf", "min", "max", *(["first", "last"] if rising else [])]
    curve = [(low, high, [repr(getattr(b, n) + 0.0) for n in names]) for low, high, b in summary.curve()]
    numbers = [summary.last, summary.min, summary.max]
    return (
        summary.n, summary.n_nan, summary.n_pinf, summary.n_ninf, summary.first_step, summary.last_step,
        summary.min_step, summary.max_step, summary.shift, [repr(x + 0.0) for x in numbers], curve,
    )  # fmt: skip


def test_no_points_summarise_to_nothing() -> None:
    assert summarise(no_points()).n == 0


def test_run_records_and_summary(tmp_path: Path) -> None:
    journal = open_journal(tmp_path, make_run(config={"lr": 0.5}))
    log(journal, 1, {"loss": 1.0}, note="first")
    log_special(journal, Kind.SUMMARY, 1, {"best": 1.0, "count": float(2**60)}, count=str(2**60 + 1))
    log_special(journal, Kind.SUMMARY, 2, {"best": 0.5})
    log_special(journal, Kind.ALERT, 2, {}, title="look", text="here", level="warning")
    source = LocalSource(tmp_path)
    detail = source.run(journal.run.run_id)
    assert detail.config["lr"] == 0.5
    assert detail.summary == {"best": 0.5, "count": str(2**60 + 1)}
    assert list(detail.metrics) == ["loss"]
    records = source.records(journal.run.run_id, journal.stream.stream_id)
    assert [record.kind for record in records] == [Kind.LOG, Kind.SUMMARY, Kind.SUMMARY, Kind.ALERT]
    assert records[0].texts == {"note": "first"}
    assert [r.seq for r in source.records(journal.run.run_id, journal.stream.stream_id, 1, 2)] == [2, 3]
    log_special(journal, Kind.SUMMARY, 3, {"best": 0.25})
    assert source.run(journal.run.run_id).summary["best"] == 0.25
    journal.close()


def test_topologies(tmp_path: Path) -> None:
    unit = {"weights": [0.5, 0.25], "bias": 1.0, "correlation": 9.0}
    journal = open_journal(tmp_path)
    for units in range(3):
        log(journal, units, {"loss": 1.0})
        topology = {
            "input_size": 2, "output_size": 1, "hidden_units": [unit] * units, "output_weights": [[1.0]],
        }  # fmt: skip
        log_topology(journal, units, topology)
    source = LocalSource(tmp_path)
    rows = source.topologies(journal.run.run_id)
    assert [(row.seq, row.step, row.hidden_units, row.parameters) for row in rows] == [
        (6, 2, 2, 7), (4, 1, 1, 4), (2, 0, 0, 1),
    ]  # fmt: skip
    body = source.topology(journal.run.run_id, journal.stream.stream_id, 6)
    assert body["hidden_units"] == [unit] * 2
    for seq in (1, 99):
        with pytest.raises(KeyError):
            source.topology(journal.run.run_id, journal.stream.stream_id, seq)
    journal.close()


def test_what_is_not_there_is_a_key_error(tmp_path: Path) -> None:
    run_id, _ = write_run(tmp_path, [{"loss": 1.0}])
    source = LocalSource(tmp_path)
    with pytest.raises(KeyError):
        source.run(uuid7())
    with pytest.raises(KeyError):
        source.points(run_id, uuid7(), "loss")


def test_a_damaged_segment_leaves_the_rest_readable(tmp_path: Path) -> None:
    records = [{"loss": float(step)} for step in range(1, 31)]
    run_id, stream_id = write_run(tmp_path, records, records_per_segment=10)
    (tmp_path / str(run_id) / str(stream_id) / "000002.db").write_bytes(b"no database" * 500)
    source = LocalSource(tmp_path)
    assert source.points(run_id, stream_id, "loss").seq.tolist() == [*range(1, 11), *range(21, 31)]
    assert len(source.records(run_id, stream_id)) == 20


def test_the_pace_of_the_last_minute(tmp_path: Path) -> None:
    clock = Ticking()
    journal = open_journal(tmp_path, records_per_segment=50)
    assert LocalSource(tmp_path).recent(journal.run.run_id, journal.stream.stream_id) is None
    for step in range(1, 301):
        log(journal, 2 * step, {"loss": 1.0}, ts=clock())
        clock.tick(0.5)
    pace = LocalSource(tmp_path).recent(journal.run.run_id, journal.stream.stream_id)
    assert pace is not None
    assert (pace.seconds, pace.records, pace.steps, pace.last_seq) == (60.0, 120, 240, 300)
    whole = LocalSource(tmp_path).recent(journal.run.run_id, journal.stream.stream_id, 1e6)
    assert whole is not None
    assert (whole.first_seq, whole.last_seq) == (1, 300)
    journal.close()


def test_few_files_are_opened_to_find_one(tmp_path: Path) -> None:
    write_run(tmp_path, [{"x": float(step)} for step in range(1, 401)], records_per_segment=10)
    (stream,) = LocalSource(tmp_path).catalog.streams()
    paths = segment_paths(stream.directory)
    for damaged in (None, 13, 14):
        if damaged is not None:
            paths[damaged].write_bytes(b"not a database at all, " * 100)
        for seq in (1, 95, 131, 145, 200, 400):
            index = SegmentIndex(stream.directory)
            found = index.after(seq - 1, seq)
            assert len(found) <= 4
            assert len(index._first_seqs) <= 12
            assert damaged in ((seq - 1) // 10, 14) or paths[(seq - 1) // 10] in found
        assert index.after(0) == paths


def test_a_summary_is_found_look_by_look(tmp_path: Path) -> None:
    """A screen's looks spend little on it, and in the end have all of it."""
    journal = open_journal(tmp_path, records_per_segment=10)
    for step in range(1, 101):
        if step % 10 == 0:
            eventually(lambda: journal._next is not None)
        log(journal, step, {"x": 1.0})
        if step in (1, 55, 100):
            log_special(journal, Kind.SUMMARY, step, {f"at_{step}": float(step)})
    journal.close()
    source = LocalSource(tmp_path)
    streams = source.catalog.streams_of(journal.run.run_id)
    looks = [len(source.detail_of(streams, patience_s=0.0).summary) for _ in range(12)]
    assert looks[0] == 1
    assert looks == sorted(looks)
    assert looks[-1] == 3
    assert len(LocalSource(tmp_path).run(journal.run.run_id).summary) == 3
