"""A fixed share of the trials; ``make faults SEEDS=n`` runs as many as asked, with its own nodes to kill."""

from __future__ import annotations

from pathlib import Path

import pytest
from helpers.nodes import fresh_keyspace

from faults.nemeses import LINKS, PROCESSES
from faults.trial import run_trial
from faults.world import Figures
from wal.cassandra.server import Node

pytestmark = pytest.mark.kill

SEEDS = (1, 2)


@pytest.mark.parametrize("seed", SEEDS)
def test_nothing_is_lost_or_doubled(tmp_path: Path, cassandra5: Node, seed: int) -> None:
    figures = Figures()
    with fresh_keyspace(cassandra5) as settings:
        run_trial(seed, tmp_path, settings, cassandra5.endpoint, (*PROCESSES, *LINKS), figures)
    assert figures.trials == 1
    assert figures.records > 0
    assert figures.lost == figures.doubled == 0
