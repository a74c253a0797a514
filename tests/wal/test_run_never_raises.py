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


WITHOUT_INIT = """
import os, sys, wal
if len(sys.argv) > 1:
    os.chdir(sys.argv[1])
    os.rmdir(sys.argv[1])
%s
assert wal.log({"loss": 1.0}) is None
assert wal.log_topology({"units": 3}) is None
assert wal.alert("title", "text") is None
wal.define_metric("loss", goal="min")
wal.config.lr = 0.1
wal.config.update({"epochs": 3})
assert (wal.config["lr"], wal.config.epochs, len(wal.config)) == (0.1, 3, 2)
wal.summary["best"] = 0.5
assert dict(wal.summary) == {"best": 0.5}
wal.finish()
"""


@pytest.mark.parametrize(
    "first",
    ["wal.log({'a': 1.0})", "wal.log_topology({})", "wal.alert('a')", "wal.define_metric('a')",
     "wal.config.lr = 1", "wal.summary['a'] = 1; del wal.summary['a']"],
)  # fmt: skip
def test_without_a_log_that_can_be_written_nothing_is_kept_and_that_is_said_once(first: str) -> None:
    finished = run_script(WITHOUT_INIT % first, CANOPY_DIR="/proc/nothing")
    assert (finished.returncode, finished.stdout) == (0, ""), finished.stderr
    (warning,) = finished.stderr.splitlines()
    assert warning.startswith("canopy: nothing is kept: the log directory /proc/nothing cannot be written")


@pytest.mark.parametrize("directory", ["~no-such-user/log", "relative"])
def test_a_log_directory_that_cannot_even_be_named_is_one_sentence_too(
    tmp_path: Path, directory: str
) -> None:
    deleted = tmp_path / "deleted"
    deleted.mkdir()
    finished = run_script(WITHOUT_INIT % "", str(deleted), CANOPY_DIR=directory)
    assert (finished.returncode, finished.stdout) == (0, ""), finished.stderr
    (warning,) = finished.stderr.splitlines()
    assert warning.startswith("canopy: nothing is kept: the log directory")
    assert "set CANOPY_DIR" in warning


def test_a_run_can_be_started_after_one_that_could_not(tmp_path: Path) -> None:
    script = """
import sys, wal
wal.log({"loss": 1.0})
wal.init(project="p", dir=sys.argv[1])
assert wal.log({"loss": 2.0}) == 1
"""
    finished = run_script(script, str(tmp_path), CANOPY_DIR="/proc/nothing")
    assert finished.returncode == 0, finished.stderr
    (stream,) = streams_in(tmp_path)
    assert [record.values for record in stream_records(stream)] == [{"loss": 2.0}]
