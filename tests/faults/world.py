"""What a trial acts on: trainers, the syncer, the link and the nodes, all of them real processes."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from helpers.syncerprocess import SyncerProcess, process_environment
from helpers.waiting import wait_until

from faults.proxy import Proxy
from faults.records import HOUR_NS, YEAR_NS
from faults.trainer import Order, SeededTrainer
from faults.truth import Truth
from wal.cassandra.server import Node
from wal.settings import Settings

SEGMENT_RECORDS = (150, 1_000, 8_000)
"""Small segments rotate and seal all the time, large ones never in a trial."""

PACES_S = (0.0005, 0.002, 0.01)
CLOCK_SHIFTS_NS = (0, 0, 0, -HOUR_NS, YEAR_NS)
"""Of a trainer's clock: it is right, an hour late, a year ahead."""


@dataclass
class Figures:
    """What was done and found, over any number of trials."""

    trials: int = 0
    records: int = 0
    streams: int = 0
    lost: int = 0
    doubled: int = 0
    faults: Counter[str] = field(default_factory=Counter[str])
    """How often each nemesis struck."""
    slowest_heal_s: float = 0.0

    @property
    def kills(self) -> int:
        return sum(count for name, count in self.faults.items() if "killed" in name or "crash" in name)

    @property
    def outages(self) -> int:
        return sum(count for name, count in self.faults.items() if name.startswith(("link", "node")))

    def __str__(self) -> str:
        by_name = ", ".join(f"{name} {count}" for name, count in sorted(self.faults.items()))
        return (
            f"trials {self.trials}, kills {self.kills}, outages {self.outages}, streams {self.streams}, "
            f"records {self.records:,}, lost {self.lost}, doubled {self.doubled}, "
            f"all delivered at the latest {self.slowest_heal_s:.1f} s after the heal\n  {by_name}"
        )


class Lane:
    """A run that is killed and gone on with: one trainer after the other, each a stream."""

    def __init__(self, world: World, number: int) -> None:
        self._world = world
        self._name = f"lane-{number}"
        self.started: list[SeededTrainer] = []

    @property
    def trainer(self) -> SeededTrainer:
        return self.started[-1]

    def start(self) -> None:
        """The next trainer of this run; its first record is there when this returns."""
        world, scratch = self._world, self._world.scratch
        name = f"{self._name}-{len(self.started)}"
        order = Order(
            log_dir=str(world.log_dir), acks=str(scratch / f"{name}.acks"),
            enough=str(scratch / f"{name}.enough"), seed=world.rng.randrange(1 << 30), run=self._name,
            records_per_segment=world.rng.choice(SEGMENT_RECORDS), pace_s=world.rng.choice(PACES_S),
            clock_shift_ns=world.rng.choice(CLOCK_SHIFTS_NS),
        )  # fmt: skip
        trainer = SeededTrainer(order)
        self.started.append(trainer)
        wait_until(lambda: trainer.acked > 0 or not trainer.alive, what=f"{name}'s first record")


@dataclass
class World:
    """``proxy`` is the link to the node, None where the nodes are several; ``nodes`` are the trial's to kill,
    none where it shares one with others."""

    rng: random.Random
    scratch: Path
    settings: Settings
    figures: Figures
    proxy: Proxy | None = None
    nodes: Sequence[Node] = ()
    lanes: list[Lane] = field(default_factory=list[Lane])

    def __post_init__(self) -> None:
        self.log_dir = self.scratch / "log"
        self.env = process_environment(self.settings, self.scratch / "state")
        self.log_dir.mkdir(parents=True)
        self.syncer = SyncerProcess(self.log_dir, self.env)

    @property
    def truths(self) -> list[Truth]:
        return [trainer.truth for lane in self.lanes for trainer in lane.started]

    def kill_all(self) -> None:
        """Leave no process behind; the nodes are not ours to end."""
        for lane in self.lanes:
            for trainer in lane.started:
                trainer.kill()
        self.syncer.kill()
