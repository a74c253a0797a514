"""Every process that logs has a stream of its own: forks, workers, spawned children, ranks."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

from helpers.manyforks import fork_while_sealing
from helpers.trainer import environment, run_script
from helpers.waiting import stream_records, streams_in, wait_until

from wal.journal import Liveness, SegmentMeta, liveness, read_meta, segment_paths


def newest_meta(stream_dir: Path) -> SegmentMeta:
    metas = [meta for meta in map(read_meta, segment_paths(stream_dir)) if meta is not None]
    return metas[-1]


def split(log_dir: Path) -> tuple[Path, list[Path]]:
    """The stream of the process that called init, and those of the processes that it started."""
    streams = streams_in(log_dir)
    (main,) = [stream for stream in streams if newest_meta(stream).stream.parent is None]
    return main, [stream for stream in streams if stream != main]


def succeed(finished: subprocess.CompletedProcess[str]) -> str:
    assert finished.returncode == 0, finished.stderr
    return finished.stdout


FORK = """
import os, sys, wal
run = wal.init(project="p", dir=sys.argv[1])
for step in range(10):
    wal.log({"loss": step})
child = os.fork()
if child == 0:
    assert [wal.log({"worker": step}) for step in range(5)] == [1, 2, 3, 4, 5]
    sys.exit(0)
assert os.waitpid(child, 0)[1] == 0
assert [wal.log({"loss": step}) for step in range(10)] == list(range(11, 21))
wal.finish()
"""


def test_a_forked_child_logs_into_a_stream_of_its_own(tmp_path: Path) -> None:
    succeed(run_script(FORK, str(tmp_path)))
    main, (child,) = split(tmp_path)
    assert [record.values for record in stream_records(main)] == [{"loss": i % 10} for i in range(20)]
    records = stream_records(child)
    assert [record.values for record in records] == [{"worker": step} for step in range(5)]
    assert records[0].step == 10, "it counts on from where its parent was"
    parent, own = newest_meta(main), newest_meta(child)
    assert own.run.run_id == parent.run.run_id
    assert (own.stream.parent, own.stream.rank) == (parent.stream.stream_id, 0)
    assert own.stream.pid != parent.stream.pid
    for meta in (parent, own):
        assert meta.end is not None
        assert meta.end.state == "done"


MULTIPROCESSING = """
import multiprocessing, sys, wal

def work(n):
    for step in range(n):
        wal.log({"worker": step})

if __name__ == "__main__":
    wal.init(project="p", dir=sys.argv[1])
    processes = multiprocessing.get_context(sys.argv[2])
    workers = [processes.Process(target=work, args=(7,)) for _ in range(2)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
        assert worker.exitcode == 0
    wal.log({"loss": 1.0})
"""


def run_multiprocessing(tmp_path: Path, method: str) -> None:
    script = tmp_path / "train.py"
    script.write_text(MULTIPROCESSING)
    command = [sys.executable, str(script), str(tmp_path / "log"), method]
    finished = subprocess.run(command, env=environment(), capture_output=True, text=True, timeout=120)
    succeed(finished)
    main, workers = split(tmp_path / "log")
    assert len(stream_records(main)) == 1
    assert [len(stream_records(worker)) for worker in workers] == [7, 7]
    for stream in (main, *workers):
        meta = newest_meta(stream)
        assert meta.run.run_id == newest_meta(main).run.run_id
        assert meta.run.name == newest_meta(main).run.name == "train-1"
        assert meta.end is not None, "a worker that ended must not look crashed"
        assert meta.end.state == "done"


def test_forked_workers_end_their_streams(tmp_path: Path) -> None:
    run_multiprocessing(tmp_path, "fork")


def test_spawned_workers_join_the_run(tmp_path: Path) -> None:
    """They call no init of their own: the first log() finds the run and its log directory."""
    run_multiprocessing(tmp_path, "spawn")


def test_hundreds_of_forks_while_segments_are_made_and_sealed(tmp_path: Path) -> None:
    fork_while_sealing(tmp_path, forks=300)


SURVIVING_CHILD = """
import os, sys, time, wal
run = wal.init(project="p", dir=sys.argv[1])
wal.log({"loss": 1.0})
child = os.fork()
if child == 0:
    time.sleep(60)
print(child, flush=True)
time.sleep(60)
"""


def test_a_killed_trainer_is_dead_though_its_worker_lives(tmp_path: Path) -> None:
    command = [sys.executable, "-c", SURVIVING_CHILD, str(tmp_path)]
    with subprocess.Popen(command, env=environment(), stdout=subprocess.PIPE, text=True) as trainer:
        assert trainer.stdout is not None
        worker = int(trainer.stdout.readline())
        (stream,) = streams_in(tmp_path)
        info = newest_meta(stream).stream
        try:
            assert liveness(stream, info) is Liveness.ALIVE
            trainer.kill()
            wait_until(lambda: liveness(stream, info) is Liveness.DEAD)
        finally:
            os.kill(worker, signal.SIGKILL)


RANK = """
import sys, wal
wal.init(project="p", dir=sys.argv[1], config={"lr": 0.1})
for step in range(20):
    wal.log({"loss": step})
wal.finish()
"""


def test_ranks_of_one_launch_share_a_run(tmp_path: Path) -> None:
    ranks = [
        subprocess.Popen(
            [sys.executable, "-c", RANK, str(tmp_path)],
            env=environment(RANK=str(rank), WORLD_SIZE="8", MASTER_PORT="29500"),
        )
        for rank in range(8)
    ]
    assert [rank.wait(60) for rank in ranks] == [0] * 8
    streams = streams_in(tmp_path)
    metas = [newest_meta(stream) for stream in streams]
    assert len({meta.run.run_id for meta in metas}) == 1
    assert sorted(meta.stream.rank for meta in metas) == list(range(8))
    assert all(meta.stream.parent is None and meta.stream.after is None for meta in metas)
    assert all(len(stream_records(stream)) == 20 for stream in streams)


SWEEP = """
import subprocess, sys, wal
wal.init(project="sweep", name="driver", dir=sys.argv[1])
trial = '''
import sys, wal
wal.init(project="sweep", name=sys.argv[2], dir=sys.argv[1])
wal.log({"loss": 1.0})
'''
for name in ("trial-a", "trial-b"):
    subprocess.run([sys.executable, "-c", trial, sys.argv[1], name], check=True)
wal.finish()
"""


def test_a_child_that_asks_for_another_name_gets_a_run_of_its_own(tmp_path: Path) -> None:
    succeed(run_script(SWEEP, str(tmp_path)))
    metas = [newest_meta(stream) for stream in streams_in(tmp_path)]
    assert {meta.run.name for meta in metas} == {"driver", "trial-a", "trial-b"}
    assert len({meta.run.run_id for meta in metas}) == 3


INIT_IN_CHILD = """
import os, sys, wal
wal.init(project="p", dir=sys.argv[1])
wal.log({"loss": 1.0})
if os.fork() == 0:
    run = wal.init(dir=sys.argv[1])
    run.log({"eval": 1.0})
    run.finish()
    os._exit(0)
os.wait()
wal.log({"loss": 2.0})
"""


def test_init_in_a_forked_child_joins_and_leaves_the_parent_alone(tmp_path: Path) -> None:
    succeed(run_script(INIT_IN_CHILD, str(tmp_path)))
    main, (child,) = split(tmp_path)
    assert len(stream_records(main)) == 2
    assert newest_meta(child).run.run_id == newest_meta(main).run.run_id
    end = newest_meta(main).end
    assert end is not None
    assert (end.state, end.last_seq) == ("done", 2)
