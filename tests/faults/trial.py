"""One trial: a seed decides what is logged and what strikes; then all is healed, drained and judged."""

from __future__ import annotations

import random
import shutil
import time
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path

from helpers.syncerprocess import sync_once
from helpers.waiting import wait_until

from faults.nemeses import Nemesis, struck, subject
from faults.oracles import Direct, judge, told
from faults.proxy import Proxy, proxied
from faults.pruned import prune_under_kills
from faults.truth import Truth
from faults.world import Figures, Lane, World
from wal.cassandra.server import Node
from wal.reading.acks import Acks
from wal.settings import Settings

LANES = 2
ROUNDS = (3, 6)
HOLD_S, REST_S = (0.05, 1.5), (0.0, 0.5)
"""How long a nemesis holds, and how long all is well between two."""

AT_ONCE = 2
"""Nemeses that may strike together."""

HEAL_SECONDS = 180.0
"""After it, the syncer has delivered everything by itself: the longest back-off is 30 s, a request times out
after 20 s, and a node starts within a minute."""

COPIED_SHARE = 0.25
"""Of the trials, the log is then shipped from a copy as well, as if by a second machine."""


def run_trial(
    seed: int, scratch: Path, settings: Settings, endpoint: tuple[str, int], nemeses: Sequence[Nemesis],
    figures: Figures, nodes: Sequence[Node] = (), *, prunes: bool = False,
) -> None:  # fmt: skip
    """Run one and take it down in ``figures``. Raises AssertionError with the seed and the findings.

    ``settings`` name a keyspace with Canopy's schema. Of a single node, the syncer sees only a proxy. With
    ``prunes``, the log is then taken off this machine, which takes more than a minute.
    """
    with ExitStack() as stack:
        proxy: Proxy | None = None
        if len(nodes) < 2:
            proxy = stack.enter_context(proxied(endpoint, seed))
            settings = replace(settings, port=proxy.port)
        world = World(random.Random(seed), scratch, settings, figures, proxy, nodes)
        stack.callback(world.kill_all)
        try:
            _strike(world, nemeses)
            _heal(world)
            truths = world.truths
            figures.trials += 1
            figures.streams += len(truths)
            figures.records += sum(truth.committed for truth in truths)
            _judge(figures, endpoint, settings.keyspace, truths)
            if prunes:
                _judge(figures, endpoint, settings.keyspace, prune_under_kills(world))
        except AssertionError as error:
            raise AssertionError(f"seed {seed}: {error}\n{world.figures}") from error


def _strike(world: World, nemeses: Sequence[Nemesis]) -> None:
    rng = world.rng
    world.lanes.extend(Lane(world, number) for number in range(LANES))
    for lane in world.lanes:
        lane.start()
    world.syncer.start()
    for _ in range(rng.randint(*ROUNDS)):
        chosen = {subject(nemesis): nemesis for nemesis in rng.sample(nemeses, AT_ONCE)}
        if rng.random() < 0.5:
            chosen.popitem()
        time.sleep(rng.uniform(*REST_S))  # of the trial's schedule, not a guess
        with ExitStack() as struck_now:
            for nemesis in chosen.values():
                struck_now.enter_context(struck(world, nemesis))
                time.sleep(rng.uniform(*HOLD_S) / len(chosen))


def _heal(world: World) -> None:
    """End the trainers, have the syncer that is there deliver everything by itself."""
    began = time.monotonic()
    for lane in world.lanes:
        if world.rng.random() < 0.5:
            lane.trainer.finish()
        else:
            lane.trainer.kill()
    world.syncer.start()
    acks = Acks(world.log_dir)
    for truth in world.truths:

        def delivered(stream_id=truth.stream_id, whole=((1, truth.committed),)) -> bool:  # type: ignore[no-untyped-def]
            acks.poll()
            return acks.of(stream_id) == whole

        wait_until(delivered, HEAL_SECONDS, what=f"all of {truth.stream_id} acknowledged")
    world.figures.slowest_heal_s = max(world.figures.slowest_heal_s, time.monotonic() - began)
    world.syncer.stop()
    sync_once(world.log_dir, world.env, world.scratch)
    if world.rng.random() < COPIED_SHARE:
        copy = world.scratch / "copy"
        shutil.copytree(world.log_dir, copy, ignore=shutil.ignore_patterns("state.db*", "pages.db*"))
        world.figures.faults["shipped from a copy too"] += 1
        sync_once(copy, world.env, world.scratch)


def _judge(figures: Figures, endpoint: tuple[str, int], keyspace: str, truths: Sequence[Truth]) -> None:
    with Direct(endpoint) as direct:
        findings = judge(truths, direct.scan(keyspace))
    figures.lost += len(findings.get("lost", ()))
    figures.doubled += len(findings.get("doubled", ()))
    assert findings == {}, told(findings)
