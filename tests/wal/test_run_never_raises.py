"""What no disk and no reader could take is left out or bounded; training never hears of it."""

from __future__ import annotations

import datetime
from collections.abc import Iterator
from pathlib import Path

import pytest
from helpers.trainer import run_script
from helpers.waiting import stream_records, streams_in

import wal
from wal.record import MAX_TOPOLOGY_BYTES
from wal.run import Run


@pytest.fixture
def run(tmp_path: Path) -> Iterator[Run]:
    run = wal.init(project="p", dir=tmp_path)
    yield run
    run.finish()


def test_a_time_that_sqlite_cannot_hold_is_now(run: Run) -> None:
    after_2262 = datetime.datetime(9999, 1, 1, tzinfo=datetime.UTC)
    assert run.log({"loss": 1.0}, ts=after_2262) == 1  # type: ignore[arg-type]
    assert run.log({"loss": 1.0}) == 2


def test_the_largest_step_is_not_passed(run: Run, tmp_path: Path) -> None:
    largest = (1 << 63) - 1
    assert run.log({"loss": 1.0}, step=largest) == 1
    assert run.log({"loss": 1.0}) == 2
    assert run.alert("still here") == 3
    run.summary["best"] = 1.0
    run.finish()
    (stream,) = streams_in(tmp_path)
    assert [record.step for record in stream_records(stream)] == [largest] * 4


def test_a_goal_that_is_no_goal_is_named(run: Run, capsys: pytest.CaptureFixture[str]) -> None:
    run.define_metric("loss", goal=["min"])  # type: ignore[arg-type]
    assert "knows the goals 'min' and 'max'" in capsys.readouterr().err
    run.define_metric("loss", goal="min")


def test_a_topology_that_no_reader_would_unpack_is_not_kept(
    run: Run, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run.log_topology({"weights": "0" * MAX_TOPOLOGY_BYTES}) is None
    assert "too large to be kept" in capsys.readouterr().err
    assert run.log({"loss": 1.0}) == 1


def test_a_misspelt_variable_is_named_once_with_the_nearest(tmp_path: Path) -> None:
    script = """
import sys, wal
for name in ("one", "two"):
    wal.init(project="p", name=name, dir=sys.argv[1]).finish()
"""
    finished = run_script(
        script, str(tmp_path), CANOPY_PROJCT="mine", CANOPY_TEST_ANYTHING="1", CASCOR_DEMO_MODE="1"
    )
    assert (finished.returncode, finished.stdout) == (0, "")
    assert finished.stderr.splitlines() == [
        "canopy: the environment variable CANOPY_PROJCT is not known; did you mean CANOPY_PROJECT?"
    ]
