"""The demo's trainers, its place and its plan, with real processes."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from helpers.waiting import DEADLINE_S, eventually

from canopy_tui.demo import afterwards
from canopy_tui.demo import crew as crew_module
from canopy_tui.demo.crew import Crew, DemoError
from canopy_tui.demo.place import KEYSPACE, NODE, OUTPUT, Place
from canopy_tui.demo.plan import LIVE, SHORT, Fate, Training
from canopy_tui.demo.train import Pace, parse
from wal.local import LocalSource
from wal.settings import load, resolve
from wal.source import RunDetail, RunState

TINY = ("--units", "3", "--pool", "4", "--output-epochs", "5", "--candidate-epochs", "6")
TINY_STEPS = 5 + 3 * 11


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return Place(tmp_path / "demo")


@pytest.fixture
def crew(place: Place) -> Crew:
    environment = {**place.environment(), "CANOPY_SYNC": "0"}
    return Crew(place.log_dir / OUTPUT, environment, "test")


def tiny(
    name: str, fate: Fate = Fate.FINISHES, at_unit: int = 0, *more: str, seconds: float = 0.0
) -> Training:
    return Training("tests", name, (*TINY, *more), fate, at_unit, seconds)


def details(place: Place) -> dict[str, RunDetail]:
    source = LocalSource(place.log_dir)
    try:
        return {row.name: source.run(row.run_id) for row in source.runs()}
    finally:
        source.close()


# -- trainers ---------------------------------------------------------------------------------------


def test_runs_end_as_planned(place: Place, crew: Crew, monkeypatch: pytest.MonkeyPatch) -> None:
    crew.run(
        [
            tiny("finishes"),
            tiny("fails", Fate.FAILS, 2),
            tiny("killed", Fate.IS_KILLED, 1),
            tiny("resumed", Fate.IS_RESUMED, 2),
        ],
        at_once=2,
    )
    runs = details(place)
    states = {name: (run.row.state, run.row.streams) for name, run in runs.items()}
    assert states == {
        "finishes": (RunState.DONE, 1),
        "fails": (RunState.FAILED, 1),
        "killed": (RunState.CRASHED, 1),
        "resumed": (RunState.DONE, 2),
    }
    assert runs["resumed"].row.step == runs["finishes"].row.step == TINY_STEPS
    assert runs["killed"].row.step < TINY_STEPS
    first, second = sorted(runs["resumed"].streams, key=lambda stream: stream.started_ns)
    assert second.after == first.stream_id


def test_a_trainer_logs_what_the_issue_asks_for(place: Place, crew: Crew) -> None:
    crew.run([tiny("one", Fate.FINISHES, 0, "--seed", "5", "--tags", "a", "b")], at_once=1)
    run = details(place)["one"]
    assert {"train/loss", "val/loss", "train/acc", "val/acc", "lr", "growth", "hidden_units"} <= set(
        run.metrics
    )
    assert {"candidate/best", *(f"candidate/{k:02}" for k in range(4))} <= set(run.metrics)
    assert run.row.total_steps == TINY_STEPS
    assert run.config["seed"] == 5
    assert run.config["dataset"] == "two-spirals"
    assert run.row.tags == ("a", "b")
    source = LocalSource(place.log_dir)
    stream = run.streams[0]
    phases = [record.texts.get("phase") for record in source.records(run.row.run_id, stream.stream_id)]
    topologies = source.topologies(run.row.run_id)
    source.close()
    assert set(phases) == {"output", "candidate", None}, "None: the three topologies"
    assert sorted(row.hidden_units for row in topologies) == [1, 2, 3]
    # 2 + k weights and a bias a unit; 2 + 3 output weights and a bias
    assert max(topologies, key=lambda row: row.seq).parameters >= (3 + 4 + 5) + 6


def test_a_trainer_that_ends_otherwise_is_named_with_its_last_words(crew: Crew) -> None:
    with pytest.raises(DemoError, match=r"'odd'.*exit code 2.*--no-such-option"):
        crew.run([tiny("odd", Fate.FINISHES, 0, "--no-such-option")], at_once=1)


def test_stopping_ends_every_trainer_and_starts_no_more(
    place: Place, crew: Crew, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(crew_module, "STOP_SECONDS", DEADLINE_S)
    crew.watchable([tiny("first", seconds=600.0), tiny("second", seconds=600.0)])
    runs = eventually(
        lambda: details(place), lambda runs: [run.row.records > 0 for run in runs.values()] == [True, True]
    )
    assert {run.row.state for run in runs.values()} == {RunState.RUNNING}
    crew.stop()
    ends = {name: (run.row.state, run.summary.get("stopped")) for name, run in details(place).items()}
    assert ends == dict.fromkeys(("first", "second"), (RunState.DONE, "on request"))
    crew.run([tiny("late")], at_once=1)
    assert "late" not in details(place)


def test_a_pace_has_due_times_of_its_own() -> None:
    now = 0.0
    slept: list[float] = []

    def sleep(seconds: float) -> None:
        nonlocal now
        slept.append(seconds)
        now += seconds

    pace = Pace(seconds=10.0, steps=10, clock=lambda: now, sleep=sleep)
    pace.wait()
    now += 2.5  # a slow step
    for _ in range(3):
        pace.wait()
    assert slept == pytest.approx([1.0, 0.5])
    unpaced = Pace(seconds=0.0, steps=10, clock=lambda: now, sleep=sleep)
    unpaced.wait()
    assert len(slept) == 2


def test_the_plan_shows_every_end_of_a_run() -> None:
    assert len(LIVE) == 3
    assert len(SHORT) == 9
    assert len({training.project for training in SHORT}) == 2
    fates = [training.fate for training in SHORT]
    assert [fates.count(fate) for fate in Fate] == [6, 1, 1, 1]
    assert len({training.name for training in (*LIVE, *SHORT)}) == 12
    for training in (*LIVE, *SHORT):
        parse(training.arguments)


# -- the place --------------------------------------------------------------------------------------


def test_a_managed_demo_never_sees_the_configured_cassandra(place: Place) -> None:
    users = {
        "HOME": "/nowhere",
        "CASCOR_CASSANDRA_ENABLED": "1",
        "CASCOR_CASSANDRA_CONTACT_POINTS": "db.example.com",
        "CASSANDRA_PASSWORD": "secret",
        "CANOPY_DIR": "/elsewhere",
        "CANOPY_SYNC": "0",
        "CANOPY_MAVEN_REPOSITORY": "https://example.com/maven",
    }
    with place.entered():
        environment = place.environment(users)
        settings = load(environment, cwd=Path(__file__).parents[2])
        assert not settings.explicit
        assert settings.keyspace == KEYSPACE
        assert resolve(settings, environment) is None, "its node is not there yet"
    assert environment["CANOPY_NODE"] == NODE
    assert environment["CANOPY_DIR"] == str(place.log_dir)
    assert environment["CANOPY_MAVEN_REPOSITORY"] == "https://example.com/maven"
    assert not {"CANOPY_SYNC", "CASSANDRA_PASSWORD"} & set(environment)


def test_a_configured_demo_uses_the_settings_but_for_the_keyspace(tmp_path: Path) -> None:
    place = Place(tmp_path / "demo", configured=True)
    users = {"CASCOR_CASSANDRA_CONTACT_POINTS": "db.example.com", "CASCOR_CASSANDRA_KEYSPACE": "theirs"}
    environment = place.environment(users)
    settings = load(environment, cwd=tmp_path)
    endpoint = resolve(settings, environment)
    assert endpoint is not None
    assert endpoint.contact_points == ("db.example.com",)
    assert settings.keyspace == KEYSPACE


def test_inside_the_place_the_environment_is_the_demos(place: Place) -> None:
    before = dict(os.environ)
    with place.entered() as environment:
        assert dict(os.environ) == environment
        assert os.environ["CANOPY_DIR"] == str(place.log_dir)
    assert dict(os.environ) == before


def test_two_demos_do_not_run_in_one_place(place: Place) -> None:
    script = (
        "import sys, pathlib\n"
        "from canopy_tui.demo.place import Place\n"
        "with Place(pathlib.Path(sys.argv[1])).entered(): print('in', flush=True); sys.stdin.read()\n"
    )
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}
    with subprocess.Popen(
        [sys.executable, "-c", script, str(place.log_dir)],
        env=environment,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as other:
        assert other.stdout is not None
        assert other.stdout.readline() == "in\n"
        with pytest.raises(DemoError, match="another canopy demo is running"), place.entered():
            pass
        other.send_signal(signal.SIGKILL)
    with place.entered():
        pass


def test_removing_the_place_leaves_nothing(place: Place) -> None:
    with place.entered():
        (place.log_dir / "000001.db").write_bytes(b"x" * 10_000)
        assert place.bytes_used() >= 10_000
        place.remove()
        assert not place.log_dir.exists()


def test_a_second_demo_says_so_and_fails(tmp_path: Path) -> None:
    environment = {
        **os.environ,
        "XDG_STATE_HOME": str(tmp_path),
        "PYTHONPATH": str(Path(__file__).parents[2]),
    }
    with Place(tmp_path / "canopy" / "demo").entered():
        for arguments in ([], ["--clean"]):
            ended = subprocess.run(
                [sys.executable, "-m", "canopy_tui", "demo", *arguments],
                env=environment,
                stdin=subprocess.DEVNULL,
                capture_output=True,
                text=True,
                check=False,
            )
            assert ended.returncode == 1
            assert ended.stderr == "Error: another canopy demo is running: quit it first.\n"


def test_clean_ends_what_was_kept_and_removes_it(tmp_path: Path) -> None:
    place = Place(tmp_path / "canopy" / "demo")
    environment = {**place.environment(), "XDG_STATE_HOME": str(tmp_path), "CANOPY_SYNC": "0"}
    environment["PYTHONPATH"] = str(Path(__file__).parents[2])
    kept = Crew(place.log_dir / OUTPUT, environment, "test")
    kept.watchable([tiny("kept", seconds=600.0)])
    eventually(lambda: details(place))
    ended = subprocess.run(
        [sys.executable, "-m", "canopy_tui", "demo", "--clean"],
        env=environment,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )
    assert ended.returncode == 0, ended.stderr
    assert ended.stdout.startswith(f"removed {place.log_dir} and the node 'demo'")
    assert not place.log_dir.exists()
    kept.stop()


def test_runs_that_were_kept_are_ended_in_order(
    place: Place, crew: Crew, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(afterwards, "STOP_SECONDS", DEADLINE_S)
    crew.watchable([tiny("kept", seconds=600.0)])
    eventually(lambda: details(place), lambda runs: [run.row.records > 0 for run in runs.values()] == [True])
    afterwards.stop_trainers(place.log_dir)
    assert details(place)["kept"].row.state is RunState.DONE
    crew.stop()  # its parent hears of the end


def test_a_configured_demo_needs_a_configured_cassandra(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    place = Place(tmp_path / "demo", configured=True)
    with pytest.raises(DemoError, match="no Cassandra is configured: name yours"), place.entered():
        pass
    assert not place.log_dir.exists()
