"""``canopy cassandra``, as a user types it."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result
from helpers.nodes import settings_for

from canopy_tui.cli.cassandra import command
from canopy_tui.cli.nodeprogress import ProgressLine
from wal.cassandra import jars, node
from wal.cassandra.noderecord import NodeRecord, process_identity, write_record
from wal.cassandra.server import Node


@pytest.fixture(autouse=True)
def _home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Directories of this test's own, and no settings file in the working directory."""
    for name in ("STATE", "DATA", "CONFIG"):
        monkeypatch.setenv(f"XDG_{name}_HOME", str(tmp_path / name.lower()))
    monkeypatch.chdir(tmp_path)


def run(*arguments: str) -> Result:
    return CliRunner().invoke(command, arguments)


def record(**changes: Any) -> NodeRecord:
    facts: dict[str, Any] = {
        "name": "default",
        "state": "up",
        "host": "127.0.0.1",
        "port": 9042,
        "version": "5.0",
        "data_dir": str(Path.cwd() / "node"),
        "log_file": str(Path.cwd() / "node" / "system.log"),
    }
    return NodeRecord(**(facts | changes))


@pytest.fixture
def managed(cassandra5: Node) -> Iterator[NodeRecord]:
    """The shared node, as if ``up`` had started it for this user; its keyspace goes at the end."""
    host, port = cassandra5.endpoint
    pid = cassandra5.pid
    running = record(
        host=host,
        port=port,
        pid=pid,
        identity=process_identity(pid),
        data_dir=str(cassandra5.spec.directory),
        log_file=str(cassandra5.spec.log_file),
        started_ns=time.time_ns() - 90 * 10**9,
    )
    write_record(running)
    yield running
    from wal.cassandra import schema
    from wal.cassandra.session import connect
    from wal.settings import Endpoint

    settings = settings_for(cassandra5)
    session = connect(Endpoint((host,), port, "managed", ""), settings)
    try:
        schema.drop(session, "mine")
    finally:
        session.close()


# -- a node that is up ---------------------------------------------------------------------------------


def test_up_finds_it_running_makes_the_tables_and_says_what_is_next(
    managed: NodeRecord, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CASCOR_CASSANDRA_KEYSPACE", "mine")
    result = run("up")
    assert result.exit_code == 0, result.output
    assert result.stdout.splitlines() == [
        f"Cassandra 5.0 is already up at {managed.label}.",
        "Its tables are in the keyspace mine.",
        "Every trainer, syncer and app of yours uses it from now on; no file to edit.",
        "Stop it: canopy cassandra down",
    ]
    assert run("schema").stdout == f"The tables in mine at {managed.label} are complete.\n"

    facts = json.loads(run("status", "--json").stdout)
    assert (facts["state"], facts["release"], facts["problem"]) == ("up", "5.0.5", None)
    assert "mine" in facts["keyspaces"]
    assert facts["memory_bytes"] > 100 * 2**20
    assert facts["disk_bytes"] > 0
    assert facts["uptime_ns"] >= 90 * 10**9

    shown = dict(line.split(maxsplit=1) for line in run("status").stdout.splitlines())
    assert (shown["state"], shown["listens"], shown["version"]) == ("up", managed.label, "5.0.5")


def test_up_does_not_pass_over_what_it_cannot_do(managed: NodeRecord) -> None:
    refused = run("up", "--version", "4.1")
    assert refused.exit_code == 1
    assert refused.stderr == (
        f"Error: The node 'default' runs already, Cassandra 5.0 at {managed.label}: stop it before it is "
        "started otherwise, or use another --name.\n"
    )
    assert "runs already" in run("up", "--port", "1").stderr
    assert "not '6'" in run("up", "--version", "6").stderr


def test_a_mistake_in_the_settings_is_said_before_a_node_is_started(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CASCOR_CASSANDRA_PROT", "9042")
    assert "did you mean CASCOR_CASSANDRA_PORT" in str(run("up").exception)
    assert node.managed() is None


def test_explicit_settings_stay_in_use(managed: NodeRecord, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CASCOR_CASSANDRA_KEYSPACE", "mine")
    monkeypatch.setenv("CASCOR_CASSANDRA_CONTACT_POINTS", "cassandra.example.org")
    result = run("up")
    assert result.exit_code == 0, result.output
    assert "name another Cassandra, and that one stays in use." in result.stdout


def test_up_of_a_node_that_only_this_shell_names(
    managed: NodeRecord, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What it prints is true in any other shell as well, where CANOPY_NODE is not set."""
    monkeypatch.setenv("CASCOR_CASSANDRA_KEYSPACE", "mine")
    monkeypatch.setenv("CANOPY_NODE", "other")
    write_record(replace(managed, name="other"))
    assert run("up").stdout.splitlines()[-2:] == [
        "What runs with CANOPY_NODE=other uses it from now on.",
        "Stop it: canopy cassandra down --name other",
    ]


def test_logs(managed: NodeRecord) -> None:
    lines = run("logs", "-n", "3").stdout.splitlines()
    assert lines == Path(managed.log_file).read_text().splitlines()[-3:]


# -- a node that is not up -----------------------------------------------------------------------------


def test_without_a_node() -> None:
    result = run("status")
    assert (result.exit_code, result.stdout) == (1, "No node 'default': canopy cassandra up\n")
    result = run("status", "--json", "--name", "other")
    assert (result.exit_code, json.loads(result.stdout)) == (1, {"name": "other", "state": "none"})
    assert run("down", "--name", "other").stdout == (
        "There is no node 'other': canopy cassandra up --name other\n"
    )
    result = run("logs")
    assert result.exit_code == 1
    assert result.stderr == "Error: The node 'default' has no log yet: canopy cassandra up\n"
    result = run("schema")
    assert result.exit_code == 1
    assert "start one with 'canopy cassandra up'" in result.stderr


def test_a_node_that_is_stopped_is_named_where_a_cassandra_is_asked_for() -> None:
    write_record(record(state="down", detail="killed"))
    assert run("schema").stderr == (
        "Error: The managed node is stopped (killed). Start it with: canopy cassandra up\n"
    )


def test_a_node_that_failed() -> None:
    write_record(record(state="failed", detail="memory ran out"))
    result = run("status")
    assert result.exit_code == 1
    assert "state      failed (memory ran out)\n" in result.stdout
    assert run("down").stdout == "The node 'default' is not running.\n"


def test_the_node_of_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CANOPY_NODE", "mine")
    assert run("status").stdout == "No node 'mine': canopy cassandra up --name mine\n"
    assert run("status", "--name", "default").stdout == (
        "No node 'default': canopy cassandra up --name default\n"
    )
    monkeypatch.setenv("CANOPY_NODE", "none")
    result = run("up")
    assert result.exit_code == 1
    assert result.stderr == "Error: CANOPY_NODE=none switches managed nodes off: unset it, or use --name.\n"


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["--version", "3.11"], "Canopy starts Cassandra 5.0 or 4.1, not '3.11'."),
        (["--name", "../x"], "'../x' cannot name a node"),
    ],
)
def test_up_refuses(arguments: list[str], sentence: str) -> None:
    result = run("up", *arguments)
    assert result.exit_code == 1
    assert result.stderr.startswith(f"Error: {sentence}")
    assert len(result.stderr.splitlines()) == 1


# -- real starts ---------------------------------------------------------------------------------------


def canopy(*arguments: str) -> subprocess.Popen[str]:
    environment = os.environ | {"PYTHONPATH": str(Path(__file__).parents[2])}
    return subprocess.Popen(
        [sys.executable, "-m", "canopy_tui", "cassandra", *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=environment,
    )


def until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < deadline, "the condition did not come true"
        time.sleep(0.05)


def state() -> str:
    found = node.managed()
    return found.state if found else ""


@pytest.mark.cassandra
def test_up_follow_the_log_and_down() -> None:
    jars.fetch("4.1")  # what a download prints is another test's
    try:
        with canopy("up", "--version", "4.1") as up:
            out, err = up.communicate(timeout=120)
        assert up.returncode == 0, err
        assert err == "Cassandra 4.1 starting\n"
        assert out.startswith("Cassandra 4.1 is up at 127.0.0.1:")
        assert state() == "up"  # it outlives the command

        with canopy("logs", "-f", "-n", "1") as logs:
            lines: list[str] = []
            assert logs.stdout is not None
            reading = threading.Thread(target=lines.extend, args=(logs.stdout,), daemon=True)
            reading.start()
            until(lambda: bool(lines))
            down = run("down")
            until(lambda: any("Stop listening for CQL clients" in line for line in lines))
            logs.send_signal(signal.SIGINT)
            reading.join(timeout=30)
            _, err = logs.communicate(timeout=30)
        assert (logs.returncode, err) == (0, "")
        assert down.stdout.startswith("Cassandra 4.1 is down; its data stays in ")
    finally:
        node.down()
    assert state() == "down"


@pytest.mark.cassandra
def test_an_interrupted_start_leaves_no_process() -> None:
    with canopy("up") as up:
        until(lambda: state() == "starting")
        starting = node.managed()
        assert starting is not None
        up.send_signal(signal.SIGINT)
        _, err = up.communicate(timeout=60)
    assert up.returncode == 130
    assert err.endswith("canopy: stopped\n")
    assert process_identity(starting.pid) is None
    stopped = node.managed()
    assert stopped is not None
    assert (stopped.state, stopped.detail) == ("failed", "its start was interrupted")


# -- the progress line ---------------------------------------------------------------------------------


def show(*seen: NodeRecord) -> None:
    with ProgressLine() as line:
        for each in seen:
            line.show(each)


def download(done: int) -> NodeRecord:
    detail = f"{done}/60 MB"
    return record(state="downloading", detail=detail, done_bytes=done * 10**6, total_bytes=60 * 10**6)


def test_progress_on_a_terminal(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    monkeypatch.setenv("LC_ALL", "C.UTF-8")
    show(download(30), record(state="starting", detail="9 s"), record())
    drawn = capsys.readouterr().err.split("\r\x1b[K")
    assert drawn[1] == f"Cassandra 5.0 {'━' * 12}{'─' * 12} 30/60 MB"
    assert drawn[2] == "Cassandra 5.0 starting 9 s"
    assert drawn[-1] == ""


def test_progress_in_a_pipe(capsys: pytest.CaptureFixture[str]) -> None:
    starting = [record(state="starting", detail=f"{second} s") for second in range(5)]
    show(*(download(done) for done in range(1, 61)), *starting, record())
    assert capsys.readouterr().err.splitlines() == [
        "Cassandra 5.0 downloading 1/60 MB",
        "Cassandra 5.0 downloading 16/60 MB",
        "Cassandra 5.0 downloading 31/60 MB",
        "Cassandra 5.0 downloading 46/60 MB",
        "Cassandra 5.0 starting",
    ]
