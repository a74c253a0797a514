"""Does an outage reach training? ``log()`` beside a real syncer whose node is healthy, hung or dead.

The trainer is this process, the syncer that ``init`` spawns another, the node a third. Blocks alternate in
one run, so that a noisy machine disturbs all alike.
"""

from __future__ import annotations

import os
import random
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from statistics import median

from helpers.nodes import fresh_keyspace, running_node

import wal
from wal.run import Run
from wal.settings import Settings
from wal.shipping import daemon

REPETITIONS = 5
CALLS = 2_000
PAUSE_S = 0.0005
BAR = 1.1


def run() -> list[dict[str, object]]:
    blocks: dict[str, list[float]] = {"healthy": [], "hung": [], "dead": []}
    with tempfile.TemporaryDirectory(prefix="canopy-bench-") as scratch:
        log_dir = Path(scratch) / "log"
        with (
            running_node(Path(scratch) / "node", java_options=()) as node,
            fresh_keyspace(node) as settings,
            environment(settings, Path(scratch)),
        ):
            training = wal.init(project="bench", name="outage", dir=log_dir)
            try:
                block(training)  # the first calls pay for warming up
                for _ in range(REPETITIONS):
                    blocks["healthy"].append(block(training))
                    node.pause()
                    blocks["hung"].append(block(training))
                    node.resume()
                    blocks["healthy"].append(block(training))
                    node.kill()
                    blocks["dead"].append(block(training))
                    node.start()
                    node.wait_ready()
            finally:
                training.finish()
                daemon.stop(log_dir)
                node.kill()  # with its keyspace, that a session which has not heard of the restart would drop
    # Each block against the healthy one right before it: a machine's slow minute cancels out.
    pairs = {"hung": blocks["healthy"][0::2], "dead": blocks["healthy"][1::2]}
    return [row(kind, blocks[kind], healthy) for kind, healthy in pairs.items()]


def row(kind: str, blocks: list[float], healthy: list[float]) -> dict[str, object]:
    ratio = median(block / before for block, before in zip(blocks, healthy, strict=True))
    return {
        "name": f"log() p50, node {kind} / healthy",
        "value": ratio,
        "unit": "×",
        "bar": f"≤ {BAR} ×",
        "ok": ratio <= BAR,
        "detail": f"p50 {median(blocks):.1f} µs against {median(healthy):.1f} µs; median ratio of "
        f"{len(blocks)} pairs of blocks of {CALLS:,} calls",
    }


def block(training: Run) -> float:
    """Median time of a ``log()`` of 8 floats, µs."""
    values = {f"metric_{i}": random.random() for i in range(8)}
    times: list[int] = []
    for _ in range(CALLS):
        started = time.perf_counter_ns()
        training.log(values)
        times.append(time.perf_counter_ns() - started)
        time.sleep(PAUSE_S)
    return median(times) / 1000


@contextmanager
def environment(settings: Settings, scratch: Path) -> Iterator[None]:
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
