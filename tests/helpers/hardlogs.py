"""Records that are hard on pages: late and repeated steps, leaps, odd values, sparse metrics, other kinds."""

from __future__ import annotations

import math
import random

from helpers.logs import log, log_special, log_topology
from wal.journal import Journal
from wal.record import Kind

ODD = (math.nan, math.inf, -math.inf, 1e308, -1e308, 5e-324, -0.0)


def hard_steps(count: int, seed: int) -> list[int]:
    """Steps that go back, repeat and leap."""
    rng = random.Random(seed)
    steps: list[int] = []
    for at in range(count):
        kind = rng.random()
        steps.append(rng.randint(0, at + 1) if kind < 0.05 else at // 2 if kind < 0.5 else at * 3)
    return steps


def log_hard(journal: Journal, count: int, seed: int = 1) -> None:
    """Records of changing metrics, odd values, texts, other kinds in between, and hard steps."""
    rng = random.Random(seed)
    for at, step in enumerate(hard_steps(count, seed)):
        values = {"loss": rng.choice(ODD) if rng.random() < 0.05 else rng.random()}
        if at % 7 == 0:
            values["rare/acc"] = rng.random()
        if at % 500 == 3:
            log_special(journal, Kind.SUMMARY, step, {"loss": 99.0})
            log_topology(journal, step, {"at": at})
        if at % 11 == 0:
            log(journal, step, values, None, note="x" * (at % 40))
        else:
            log(journal, step, values)
