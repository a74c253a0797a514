"""Does an outage reach training? ``log()`` beside a real syncer whose node is healthy, hung, dead, or behind
a link that flaps.

The trainer is this process; the syncer that ``init`` spawns, the node and the link to it are others. Blocks
alternate in one run, so that a noisy machine disturbs all alike. A call during which the scheduler took the
processor from any thread of this process does not count for the tail.
"""

from __future__ import annotations

import os
import random
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from statistics import median
from typing import NamedTuple

from helpers.nodes import fresh_keyspace, running_node
from helpers.trainer import environment as process_environment

import wal
from wal.run import Run
from wal.settings import Settings
from wal.shipping import daemon

REPETITIONS = 5
CALLS = 10_000
"""Per block: more than a segment, so that a rotation is in it; its p99.9 is the tenth longest."""

PAUSE_S = 0.0001
P50_BAR, TAIL_BAR = 1.1, 2.0
FAULTS = ("hung", "flapping", "dead")

_LINK = """
import sys, threading
from faults.proxy import Mode, Proxy
proxy = Proxy(("127.0.0.1", int(sys.argv[1])))
print(proxy.port, flush=True)
calm = threading.Event()
def flap():
    broken = [Mode.RESET, Mode.HANG, Mode.CUT, Mode.REFUSE]
    while not calm.wait(0.15):
        proxy.switch(broken[0])
        broken.append(broken.pop(0))
        calm.wait(0.15)
        proxy.switch(Mode.FORWARD)
for line in sys.stdin:
    if line == "flap\\n":
        calm.clear()
        flapping = threading.Thread(target=flap)
        flapping.start()
    else:
        calm.set()
        flapping.join()
    print(line, end="", flush=True)
"""


class Block(NamedTuple):
    """Of one block of calls, µs; and the share of them that was preempted."""

    p50: float
    tail: float
    preempted: float


class Link:
    """The proxy in a process of its own: in this one it would take the interpreter from the trainer."""

    def __init__(self, port: int) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-c", _LINK, str(port)], env=process_environment(), stdin=subprocess.PIPE,
            stdout=subprocess.PIPE, text=True,
        )  # fmt: skip
        assert self._process.stdout is not None
        self.port = int(self._process.stdout.readline())

    def tell(self, word: str) -> None:
        """``flap`` or ``calm``; it does so when this returns."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(f"{word}\n")
        self._process.stdin.flush()
        assert self._process.stdout.readline() == f"{word}\n"

    def close(self) -> None:
        self._process.kill()
        self._process.communicate()


def run() -> list[dict[str, object]]:
    """The rows of the table that ``make bench`` prints."""
    pairs: dict[str, list[tuple[Block, Block]]] = {fault: [] for fault in FAULTS}
    with tempfile.TemporaryDirectory(prefix="canopy-bench-") as scratch:
        log_dir = Path(scratch) / "log"
        with (
            running_node(Path(scratch) / "node", java_options=()) as node,
            fresh_keyspace(node) as settings,
        ):
            link = Link(node.endpoint[1])
            with environment(replace(settings, port=link.port), Path(scratch)):
                training = wal.init(project="bench", name="outage", dir=log_dir)
                try:
                    block(training)  # the first calls pay for warming up
                    for _ in range(REPETITIONS):
                        healthy = block(training)
                        node.pause()
                        pairs["hung"].append((healthy, block(training)))
                        node.resume()
                        healthy = block(training)
                        link.tell("flap")
                        pairs["flapping"].append((healthy, block(training)))
                        link.tell("calm")
                        healthy = block(training)
                        node.kill()
                        pairs["dead"].append((healthy, block(training)))
                        node.start()
                        node.wait_ready()
                finally:
                    training.finish()
                    daemon.stop(log_dir)
                    link.close()
                    node.kill()  # with its keyspace, that a session which knows no restart would drop
    return [row for fault, found in pairs.items() for row in rows(fault, found)]


def rows(fault: str, pairs: list[tuple[Block, Block]]) -> list[dict[str, object]]:
    """Each block against the healthy one right before it: a machine's slow minute cancels out."""
    found: list[dict[str, object]] = []
    for what, field, bar in (("p50", "p50", P50_BAR), ("p99.9, not preempted", "tail", TAIL_BAR)):
        healthy, faulty = ([getattr(block, field) for block in side] for side in zip(*pairs, strict=True))
        ratio = median(after / before for before, after in zip(healthy, faulty, strict=True))
        preempted = median(block.preempted for pair in pairs for block in pair)
        found.append(
            {
                "name": f"log() {what}, node {fault} / healthy",
                "value": ratio,
                "unit": "×",
                "bar": f"≤ {bar:g} ×",
                "ok": ratio <= bar,
                "detail": f"{median(faulty):.1f} µs against {median(healthy):.1f} µs; median ratio of "
                f"{len(pairs)} pairs of blocks of {CALLS:,} calls, {preempted:.1%} of them preempted",
            }
        )
    return found


def block(training: Run) -> Block:
    """Calls of ``log()`` with 8 floats, a pause after each."""
    values = {f"metric_{i}": random.random() for i in range(8)}
    clock = time.perf_counter_ns
    all_ns: list[int] = []
    undisturbed_ns: list[int] = []
    for _ in range(CALLS):
        before = preemptions()
        started = clock()
        training.log(values)
        took = clock() - started
        all_ns.append(took)
        if preemptions() == before:
            undisturbed_ns.append(took)
        time.sleep(PAUSE_S)
    tail = sorted(undisturbed_ns)[int(len(undisturbed_ns) * 0.999)]
    return Block(median(all_ns) / 1e3, tail / 1e3, 1 - len(undisturbed_ns) / CALLS)


def preemptions() -> int:
    """Times that the scheduler took the processor from any thread of this process."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_nivcsw


@contextmanager
def environment(settings: Settings, scratch: Path) -> Generator[None]:
    """What a user would have set: the trainer's syncer inherits it."""
    before = dict(os.environ)
    os.environ.update(
        CASCOR_CASSANDRA_CONTACT_POINTS=",".join(settings.contact_points),
        CASCOR_CASSANDRA_PORT=str(settings.port),
        CASCOR_CASSANDRA_KEYSPACE=settings.keyspace,
        XDG_STATE_HOME=str(scratch / "state"),
        XDG_CONFIG_HOME=str(scratch / "config"),
        CANOPY_SILENT="1",
    )
    try:
        yield
    finally:
        os.environ.clear()
        os.environ.update(before)
