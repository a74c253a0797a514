"""kill -9 of the syncer at each named step, and of the trainer at each statement of a rotation: nothing is
lost or doubled, whichever it was.
"""

from __future__ import annotations

import signal
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing
from pathlib import Path
from queue import SimpleQueue

import pytest
from helpers.syncerprocess import process_environment
from helpers.syncing import drain
from helpers.victims import Victims

from faults.crashpoints import POINTS
from faults.oracles import Direct, judge, told
from faults.trainer import Order, SeededTrainer, log_seeded
from faults.truth import Truth
from wal.cassandra.server import Node
from wal.segments.meta import Limits
from wal.settings import Settings
from wal.training.current import start_run
from wal.training.starting import Wishes

pytestmark = pytest.mark.kill

RECORDS, RECORDS_PER_SEGMENT = 700, 300
STREAMS = 2
"""Each of three segments, with pages at two points of it and its end: every step comes twice at least."""

AT_ONCE = 2
"""Syncers side by side: a core for each."""

VICTIM = ("-m", "faults.crashpoints")

STATEMENTS = (
    ("CREATE TABLE meta", 2), ("INSERT OR REPLACE INTO meta(k, v) VALUES ('segment'", 2),
    ("INSERT OR REPLACE INTO metric", 1), ("INSERT INTO", 350), ("PRAGMA wal_checkpoint", 1),
)  # fmt: skip
"""Of a trainer: the next segment is made, it is rotated into, the old one is summarised, a record is written,
the old one is sealed."""


def write_stream(log_dir: Path, seed: int) -> Truth:
    run = start_run(
        log_dir, Wishes(project="faults", name=f"seed {seed}"), limits=Limits(records=RECORDS_PER_SEGMENT)
    )
    assert run.stream_id is not None
    log_seeded(run, seed, RECORDS)
    run.finish()
    return Truth(run.run_id, run.stream_id, seed, RECORDS, log_dir / str(run.run_id) / str(run.stream_id))


def assert_delivered(truths: list[Truth], settings: Settings, node: Node) -> None:
    with Direct(node.endpoint) as direct:
        findings = judge(truths, direct.scan(settings.keyspace))
    assert findings == {}, told(findings)


def test_a_syncer_killed_at_any_step(tmp_path: Path, keyspace5: Settings, cassandra5: Node) -> None:
    env = process_environment(keyspace5, tmp_path)
    victims = SimpleQueue[Victims]()

    def one(number: int, point: str) -> list[Truth]:
        nth = 1 + number % 2  # once at the first time, once at the second
        log_dir = tmp_path / str(number)
        truths = [write_stream(log_dir, STREAMS * number + at) for at in range(STREAMS)]
        mine = victims.get()
        try:
            ended = mine.run(tmp_path / f"{number}.said", point, nth, str(log_dir))
            assert ended == (-signal.SIGKILL, ""), f"at {point!r}, {nth}"
        finally:
            victims.put(mine)
        drain(log_dir, keyspace5)
        return truths

    with ExitStack() as stack, ThreadPoolExecutor(AT_ONCE) as pool:
        for _ in range(AT_ONCE):
            victims.put(stack.enter_context(closing(Victims(VICTIM, env))))
        found = list(pool.map(one, range(len(POINTS)), POINTS))
    assert_delivered([truth for truths in found for truth in truths], keyspace5, cassandra5)


def test_a_trainer_killed_at_a_step_of_a_rotation(
    tmp_path: Path, keyspace5: Settings, cassandra5: Node
) -> None:
    truths: list[Truth] = []
    for seed, (statement, nth) in enumerate(STATEMENTS):
        trainer = SeededTrainer(
            Order(
                log_dir=str(tmp_path / "log"), acks=str(tmp_path / f"acks-{seed}"),
                enough=str(tmp_path / "enough"), seed=seed, run=f"run {seed % 2}", pace_s=0.0,
                records_per_segment=RECORDS_PER_SEGMENT, fatal=statement, nth=nth,
            )
        )  # fmt: skip
        trainer.wait_for(-signal.SIGKILL)
        truths.append(trainer.truth)
    drain(tmp_path / "log", keyspace5)
    assert_delivered(truths, keyspace5, cassandra5)
