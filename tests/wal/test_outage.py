"""A real outage: the node is killed with -9 while a trainer logs and the syncer ships, and comes back."""

from __future__ import annotations

import math
import struct
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from helpers.nodes import keyspace_over_restarts
from helpers.scan import in_cassandra, in_log
from helpers.syncing import make_syncer, step_until
from helpers.trainer import ACK, environment

from wal.cassandra.server import Node
from wal.settings import Settings
from wal.source import Connection

pytestmark = pytest.mark.kill

TRAINER = """
import mmap, os, sys, time
from pathlib import Path
import wal
from helpers.trainer import ACK
run = wal.init(project="outage", name="train", dir=sys.argv[1])
odd = (float("nan"), float("inf"), float("-inf"), -0.0)
with open(sys.argv[2], "r+b") as file, mmap.mmap(file.fileno(), ACK.size) as acks:
    step = 0
    while not os.path.exists(sys.argv[3]):
        ACK.pack_into(acks, 0, run.log({"loss": 1.0 / (step + 1), "odd": odd[step % 4]}, step=step))
        step += 1
        time.sleep(0.001)
run.finish()
"""


@pytest.fixture
def settings(own_node: Node) -> Iterator[Settings]:
    with keyspace_over_restarts(own_node) as settings:
        yield settings


def test_every_record_arrives_once_over_two_outages(
    tmp_path: Path, own_node: Node, settings: Settings
) -> None:
    log_dir, acks, enough = tmp_path / "log", tmp_path / "acks", tmp_path / "enough"
    acks.write_bytes(ACK.pack(0))

    def acked() -> int:
        return ACK.unpack(acks.read_bytes())[0]

    trainer = subprocess.Popen(
        [sys.executable, "-c", TRAINER, str(log_dir), str(acks), str(enough)], env=environment()
    )
    try:
        while acked() == 0:
            assert trainer.poll() is None
        syncer = make_syncer(log_dir, settings, uniform=lambda _low, high: min(high, 0.5))
        step_until(syncer, lambda _: syncer.stored > 200)
        for _ in range(2):
            own_node.kill()
            outcome = step_until(syncer, lambda outcome: outcome.connection is Connection.OFFLINE)
            at_outage = acked()
            # Training goes on, and nothing waits for the node.
            outcome = step_until(syncer, lambda _, seen=at_outage: acked() > seen + 300)
            assert outcome.waiting > 0
            assert syncer.doubts.waiting > 0  # what was acknowledged just before is not taken for certain
            own_node.start()
            own_node.wait_ready()
            stored = syncer.stored
            step_until(syncer, lambda _, seen=stored: syncer.stored > seen + 200, deadline_s=120)
        enough.touch()
        assert trainer.wait(timeout=60) == 0
        outcome = step_until(syncer, lambda outcome: outcome.drained, deadline_s=120)
        syncer.close()
    finally:
        trainer.kill()
        trainer.wait()
    assert outcome.rejected == 0
    scan, committed = in_cassandra(settings), in_log(log_dir)
    assert scan.doubles == []
    assert scan.content == committed
    assert len(committed) == acked()
    odd = {dict(content[3])["odd"] for content in scan.content.values()}
    assert odd == {struct.pack(">d", value) for value in (math.nan, math.inf, -math.inf, -0.0)}
    assert all(len(stamps) == 1 for stamps in scan.stamps.values())
