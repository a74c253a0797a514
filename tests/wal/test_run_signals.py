"""log() from signal handlers and finalisers, and exceptions that a signal raises inside it."""

from __future__ import annotations

import gc
import json
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
from helpers.trainer import run_script
from helpers.waiting import stream_records, streams_in, wait_until

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
