"""A syncer driven by hand, against a real node."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

from helpers.logs import log, open_journal
from helpers.waiting import wait_until
from wal.cassandra.store import CassandraStore, open_store
from wal.link import Target
from wal.settings import Settings, resolve
from wal.syncer import Outcome, Syncer

DEADLINE_S = 60.0


def target_of(settings: Settings) -> Target:
    """Where explicit settings point."""
    return Target(settings, resolve(settings, {}))


def connect(target: Target) -> CassandraStore:
    assert target.endpoint is not None
    return open_store(target.endpoint, target.settings)


def make_syncer(log_dir: Path, settings: Settings, **options: object) -> Syncer:
    """A syncer of ``log_dir`` that ships to the settings' keyspace."""
    target = target_of(replace(settings, flush_interval=0.02))
    return Syncer(log_dir, connect, lambda: target, **options)  # type: ignore[arg-type]


def step_until(syncer: Syncer, reached: Callable[[Outcome], bool], deadline_s: float = DEADLINE_S) -> Outcome:
    """Step until a condition holds of all that lies on disk now; fails after the deadline."""
    syncer.nudge()  # else its first outcome may be of before its next look
    deadline = time.monotonic() + deadline_s
    while True:
        outcome = syncer.step()
        if reached(outcome):
            return outcome
        assert time.monotonic() < deadline, f"not reached: {outcome}, {syncer.link.trouble}"
        syncer.wait(min(outcome.wake_in_s, 0.05))


def write_segments(log_dir: Path, sizes: Sequence[int], state: str = "done") -> Path:
    """A run of one stream whose segments hold that many records; its directory comes back."""
    journal = open_journal(log_dir, records_per_segment=sizes[0])
    for size in sizes:
        for at in range(size):
            if at == sizes[0] - 1:  # it rotates only into a segment that was made ahead
                wait_until(lambda: journal._next is not None)
            log(journal, journal.last_seq, {"loss": 1.0 / (journal.last_seq + 1), "nan": math.nan})
    journal.close(state, 0 if state == "done" else 1)
    return journal.directory


def drain(log_dir: Path, settings: Settings, **options: object) -> Outcome:
    """Ship everything that lies in ``log_dir``, with a syncer of its own."""
    syncer = make_syncer(log_dir, settings, **options)
    try:
        return step_until(syncer, lambda outcome: outcome.drained)
    finally:
        syncer.close()


def ship_what_is_there(log_dir: Path, settings: Settings) -> None:
    """Have in Cassandra all that lies in ``log_dir`` now, live streams' records too."""
    syncer = make_syncer(log_dir, settings)
    step_until(syncer, lambda outcome: outcome.waiting == 0 and syncer.stored > 0)
    syncer.close()
