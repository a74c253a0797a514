"""After a trial, its runs are taken off this machine, by a syncer that is killed at the steps of that."""

from __future__ import annotations

import shutil
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import replace

from helpers.pruned import age
from helpers.syncerprocess import start_syncer
from helpers.waiting import wait_until

from faults.crashpoints import PRUNING
from faults.truth import Truth
from faults.world import World
from wal.segments.segment import stream_dirs
from wal.shipping.pruning import plan

KILLS = 3
CRASH_NTHS = (1, 1, 2, 3, 6)
CERTAIN_SECONDS = 180.0
"""A minute of quiet makes certain what was acknowledged; the pages' minute may begin after the records'."""

PRUNE_SECONDS = 120.0


def prune_under_kills(world: World) -> list[Truth]:
    """Have ``canopy prune`` take every run, whose syncer is killed meanwhile. Returns the truths of a copy of
    the log from before: by them, Cassandra alone is judged."""
    world.syncer.start()
    wait_until(lambda: _certain(world), CERTAIN_SECONDS, what="every run certain and paged")
    world.syncer.stop()
    before = world.scratch / "before"
    shutil.copytree(world.log_dir, before)
    truths = [
        replace(truth, directory=before / truth.directory.relative_to(world.log_dir))
        for truth in world.truths
    ]
    for _, _, directory in list(stream_dirs(world.log_dir)):
        age(directory)
    points = world.rng.sample(list(PRUNING), KILLS)
    for point in points:
        _prune_killed_at(world, point, world.rng.choice(CRASH_NTHS))
    world.syncer.start()
    deadline = time.monotonic() + PRUNE_SECONDS
    while _streams(world):
        assert time.monotonic() < deadline, f"still here: {_streams(world)}; killed at {points}"
        _prune(world).communicate(timeout=PRUNE_SECONDS)
    world.syncer.kill()
    return truths


def _certain(world: World) -> bool:
    """Whether nothing but their age keeps the runs here: asked of a time two hours from now."""
    found = plan(world.log_dir, time.time_ns() + 7200 * 10**9, 0.0)
    return bool(found) and not any(candidate.kept for candidate, _ in found)


def _streams(world: World) -> Sequence[str]:
    return [str(directory) for *_, directory in stream_dirs(world.log_dir)]


def _prune(world: World) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        [sys.executable, "-m", "canopy_tui", "prune"], cwd=world.scratch,
        env={**world.env, "CANOPY_DIR": str(world.log_dir)}, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
    )  # fmt: skip


def _prune_killed_at(world: World, point: str, nth: int) -> None:
    """The syncer kills itself at a step. Half of the time who asked is killed as well, and the errand waits
    for the next syncer; else who asked finds none and carries it out."""
    asker_dies = world.rng.random() < 0.5
    victim = start_syncer(world.log_dir, world.env, ("-m", "faults.crashpoints", point, str(nth)))
    asking = _prune(world)
    try:
        wait_until(
            lambda: asking.poll() is not None or (asker_dies and victim.poll() is not None), PRUNE_SECONDS
        )
    finally:
        asking.kill()
        asking.communicate()
        world.figures.faults["pruning killed"] += victim.poll() is not None
        victim.kill()
        printed, _ = victim.communicate()
    assert printed == b"", printed
