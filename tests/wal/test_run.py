"""A run: its configuration, its summary, its start, its lines at both ends."""

from __future__ import annotations

import argparse
import math
import os
import sqlite3
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple
from uuid import UUID

import numpy as np
import pytest
from helpers.logs import START_NS, Ticking
from helpers.trainer import run_script
from helpers.waiting import stream_records, streams_in

import wal
from wal.journal import SegmentMeta, read_meta, segment_paths
from wal.record import Kind, Record, run_uuid, unpack_topology, uuid7
from wal.run import Run, exit_code_of
from wal.segments import notice
from wal.segments.plain import clean
from wal.segments.segment import read_rows
from wal.summary import MetricSummary
from wal.training.config import config_dict
from wal.training.current import start_run
from wal.training.naming import default_project, next_number, rank_of, script_stem
from wal.training.report import closing_lines, delivered_records, opening_line, short_id, sparkline
from wal.training.starting import Wishes


@pytest.fixture(autouse=True)
def _warn_anew() -> None:
    notice.forget()


@pytest.fixture
def run(tmp_path: Path) -> Iterator[Run]:
    run = start_run(tmp_path, Wishes(project="p", name="n"))
    yield run
    run.finish()


def directory(run: Run) -> Path:
    return run.log_dir / str(run.run_id) / str(run.stream_id)


def meta_of(run: Run) -> SegmentMeta:
    """What the newest segment states."""
    metas = [meta for meta in map(read_meta, segment_paths(directory(run))) if meta is not None]
    return metas[-1]


def records_of(run: Run) -> list[Record]:
    return stream_records(directory(run))


# -- logging ----------------------------------------------------------------------------------------


def test_log_returns_the_seq_that_the_record_has(run: Run) -> None:
    assert [run.log({"loss": 1.0}), run.log({}), run.log({"loss": 2.0}, step=10), run.log({"a": 1})] == [
        1,
        None,
        2,
        3,
    ]
    assert [(record.seq, record.step) for record in records_of(run)] == [(1, 0), (2, 10), (3, 11)]
    assert run.step == 12


def test_repeated_and_backward_steps_are_kept(run: Run) -> None:
    for step in (5, 5, 3, None):
        run.log({"loss": 1.0}, step=step)
    assert [record.step for record in records_of(run)] == [5, 5, 3, 4]


def test_a_step_or_time_that_is_none_is_replaced_and_named(
    run: Run, capsys: pytest.CaptureFixture[str]
) -> None:
    run.log({"loss": 1.0}, step=4)
    run.log({"loss": 1.0}, step=2.5, ts="yesterday")  # type: ignore[arg-type]
    assert [record.step for record in records_of(run)] == [4, 5]
    said = capsys.readouterr().err
    assert "whole numbers as steps" in said
    assert "nanoseconds since the epoch" in said


def test_a_given_time_is_kept(run: Run) -> None:
    run.log({"loss": 1.0}, ts=START_NS)
    assert records_of(run)[0].ts == START_NS


class Exploding(dict[str, float]):
    def items(self) -> Any:
        raise RuntimeError("no")


def test_log_never_raises(run: Run, capsys: pytest.CaptureFixture[str]) -> None:
    assert run.log(Exploding(a=1.0)) is None
    assert run.log_topology(Exploding(a=1.0)) is None
    assert run.log_topology([1]) is None  # type: ignore[arg-type]
    assert "failed" in capsys.readouterr().err
    assert run.log({"loss": 1.0}) == 1


def test_a_topology_is_kept_whole_whatever_its_weights_are_made_of(run: Run) -> None:
    run.log({"loss": 1.0}, step=9)
    weights = np.array([[0.1, -2.0], [math.inf, math.nan]])
    seq = run.log_topology({"units": 2, "weights": weights, "bias": np.float32(0.5), "kind": ("a", None)})
    assert seq == 2
    row = read_rows(segment_paths(directory(run))[0], 1).rows[0]
    assert (row[1], row[3]) == (Kind.TOPOLOGY, 9)
    assert unpack_topology(row[5]) == {
        "units": 2, "weights": [[0.1, -2.0], ["inf", "nan"]], "bias": 0.5, "kind": ["a", None],
    }  # fmt: skip


def test_metrics_are_defined_with_a_goal_and_an_axis(run: Run, capsys: pytest.CaptureFixture[str]) -> None:
    run.define_metric("loss", goal="minimize")
    run.define_metric("acc", goal="max", step_metric="epoch")
    run.define_metric("f1", summary="max")
    run.define_metric("odd", goal="upwards")
    assert meta_of(run).run.metrics == {
        "loss": {"goal": "min", "step_metric": None},
        "acc": {"goal": "max", "step_metric": "epoch"},
        "f1": {"goal": "max", "step_metric": None},
        "odd": {"goal": None, "step_metric": None},
    }
    assert "'min' and 'max', not 'upwards'" in capsys.readouterr().err


def test_a_disabled_run_does_nothing_at_all(tmp_path: Path) -> None:
    run = start_run(tmp_path / "log", Wishes(project="p", config={"lr": 1}), mode="disabled")
    assert run.log({"loss": 1.0}) is None
    assert run.log_topology({}) is None
    run.summary["best"] = 1
    run.config.lr = 2
    run.define_metric("loss", goal="min")
    assert run.flush()
    run.finish()
    assert (run.config.lr, run.summary["best"], run.stream_id) == (2, 1, None)
    assert not (tmp_path / "log").exists()


def test_after_finish_nothing_is_kept(run: Run, capsys: pytest.CaptureFixture[str]) -> None:
    run.log({"loss": 1.0})
    run.finish()
    assert run.log({"loss": 2.0}) is None
    run.config.lr = 1
    run.summary["best"] = 1
    run.finish(exit_code=1)
    end = meta_of(run).end
    assert end is not None
    assert (end.state, end.last_seq) == ("done", 1)
    assert capsys.readouterr().err.count("log() after finish()") == 1


# -- configuration and summary ----------------------------------------------------------------------


@dataclass
class Model:
    depth: int
    sizes: tuple[int, ...]


class Pair(NamedTuple):
    a: int
    b: str


class Pydantic:
    """What a pydantic model has that matters here."""

    def model_dump(self) -> dict[str, object]:
        return {"lr": 0.1, "nested": {"x": 1}}


@pytest.mark.parametrize(
    ("config", "stored"),
    [
        (None, {}),
        ({"lr": 0.1, 5: "five"}, {"lr": 0.1, "5": "five"}),
        (argparse.Namespace(lr=0.1, sizes=[1, 2]), {"lr": 0.1, "sizes": [1, 2]}),
        (Model(3, (4, 5)), {"depth": 3, "sizes": [4, 5]}),
        (Pydantic(), {"lr": 0.1, "nested": {"x": 1}}),
        (Pair(1, "x"), {"a": 1, "b": "x"}),
        ({"model": Model(3, (4,))}, {"model": {"depth": 3, "sizes": [4]}}),
        ({"pair": Pair(1, "x")}, {"pair": {"a": 1, "b": "x"}}),
    ],
)  # fmt: skip
def test_every_kind_of_configuration_is_stored(tmp_path: Path, config: object, stored: object) -> None:
    run = start_run(tmp_path, Wishes(project="p", name="n", config=config_dict(config)))
    assert meta_of(run).run.config == stored
    run.finish()


def test_values_come_back_as_they_were_set_and_are_stored_as_json(run: Run) -> None:
    where = Path("/data")
    run.config.update({"path": where, "limit": math.inf, "seed": np.int64(3), "names": {"b"}, "big": 1 << 80})
    assert run.config.path is where
    assert run.config["limit"] == math.inf
    assert meta_of(run).run.config == {
        "path": "/data", "limit": "inf", "seed": 3, "names": ["b"], "big": str(1 << 80),
    }  # fmt: skip


def test_changes_of_the_configuration_are_kept_by_every_way_of_making_them(run: Run) -> None:
    run.config.lr = 0.1
    run.config["layers"] = [1]
    run.config.update(argparse.Namespace(a=1), b=2)
    run.config.setdefaults({"a": 5, "c": 3})
    del run.config["b"]
    assert meta_of(run).run.config == {"lr": 0.1, "layers": [1], "a": 1, "c": 3}
    run.config.layers.append(2)  # inside a value: noticed at the end
    run.finish()
    assert meta_of(run).run.config["layers"] == [1, 2]
    with pytest.raises(AttributeError, match="no 'absent'"):
        _ = run.config.absent
    with pytest.raises(KeyError):
        _ = run.config["absent"]


def test_nothing_can_be_a_configuration_that_plain_does_not_survive() -> None:
    class Hostile:
        def __str__(self) -> str:
            raise RuntimeError("no")

    itself: dict[str, Any] = {}
    itself["self"] = itself
    assert clean(Hostile()) == "<Hostile>"
    assert isinstance(clean(itself), dict)
    assert clean({"\ud800": "\ud800"}) == {"\ufffd": "\ufffd"}
    assert clean(np.zeros((2000, 2000))) == str(np.zeros((2000, 2000)))


def test_a_summary_is_a_dictionary_whose_changes_are_records(run: Run) -> None:
    run.summary["best"] = 0.9
    run.summary.update({"a": {"b": 1}, "note": "x"}, c=2)
    assert run.summary["best"] == 0.9
    assert dict(run.summary) == {"best": 0.9, "a": {"b": 1}, "note": "x", "c": 2}
    records = records_of(run)
    assert [record.kind for record in records] == [Kind.SUMMARY, Kind.SUMMARY]
    assert (records[1].values, records[1].texts) == ({"a/b": 1.0, "c": 2.0}, {"note": "x"})


# -- starting ---------------------------------------------------------------------------------------


def test_a_run_with_an_id_is_gone_on_with(tmp_path: Path) -> None:
    wishes = Wishes(project="p", name="first", user_id="exp 1", config={"lr": 0.1, "a": 1}, tags=("x",))
    first = start_run(tmp_path, wishes)
    assert (first.id, first.run_id, first.resumed) == ("exp 1", run_uuid("p", "exp 1"), False)
    for _ in range(5):
        first.log({"loss": 1.0})
    first.finish()
    second = start_run(tmp_path, Wishes(project="p", user_id="exp 1", config={"lr": 0.2}, resume="must"))
    assert (second.name, second.resumed, second.step) == ("first", True, 5)
    assert dict(second.config) == {"lr": 0.2, "a": 1}
    assert second.log({"loss": 0.5}) == 1
    meta = meta_of(second)
    assert meta.run.run_id == first.run_id
    assert meta.stream.after == first.stream_id
    assert meta.run.version > meta_of(first).run.version
    assert meta.run.tags == ("x",)
    assert records_of(second)[0].step == 5
    second.finish()


def test_a_live_run_is_joined_and_not_superseded(tmp_path: Path) -> None:
    first = start_run(tmp_path, Wishes(project="p", user_id="x"))
    second = start_run(tmp_path, Wishes(project="p", user_id="x"))
    assert meta_of(second).stream.after is None
    assert not second.resumed
    first.finish()
    second.finish()


@pytest.mark.parametrize(
    ("exists", "resume", "said"),
    [
        (True, "never", "the run 'x' exists in .* already: pass resume='allow'"),
        (False, "must", "there is no run 'x' in .* to go on with"),
    ],
)
def test_a_resume_that_cannot_be_is_one_sentence(
    tmp_path: Path, exists: bool, resume: str, said: str
) -> None:
    if exists:
        start_run(tmp_path, Wishes(project="p", user_id="x")).finish()
    with pytest.raises(wal.LogError, match=said):
        start_run(tmp_path, Wishes(project="p", user_id="x", resume=resume))


def test_auto_goes_on_with_a_run_that_failed_and_not_with_one_that_is_done(tmp_path: Path) -> None:
    wishes = Wishes(project="p", name="n", resume="auto")
    first = start_run(tmp_path, wishes)
    first.log({"loss": 1.0})
    first.finish(exit_code=1)
    second = start_run(tmp_path, wishes)
    assert (second.run_id, second.resumed) == (first.run_id, True)
    second.finish()
    third = start_run(tmp_path, wishes)
    assert third.run_id != first.run_id
    third.finish()


@pytest.mark.parametrize(
    ("wish", "said"),
    [
        ({"mode": "shared"}, "mode='shared' is not known: use one of online, offline, disabled"),
        ({"resume": "perhaps"}, "resume='perhaps' is not known"),
        ({"resume": "must"}, "resume='must' needs the id"),
        ({"config": 3}, "config is a int: pass a dictionary"),
        ({"dir": "/proc/nothing"}, "the log directory /proc/nothing cannot be written .*: set CANOPY_DIR"),
    ],
)
def test_a_start_that_cannot_be_is_one_sentence(tmp_path: Path, wish: dict[str, Any], said: str) -> None:
    with pytest.raises(wal.LogError, match=said) as caught:
        wal.init(**{"dir": tmp_path, **wish})
    assert "\n" not in str(caught.value)


def test_a_sqlite_that_cannot_open_its_file_is_one_sentence(tmp_path: Path) -> None:
    def refuse(path: str, **how: object) -> sqlite3.Connection:
        raise sqlite3.OperationalError("unable to open database file")

    with pytest.raises(wal.LogError, match="cannot be written"):
        start_run(tmp_path, Wishes(project="p"), connect=refuse)


def test_times_and_ids_may_be_passed_in(tmp_path: Path) -> None:
    clock = Ticking()
    ids = iter([UUID(int=1), UUID(int=2)])
    wishes = Wishes(project="p", name="n")
    run = start_run(tmp_path, wishes, clock_ns=clock, new_id=lambda _: next(ids), host="lab")
    clock.tick(2)
    run.log({"loss": 1.0})
    clock.tick(3)
    run.finish()
    assert directory(run) == tmp_path / str(UUID(int=1)) / str(UUID(int=2))
    meta = meta_of(run)
    assert (meta.stream.host, meta.stream.started_ns) == ("lab", START_NS)
    assert records_of(run)[0].ts == START_NS + 2_000_000_000
    assert meta.end is not None
    assert meta.end.ended_ns == START_NS + 5_000_000_000


# -- names ------------------------------------------------------------------------------------------


def test_the_project_is_the_folder_of_the_git_root(tmp_path: Path) -> None:
    inside = tmp_path / "spirals" / "src" / "deep"
    inside.mkdir(parents=True)
    assert default_project({}, inside) == "deep"
    (tmp_path / "spirals" / ".git").write_text("gitdir: elsewhere")  # a worktree's is a file
    assert default_project({}, inside) == "spirals"
    assert default_project({"CANOPY_PROJECT": "mine"}, inside) == "mine"
    assert default_project({}, None) == "default"


@pytest.mark.parametrize(
    ("argument", "stem"),
    [
        ("train.py", "train"), ("/a/b/fit.model.py", "fit.model"), ("-c", "run"), ("", "run"), ("-m", "run"),
        ("/lab/train/__main__.py", "train"), ("/x/ipykernel_launcher.py", "notebook"),
    ],
)  # fmt: skip
def test_a_run_is_called_after_its_script(argument: str, stem: str) -> None:
    assert script_stem([argument]) == stem


def test_numbers_count_per_project_and_script(tmp_path: Path) -> None:
    assert [next_number(tmp_path, "p", "train") for _ in range(3)] == [1, 2, 3]
    assert next_number(tmp_path, "p", "eval") == 1
    assert next_number(tmp_path, "\ud800/../x", "train") == 1


NUMBER = """
import sys
from pathlib import Path
from wal.training.naming import next_number
print(*[next_number(Path(sys.argv[1]), "p", "train") for _ in range(200)])
"""


def test_processes_that_start_at_once_get_different_numbers(tmp_path: Path) -> None:
    from concurrent.futures import ThreadPoolExecutor

    with ThreadPoolExecutor(4) as pool:
        outputs = list(pool.map(lambda _: run_script(NUMBER, str(tmp_path)).stdout, range(4)))
    assert sorted(int(number) for output in outputs for number in output.split()) == list(range(1, 801))


def test_ranks() -> None:
    assert rank_of({}) == 0
    assert rank_of({"RANK": "3"}) == 3
    assert rank_of({"SLURM_PROCID": "2"}) == 2
    assert rank_of({"OMPI_COMM_WORLD_RANK": "1"}) == 1
    assert rank_of({"RANK": "none"}) == 0


# -- the lines at both ends -------------------------------------------------------------------------


def summary_of(values: list[float]) -> MetricSummary:
    summary = MetricSummary()
    for step, value in enumerate(values):
        summary.add(step, value)
    return summary


def test_the_opening_line_names_the_run_and_how_to_watch_it() -> None:
    run_id = uuid7(START_NS)
    line = opening_line("train-7", run_id, Path("/log"))
    assert line == f"canopy: train-7 ({short_id(run_id)}) → /log · watch: canopy show {short_id(run_id)}"
    assert str(run_id).endswith(short_id(run_id))
    assert "\x1b" not in opening_line("\x1b[31m", run_id, Path("/log"))


def test_the_closing_lines_count_records_and_draw_each_metric() -> None:
    summaries = {"loss": summary_of([10 * 0.9**i for i in range(100)]), "nan": summary_of([1.0, math.nan])}
    lines = closing_lines("train-7", "done", 1204, 1000, summaries)
    assert lines[0] == "canopy: train-7 done · 1,204 records kept · 1,000 delivered · 204 waiting"
    assert lines[1].startswith("  loss  █")
    assert lines[1].endswith("▁  0.0002951")
    assert lines[2] == "  nan   ▁×  nan"


def test_a_loss_of_four_levels_shows_four() -> None:
    values = [10.0, 3.0, 1.0, 0.3, 0.29]
    assert len(set(sparkline(summary_of(values)))) >= 4, "positive values over a wide range are logarithmic"


@pytest.mark.parametrize(
    "values",
    [
        [],
        [math.nan],
        [math.inf, -math.inf],
        [1.0],
        [0.0, 0.0],
        [-1e308, 1e308],
        [5e-324, 1e308],
        [1.0] * 1000,
    ],
)
def test_any_summary_can_be_drawn(values: list[float]) -> None:
    assert len(sparkline(summary_of(values))) <= 24


def test_delivered_records_come_from_the_syncers_state(tmp_path: Path) -> None:
    stream = UUID(int=7)
    assert delivered_records(tmp_path, stream) == 0
    connection = sqlite3.connect(tmp_path / "state.db")
    connection.execute("CREATE TABLE cursor(stream TEXT, segment INTEGER, first_seq INTEGER, acked INTEGER)")
    rows = [(str(stream), 1, 1, 8000), (str(stream), 2, 8001, 8100), (str(UUID(int=8)), 1, 1, 5)]
    connection.executemany("INSERT INTO cursor VALUES (?, ?, ?, ?)", rows)
    connection.commit()
    connection.close()
    assert delivered_records(tmp_path, stream) == 8100
    (tmp_path / "state.db").write_bytes(os.urandom(5000))
    assert delivered_records(tmp_path, stream) == 0


LINES = "import wal; wal.init(project='p', name='train-7'); wal.log({'loss': 1.0}); wal.finish()"


def test_a_run_prints_its_lines_on_stderr_and_rank_0_only(tmp_path: Path) -> None:
    spoken = run_script(LINES, CANOPY_DIR=str(tmp_path), CANOPY_SILENT="0")
    opening, closing, metric = spoken.stderr.splitlines()
    short = short_id(UUID(streams_in(tmp_path)[0].parent.name))
    assert opening == f"canopy: train-7 ({short}) → {tmp_path} · watch: canopy show {short}"
    assert closing == "canopy: train-7 done · 1 records kept · 0 delivered · 1 waiting"
    assert metric == "  loss  ▁  1"
    assert spoken.stdout == ""
    for more in ({"CANOPY_SILENT": "1"}, {"CANOPY_SILENT": "0", "RANK": "1"}):
        assert run_script(LINES, CANOPY_DIR=str(tmp_path), **more).stderr == ""


def test_a_stderr_that_is_closed_is_no_reason_to_fail(tmp_path: Path) -> None:
    finished = run_script(
        f"import sys; sys.stderr.close(); {LINES}", CANOPY_DIR=str(tmp_path), CANOPY_SILENT="0"
    )
    assert finished.returncode == 0
    finished = run_script(
        f"import sys; sys.stderr = None; {LINES}", CANOPY_DIR=str(tmp_path), CANOPY_SILENT="0"
    )
    assert finished.returncode == 0


def test_exit_codes() -> None:
    errors = [
        None,
        ValueError(),
        KeyboardInterrupt(),
        SystemExit(),
        SystemExit(0),
        SystemExit(4),
        SystemExit("bad"),
    ]
    assert [exit_code_of(error) for error in errors] == [0, 1, 130, 0, 0, 4, 1]
