"""Forks without end while another thread logs and a third one makes and seals segments."""

from __future__ import annotations

from pathlib import Path

from helpers.trainer import run_script
from helpers.waiting import stream_records, streams_in
from wal.journal import Liveness, liveness, read_meta, segment_paths
from wal.record import Kind

LOGGING_CHILDREN = 50

_SCRIPT = """
import os, signal, sys, threading
from pathlib import Path
from wal.training.current import start_run
from wal.segments.meta import Limits
from wal.training.starting import Wishes

signal.alarm(110)  # a child that hangs inside SQLite is killed by it: its own is inherited as none
limits = Limits(records=30, tick_seconds=0.005)
run = start_run(Path(sys.argv[1]), Wishes(project="p", name="n"), limits=limits)
stop = threading.Event()
logged = 0

def train():
    global logged
    while not stop.is_set():
        assert run.log({"loss": 0.5, "step": logged}) is not None
        logged += 1

thread = threading.Thread(target=train)
thread.start()
for number in range(int(sys.argv[2])):
    child = os.fork()
    if child == 0:
        signal.alarm(30)
        if number % int(sys.argv[3]) == 0:
            assert run.log({"worker": number}) == 1
        os._exit(0)
    assert os.waitpid(child, 0)[1] == 0, number
stop.set()
thread.join()
run.finish()
print(logged)
"""


def fork_while_sealing(log_dir: Path, forks: int) -> None:
    """No child hangs, :data:`LOGGING_CHILDREN` of them log into streams of their own, and the parent's has no
    hole."""
    finished = run_script(_SCRIPT, str(log_dir), str(forks), str(forks // LOGGING_CHILDREN))
    assert finished.returncode == 0, finished.stderr
    logged, children = int(finished.stdout), 0
    for stream in streams_in(log_dir):
        paths, records = segment_paths(stream), stream_records(stream)
        first = read_meta(paths[0])
        assert first is not None
        if first.stream.parent is None:
            assert [record.seq for record in records] == list(range(1, logged + 1))
            assert len(paths) > 3, "it must have rotated meanwhile"
            continue
        children += 1
        assert [record.kind for record in records] == [Kind.LOG]
        assert first.end is None, "os._exit is a crash: nothing runs after it"
        assert liveness(stream, first.stream) is Liveness.DEAD
    assert children == LOGGING_CHILDREN
