"""The syncer as a process: one per log directory, silent, and gone when there is nothing to be there for."""

from __future__ import annotations

import json
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from helpers.logs import log, make_run, open_journal, write_run
from helpers.scan import in_cassandra, in_log
from helpers.trainer import environment
from helpers.waiting import wait_until

from wal.reading.acks import Acks
from wal.settings import Settings
from wal.shipping import daemon

GONE_S = 5.0
COMMAND = [sys.executable, "-m", "wal.syncer", "--auto", "--cwd", "/"]


def alone(tmp_path: Path, **more: str) -> dict[str, str]:
    """Environment of a process that knows of no Cassandra."""
    state = str(tmp_path / "state")
    env = environment(CANOPY_NODE="none", XDG_STATE_HOME=state, XDG_CONFIG_HOME=state, **more)
    return {name: value for name, value in env.items() if name != "PYTEST_CURRENT_TEST"}


def shipping(tmp_path: Path, settings: Settings) -> dict[str, str]:
    return alone(
        tmp_path,
        CASCOR_CASSANDRA_CONTACT_POINTS=settings.contact_points[0],
        CASCOR_CASSANDRA_PORT=str(settings.port),
        CASCOR_CASSANDRA_KEYSPACE=settings.keyspace,
    )


def start(log_dir: Path, env: dict[str, str]) -> subprocess.Popen[bytes]:
    child = subprocess.Popen(
        [*COMMAND, "--log-dir", str(log_dir)], env=env, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
    )
    wait_until(lambda: daemon.holder(log_dir) is not None or child.poll() is not None)
    return child


def as_version(version: str) -> str:
    """The program of a background syncer of another version; its argument is the log directory."""
    return (
        "import sys; from wal.shipping import daemon, loop\n"
        f"daemon.version = lambda: {version!r}\n"
        "sys.exit(loop.main(['--auto', '--log-dir', sys.argv[1], '--cwd', '/']))"
    )


def canopy(env: dict[str, str], *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "canopy_tui", *arguments], env=env, capture_output=True, text=True, timeout=120
    )


def status(log_dir: Path) -> dict[str, object]:
    acks = Acks(log_dir)
    acks.poll()
    return dict(acks.status)


def test_it_ends_when_its_log_directory_is_gone(tmp_path: Path) -> None:
    log_dir = tmp_path / "log"
    write_run(log_dir, [{"x": 1.0}] * 5)
    child = start(log_dir, alone(tmp_path))
    wait_until(lambda: status(log_dir))
    began = time.monotonic()
    shutil.rmtree(log_dir)
    output, _ = child.communicate(timeout=60)
    assert time.monotonic() - began <= GONE_S
    assert (child.returncode, output) == (0, b"")
    assert not log_dir.exists()


def test_the_second_one_goes_without_a_word(tmp_path: Path) -> None:
    env = alone(tmp_path)
    first = start(tmp_path, env)
    second = subprocess.run([*COMMAND, "--log-dir", str(tmp_path)], env=env, capture_output=True, timeout=60)
    assert (second.returncode, second.stdout, second.stderr) == (0, b"", b"")
    assert daemon.holder(tmp_path) == first.pid
    watch = canopy(env, "sync", str(tmp_path), "--watch")
    assert watch.returncode == 1
    assert f"process {first.pid}" in watch.stderr
    assert daemon.stop(tmp_path)
    first.communicate(timeout=30)
    assert first.returncode == 0


def test_it_stops_when_asked_and_says_so_in_its_log_only(tmp_path: Path, keyspace5: Settings) -> None:
    log_dir = tmp_path / "log"
    journal = open_journal(log_dir, make_run(), clock_ns=time.time_ns)
    log(journal, 1, {"x": 1.0})
    env = shipping(tmp_path, keyspace5)
    child = start(log_dir, env)
    wait_until(lambda: status(log_dir).get("drained") and status(log_dir)["waiting"] == 0)
    log(journal, 2, {"x": 2.0})
    wait_until(lambda: len(in_cassandra(keyspace5).content) == 2)
    stopped = canopy(env, "sync", str(log_dir), "--stop")
    assert stopped.returncode == 0
    assert str(child.pid) in stopped.stdout
    output, _ = child.communicate(timeout=30)
    assert (child.returncode, output) == (0, b"")
    said = (log_dir / "syncer.log").read_text()
    assert f"Cassandra connection established: 127.0.0.1:{keyspace5.port}" in said
    assert f"Using keyspace: {keyspace5.keyspace}" in said
    assert "metrics to Cassandra" in said
    journal.close("done", 0)


def test_an_upgraded_version_takes_over(tmp_path: Path) -> None:
    env = alone(tmp_path)
    old = start(tmp_path, env)
    wait_until(lambda: status(tmp_path).get("pid") == old.pid)
    assert daemon.is_newer("0.10.0", "0.9.1")
    assert not daemon.is_newer("0.9.1", "0.9.1")
    assert daemon.running_version(tmp_path) == daemon.version()
    new = subprocess.Popen([sys.executable, "-c", as_version("999.0"), str(tmp_path)], env=env)
    old.communicate(timeout=30)
    assert old.returncode == 0
    wait_until(lambda: daemon.holder(tmp_path) == new.pid)
    wait_until(lambda: status(tmp_path).get("pid") == new.pid)  # it listens to signals by then
    new.send_signal(signal.SIGTERM)
    assert new.wait(timeout=30) == 0


@pytest.mark.parametrize(("replaceable", "version", "stays"), [
    (False, "999.0", True),  # a canopy sync --once
    (True, "0.0", True),
    (True, "999.0", False),
])  # fmt: skip
def test_one_that_comes_second_ends_nobody_but_an_older_one(
    tmp_path: Path, replaceable: bool, version: str, stays: bool
) -> None:
    """Though whoever came first has not written a status yet, nor listens to signals."""
    holding = (
        "import sys; from pathlib import Path; from wal.shipping import daemon\n"
        f"assert daemon.Lock(Path(sys.argv[1])).acquire(replaceable={replaceable})\n"
        "sys.stdin.read()"
    )
    env = alone(tmp_path)
    with subprocess.Popen(
        [sys.executable, "-c", holding, str(tmp_path)], env=env, stdin=subprocess.PIPE
    ) as first:
        wait_until(lambda: daemon.holder(tmp_path) == first.pid)
        second = subprocess.Popen([sys.executable, "-c", as_version(version), str(tmp_path)], env=env)
        if stays:
            assert second.wait(timeout=60) == 0
            assert first.poll() is None
        else:
            assert first.wait(timeout=60) == -signal.SIGTERM
            wait_until(lambda: daemon.holder(tmp_path) == second.pid)
            assert daemon.stop(tmp_path)
            second.wait(timeout=60)


@pytest.mark.parametrize("mode", ["online", "offline"])
def test_sync_once_leaves_a_syncer_to_a_trainer_that_wants_one(tmp_path: Path, mode: str) -> None:
    log_dir = tmp_path / "log"
    journal = open_journal(log_dir, mode=mode)
    log(journal, 1, {"x": 1.0})
    once = canopy(alone(tmp_path, CANOPY_SYNC="1"), "sync", str(log_dir), "--once")
    assert once.returncode == 2, once.stdout + once.stderr
    if mode == "online":
        wait_until(lambda: daemon.holder(log_dir) is not None)
        assert daemon.stop(log_dir)
    assert daemon.holder(log_dir) is None
    journal.close("done", 0)


def test_it_is_not_started_in_a_test_or_where_it_is_switched_off(tmp_path: Path) -> None:
    assert not daemon.ensure_running(tmp_path)
    assert not daemon.wanted({"CANOPY_SYNC": "0"})
    program = (
        "import sys; from pathlib import Path; from wal.shipping import daemon\n"
        "print(daemon.ensure_running(Path(sys.argv[1])))"
    )
    run = [sys.executable, "-c", program, str(tmp_path)]
    off = subprocess.run(run, env=alone(tmp_path, CANOPY_SYNC="0"), capture_output=True, text=True)
    assert off.stdout == "False\n"
    on = subprocess.run(run, env=alone(tmp_path, CANOPY_SYNC="1"), capture_output=True, text=True)
    assert on.stdout == "True\n"
    wait_until(lambda: daemon.holder(tmp_path))
    assert daemon.stop(tmp_path)


def test_sync_once_ships_and_says_what_it_did(tmp_path: Path, keyspace5: Settings) -> None:
    log_dir = tmp_path / "log"
    env = shipping(tmp_path, keyspace5)
    missing = canopy(env, "sync", str(log_dir), "--once")
    assert (missing.returncode, "not a directory" in missing.stderr) == (1, True)
    write_run(log_dir, [{"x": float(n)} for n in range(300)])
    journal = open_journal(log_dir, mode="offline")
    log(journal, 1, {"x": 1.0})
    journal.close("done", 0)

    nowhere = canopy(alone(tmp_path), "sync", str(log_dir), "--once")
    assert nowhere.returncode == 2
    assert "canopy cassandra up" in nowhere.stdout
    once = canopy(env, "sync", str(log_dir), "--once")
    assert once.returncode == 0, once.stdout + once.stderr
    assert once.stdout.startswith("301 records shipped")
    assert in_cassandra(keyspace5).content == in_log(log_dir)
    again = canopy(env, "sync", str(log_dir), "--once")
    assert (again.returncode, again.stdout.startswith("Nothing to ship")) == (0, True)

    shown = canopy(env, "sync", str(log_dir))
    assert "all 301 records delivered, none verified yet" in shown.stdout
    facts = json.loads(canopy(env, "status", str(log_dir), "--json").stdout)
    assert facts["syncer"]["pid"] is None
    assert facts["syncer"]["keyspace"] == keyspace5.keyspace
    assert (facts["totals"]["waiting"], facts["unlisted"], facts["streams"]) == (0, 2, [])
    assert "Using keyspace" in canopy(env, "sync", str(log_dir), "--log").stdout


def test_sync_once_waits_for_the_syncer_that_runs(tmp_path: Path, keyspace5: Settings) -> None:
    log_dir = tmp_path / "log"
    write_run(log_dir, [{"x": float(n)} for n in range(3000)])
    env = shipping(tmp_path, keyspace5)
    child = start(log_dir, env)
    once = canopy(env, "sync", str(log_dir), "--once")
    assert once.returncode == 0, once.stdout + once.stderr
    assert f"process {child.pid}" in once.stdout
    assert in_cassandra(keyspace5).content == in_log(log_dir)
    assert daemon.stop(log_dir)
    child.communicate(timeout=30)
