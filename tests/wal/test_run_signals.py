"""log() from signal handlers and finalisers, and exceptions that a signal raises inside it."""

from __future__ import annotations

import gc
import json
import random
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from helpers.trainer import environment, run_script
from helpers.waiting import stream_records, streams_in, wait_until

from wal.journal import read_meta, segment_paths
from wal.record import digest
from wal.run import Run
from wal.segments.meta import Limits
from wal.training.current import start_run
from wal.training.starting import Wishes

INTERRUPTIONS = 300


@pytest.fixture
def run(tmp_path: Path) -> Iterator[Run]:
    limits = Limits(records=200, tick_seconds=0.05)
    run = start_run(tmp_path, Wishes(project="p", name="n"), limits=limits)
    yield run
    signal.setitimer(signal.ITIMER_REAL, 0)
    signal.signal(signal.SIGALRM, signal.SIG_DFL)
    run.finish()


def values(run: Run, name: str) -> list[int]:
    """The values of a metric in commit order, once every record is there without a hole."""
    assert run._journal is not None
    run.finish()
    records = stream_records(run._journal.directory)
    assert [record.seq for record in records] == list(range(1, len(records) + 1))
    return [int(record.values[name]) for record in records if name in record.values]


def test_a_handler_that_logs_while_log_runs_neither_hangs_nor_loses(run: Run) -> None:
    handled = 0

    def handler(*_: object) -> None:
        nonlocal handled
        handled += 1  # before log(): a handler may be interrupted by the next one
        run.log({"handler": handled})

    signal.signal(signal.SIGALRM, handler)
    signal.setitimer(signal.ITIMER_REAL, 0.0005, 0.0005)
    logged = 0
    while handled < INTERRUPTIONS:
        run.log({"loop": logged})
        logged += 1
    signal.setitimer(signal.ITIMER_REAL, 0)
    assert sorted(values(run, "handler")) == list(range(1, handled + 1))
    assert values(run, "loop") == list(range(logged)), "in call order"


INTERRUPTED = """
import json, signal, sys
from pathlib import Path
from wal.training.current import start_run
from wal.segments.meta import Limits
from wal.training.starting import Wishes

run = start_run(Path(sys.argv[1]), Wishes(project="p", name="n"), limits=Limits(records=200))
armed = False

def handler(*_):
    global armed
    if armed:
        armed = False
        raise KeyboardInterrupt

signal.signal(signal.SIGALRM, handler)
signal.setitimer(signal.ITIMER_REAL, 0.0007, 0.0007)
returned, number, interrupts = [], 0, 0
while interrupts < 1000:
    try:
        while True:
            armed = True  # each time: a callback of the collector may have swallowed the last one
            number += 1
            seq = run.log({"n": number})
            if seq is not None:
                returned.append((seq, number))
    except KeyboardInterrupt:
        interrupts += 1
armed = False
signal.setitimer(signal.ITIMER_REAL, 0)
run.finish()
print(json.dumps(returned))
"""


def test_an_interrupt_leaves_each_record_wholly_in_or_out(tmp_path: Path) -> None:
    finished = run_script(INTERRUPTED, str(tmp_path))
    assert finished.returncode == 0, finished.stderr
    returned = json.loads(finished.stdout)
    (stream,) = streams_in(tmp_path)
    records = stream_records(stream)
    assert [record.seq for record in records] == list(range(1, len(records) + 1))
    logged = [record.values["n"] for record in records]
    assert logged == sorted(set(logged)), "no record twice, none out of order"
    assert all(logged[seq - 1] == number for seq, number in returned), "what was acknowledged is there"


class Leaving:
    """An object in a cycle that logs when it is collected, in whatever thread and moment that is."""

    collected = 0

    def __init__(self, run: Run, number: int) -> None:
        self.cycle = self
        self.run = run
        self.number = number

    def __del__(self) -> None:
        self.run.log({"gone": self.number})
        Leaving.collected += 1


def test_finalisers_may_log(run: Run) -> None:
    thresholds = gc.get_threshold()
    gc.set_threshold(5)
    try:
        for number in range(2000):
            Leaving(run, number)
            run.log({"n": number})
    finally:
        gc.set_threshold(*thresholds)
    wait_until(
        lambda: (gc.collect(), Leaving.collected == 2000)[1], what="another thread's collection to end"
    )
    assert sorted(values(run, "gone")) == list(range(2000))
    assert values(run, "n") == list(range(2000))


def test_a_deferred_record_does_not_wait_for_the_next_call(run: Run) -> None:
    """A record that came in while another was being written is committed by the background."""
    journal = run._journal
    assert journal is not None
    journal._busy = True  # as a handler finds it that interrupts a commit
    assert run.log({"n": 1}) is None
    journal._busy = False
    wait_until(lambda: journal.last_seq == 1)
    assert values(run, "n") == [1]


ENDED = """
import json, random, signal, sys
from pathlib import Path
from wal.training.current import start_run
from wal.segments.meta import Limits
from wal.training.starting import Wishes

class Ended(BaseException):  # log() lets through what is no Exception
    pass

limits = Limits(records=50, tick_seconds=0.0005, stop_seconds=60)
for trial in range(int(sys.argv[2])):
    run = start_run(Path(sys.argv[1]), Wishes(project="p", name=str(trial)), limits=limits)
    directory = str(run.log_dir / str(run.run_id) / str(run.stream_id))

    def handler(*_):
        run.log({"last": 1.0})
        run.finish()
        if trial % 2:
            raise Ended

    signal.signal(signal.SIGALRM, handler)
    returned, number = [], 0
    signal.setitimer(signal.ITIMER_REAL, random.Random(trial).uniform(0.0005, 0.02))
    try:
        while not run.finished:
            number += 1
            seq = run.log({"n": number})
            if seq is not None:
                returned.append((seq, number))
            if number % 40 == 0:
                run.flush()
            if number % 15 == 0:
                run.config.number = number
    except Ended:
        pass
    print(json.dumps([directory, returned]), flush=True)
"""
TRIALS = 100


def test_a_handler_that_ends_the_run_neither_hangs_nor_loses(tmp_path: Path) -> None:
    """Whatever it interrupts: a commit, a rotation, a sync; and whether it goes on with the loop or not."""
    finished = run_script(ENDED, str(tmp_path), str(TRIALS))
    assert finished.returncode == 0, finished.stderr
    trials = [json.loads(line) for line in finished.stdout.splitlines()]
    assert len(trials) == TRIALS
    for directory, returned in trials:
        records = stream_records(Path(directory))
        assert [record.seq for record in records] == list(range(1, len(records) + 1))
        assert all(records[seq - 1].values == {"n": number} for seq, number in returned)
        assert sum("last" in record.values for record in records) == 1, "what the handler logged is kept"
        numbers = [record.values["n"] for record in records if "n" in record.values]
        assert numbers == list(range(1, len(numbers) + 1)), "in call order, none twice"
        meta = read_meta(segment_paths(Path(directory))[-1])
        assert meta is not None
        assert meta.end is not None
        assert meta.seal is not None
        assert (meta.end.state, meta.end.last_seq, meta.seal.last_seq) == ("done", len(records), len(records))
        segment = [record for record in records if record.seq >= meta.first_seq]
        assert meta.seal.digest == f"{digest(segment):032x}"
    # Python itself writes of an exception that came in one of its callbacks.
    said = [line for line in finished.stderr.splitlines() if line.startswith("canopy:")]
    assert len(said) <= 1
    assert all("log() after finish()" in line for line in said)


TERMINATED = """
import itertools, signal, sys, wal

def handler(*_):
    wal.finish(exit_code=1)
    sys.exit(143)

signal.signal(signal.SIGTERM, handler)
wal.init(project="p", dir=sys.argv[1])
for n in itertools.count(1):
    seq = wal.log({"n": n})
    if seq is not None:
        sys.stdout.write(f"{seq} {n}\\n")
        sys.stdout.flush()
"""
TERMINATED_PROCESSES = 12


def test_a_terminated_process_ends_its_run_and_itself(tmp_path: Path) -> None:
    for seed in range(TERMINATED_PROCESSES):
        log_dir = tmp_path / str(seed)
        printed = tmp_path / f"{seed}.txt"
        with printed.open("w") as output:
            process = subprocess.Popen(
                [sys.executable, "-c", TERMINATED, str(log_dir)], env=environment(), stdout=output
            )
        wait_until(lambda: printed.stat().st_size > 0)  # noqa: B023 - called at once
        time.sleep(random.Random(seed).uniform(0, 0.05))  # the random instant, not a guess
        process.terminate()
        assert process.wait(60) == 143
        (stream,) = streams_in(log_dir)
        records = stream_records(stream)
        whole_lines = printed.read_text().rpartition("\n")[0]  # the last one may be cut off
        for seq, number in (map(int, line.split()) for line in whole_lines.splitlines()):
            assert records[seq - 1].values == {"n": number}
        meta = read_meta(segment_paths(stream)[-1])
        assert meta is not None
        assert meta.end is not None
        assert (meta.end.state, meta.end.exit_code, meta.end.last_seq) == ("failed", 1, len(records))
