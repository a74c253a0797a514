"""The training path is the standard library only, installs alone, and runs where Linux's extras lack."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import venv
from pathlib import Path

import pytest
from helpers.trainer import ROOT, environment, run_script
from helpers.waiting import stream_records, streams_in, wait_until

from wal.cassandra.handshake import free_port
from wal.journal import read_meta, segment_paths
from wal.reading.acks import Acks
from wal.shipping import daemon
from wal.training.filesystem import cost_of, file_system_of

USES = """
import sys, wal
run = wal.init(project="p", dir=sys.argv[1], config={"lr": 0.1})
run.define_metric("loss", goal="min")
for step in range(20):
    assert wal.log({"loss": 1.0 / (step + 1), "phase": "a"}) == step + 1
run.log_topology({"units": 3})
wal.summary["best"] = 0.05
assert run.flush()
wal.finish()
"""


def test_nothing_but_the_standard_library_is_imported(tmp_path: Path) -> None:
    script = USES + "import json; print(json.dumps(sorted(sys.modules)))"
    # -I -S: no site-packages, so that nothing but the standard library could be imported at all.
    isolated = f"import sys; sys.path.insert(0, {str(ROOT)!r}); " + script.lstrip()
    finished = subprocess.run(
        [sys.executable, "-I", "-S", "-c", isolated, str(tmp_path)],
        env=environment(), capture_output=True, text=True, timeout=60,
    )  # fmt: skip
    assert finished.returncode == 0, finished.stderr
    packages = {name.partition(".")[0] for name in json.loads(finished.stdout)}
    foreign = packages - set(sys.stdlib_module_names) - {"wal", "__main__", "__mp_main__"}
    assert foreign == set()
    assert "subprocess" not in packages, "nothing is started"
    (stream,) = streams_in(tmp_path)
    assert len(stream_records(stream)) == 22


LOGS_ON = """
import os, sys, time, wal
run = wal.init(project="p", dir=sys.argv[1])
for step in range(500):
    wal.log({"loss": 1.0 / (step + 1)})
forked = os.fork()
if forked:
    print(forked, flush=True)
while True:
    wal.log({"loss": 0.0})
    time.sleep(0.01)
"""


def open_sockets(pid: int) -> list[str]:
    """What ``/proc`` shows of a process, whatever kind the sockets are of."""
    found: list[str] = []
    for link in Path(f"/proc/{pid}/fd").iterdir():
        try:
            target = os.readlink(link)
        except FileNotFoundError:  # closed meanwhile
            continue
        if target.startswith("socket:"):
            found.append(target)
    return found


@pytest.mark.skipif(sys.platform != "linux", reason="/proc/PID/fd")
def test_a_trainer_owns_no_socket(tmp_path: Path) -> None:
    """Neither it nor what it forks, while the syncer that it started looks for a Cassandra."""
    env = environment(
        CANOPY_SYNC="1", CANOPY_NODE="none", CASCOR_CASSANDRA_CONTACT_POINTS="127.0.0.1",
        CASCOR_CASSANDRA_PORT=str(free_port("127.0.0.1", 0)), XDG_STATE_HOME=str(tmp_path),
        XDG_CONFIG_HOME=str(tmp_path),
    )  # fmt: skip
    del env["PYTEST_CURRENT_TEST"]  # with it no syncer is started
    log_dir, pids = tmp_path / "log", list[int]()
    trainer = subprocess.Popen(
        [sys.executable, "-c", LOGS_ON, str(log_dir)], env=env, stdout=subprocess.PIPE, text=True
    )
    try:
        assert trainer.stdout is not None
        pids = [int(trainer.stdout.readline()), trainer.pid]
        wait_until(lambda: status_of(log_dir).get("connection") == "offline")
        assert [open_sockets(pid) for pid in pids] == [[], []]
        with socket.socket():
            assert open_sockets(os.getpid())  # they would be seen
    finally:
        for pid in pids:
            os.kill(pid, signal.SIGKILL)
        trainer.kill()
        trainer.communicate()
        daemon.stop(log_dir)


def status_of(log_dir: Path) -> dict[str, object]:
    acks = Acks(log_dir)
    acks.poll()
    return dict(acks.status)


KILLED = """
import sys, time, wal
wal.init(project="p", dir=sys.argv[1])
for step in range(1000):
    seq = wal.log({"loss": 1.0 / (step + 1)})
print(seq, flush=True)
time.sleep(60)
"""


def test_it_installs_alone_into_an_empty_environment(tmp_path: Path) -> None:
    """No dependency at all: init, log, finish and a kill -9 work there, and nobody asks for a syncer."""
    venv.create(tmp_path / "venv", with_pip=True)  # its own pip: ours may have been made without one
    python = tmp_path / "venv" / "bin" / "python"
    pip = [str(python), "-m", "pip", "--disable-pip-version-check", "--quiet"]
    subprocess.run([*pip, "install", "--no-deps", str(ROOT)], check=True, timeout=300)
    clean = {key: value for key, value in environment(CANOPY_SYNC="1").items() if key != "PYTHONPATH"}
    finished = subprocess.run(
        [str(python), "-c", USES, str(tmp_path / "log")],
        cwd=tmp_path, env=clean, capture_output=True, text=True, timeout=60,
    )  # fmt: skip
    assert (finished.returncode, finished.stderr) == (0, "")
    (stream,) = streams_in(tmp_path / "log")
    meta = read_meta(segment_paths(stream)[-1])
    assert meta is not None
    assert meta.end is not None
    assert len(stream_records(stream)) == 22
    assert not (tmp_path / "log" / "syncer.lock").exists()

    command = [str(python), "-c", KILLED, str(tmp_path / "killed")]
    with subprocess.Popen(command, cwd=tmp_path, env=clean, stdout=subprocess.PIPE, text=True) as trainer:
        assert trainer.stdout is not None
        assert trainer.stdout.readline() == "1000\n"
        trainer.send_signal(signal.SIGKILL)
    (stream,) = streams_in(tmp_path / "killed")
    assert [record.seq for record in stream_records(stream)] == list(range(1, 1001))


HIDE = {
    "os.fdatasync": "import os; del os.fdatasync\n",
    "/proc": """
import os, pathlib
original = pathlib.Path.open
def no_proc(self, *how, **more):
    if str(self).startswith("/proc"):
        raise FileNotFoundError(2, "No such file or directory", str(self))
    return original(self, *how, **more)
pathlib.Path.open = no_proc
""",
    "RUSAGE_THREAD": "import resource; del resource.RUSAGE_THREAD\n",
    "ctypes": "import sys; sys.modules['ctypes'] = None\n",
}


@pytest.mark.parametrize("what", HIDE)
def test_it_works_without(tmp_path: Path, what: str) -> None:
    forked = """
import os
run = wal.init(dir=sys.argv[1])
if os.fork() == 0:
    assert run.log({"child": 1.0}) == 1
    sys.exit(0)
assert os.wait()[1] == 0
"""
    finished = run_script(HIDE[what] + USES + forked, str(tmp_path))
    assert finished.returncode == 0, finished.stderr
    assert sorted(len(stream_records(stream)) for stream in streams_in(tmp_path)) == [0, 1, 22]


def test_full_sync_is_used_where_a_platform_has_it(tmp_path: Path) -> None:
    """On macOS only F_FULLFSYNC reaches the medium; where a file system lacks it, fsync has to do."""
    script = """
import fcntl, os
fcntl.F_FULLFSYNC = 51
calls = []
original = fcntl.fcntl
def full(descriptor, command, *more):
    if command == 51:
        calls.append("full")
        raise OSError(22, "Invalid argument")
    return original(descriptor, command, *more)
fcntl.fcntl = full
fsync = os.fsync
os.fsync = lambda descriptor: (calls.append("fsync"), fsync(descriptor))[1]
"""
    finished = run_script(script + USES + "assert 'full' in calls and 'fsync' in calls", str(tmp_path))
    assert finished.returncode == 0, finished.stderr


def test_a_platform_without_posix_locks_gets_one_sentence() -> None:
    finished = run_script("import sys; sys.modules['fcntl'] = None; import wal")
    assert finished.returncode == 1
    assert finished.stderr == "canopy: this platform has no POSIX file locks; on Windows, use WSL\n"


def test_no_syncer_is_started_under_pytest(tmp_path: Path) -> None:
    more = {"CANOPY_SYNC": "1", "PYTEST_CURRENT_TEST": "a test"}
    finished = run_script(USES, str(tmp_path), **more)
    assert finished.returncode == 0, finished.stderr
    assert not (tmp_path / "syncer.lock").exists()


MOUNTS = """\
22 1 8:1 / / rw,relatime shared:1 - ext4 /dev/root rw
30 22 0:26 / /dev/shm rw - tmpfs tmpfs rw
31 22 0:40 / /home rw - nfs4 server:/home rw
32 31 8:2 / /home/ann/my\\040disk rw - xfs /dev/sdb1 rw
33 22 0:41 / /scratch rw - lustre mgs:/scratch rw
"""


@pytest.mark.parametrize(
    ("path", "kind", "said"),
    [
        ("/var/log", "ext4", None),
        ("/dev/shm/x", "tmpfs", "lost at a reboot"),
        ("/home/bob/.local", "nfs4", "network file system (nfs4)"),
        ("/home/ann/my disk/log", "xfs", None),
        ("/homestead", "ext4", None),
        ("/scratch/x", "lustre", "set CANOPY_DIR to a local disk"),
    ],
)
def test_a_file_system_that_costs_something_is_named(
    tmp_path: Path, path: str, kind: str, said: str | None
) -> None:
    mounts = tmp_path / "mountinfo"
    mounts.write_text(MOUNTS)
    assert file_system_of(Path(path), mounts) == kind
    cost = cost_of(Path(path), mounts)
    assert cost is None if said is None else cost is not None and said in cost


def test_without_mounts_nothing_is_said(tmp_path: Path) -> None:
    assert cost_of(Path("/home"), tmp_path / "absent") is None


def test_the_log_survives_the_end_of_an_interpreter_that_never_finishes_it(tmp_path: Path) -> None:
    """os._exit: no atexit, no seal; what was acknowledged is there and the stream looks crashed."""
    finished = run_script(KILLED.replace("time.sleep(60)", "import os; os._exit(3)"), str(tmp_path))
    assert finished.returncode == 3
    (stream,) = streams_in(tmp_path)
    wait_until(lambda: len(stream_records(stream)) == 1000)
    meta = read_meta(segment_paths(stream)[-1]) or read_meta(segment_paths(stream)[0])
    assert meta is not None
    assert meta.end is None
