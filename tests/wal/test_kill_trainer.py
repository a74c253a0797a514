"""kill -9 of a real trainer: every record whose log() call had returned is there, and no hole before it."""

from __future__ import annotations

import math
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from helpers.trainer import Trainer
from helpers.waiting import stream_records, streams_in

from wal.journal import Liveness, liveness, read_meta, segment_paths

pytestmark = pytest.mark.kill

SEEDS = 60
AT_ONCE = 3
"""Trainers side by side: their start is most of the time."""


def check(trainer: Trainer) -> int:
    """What must hold after the kill; the number of records comes back."""
    (directory,) = streams_in(trainer.log_dir)
    records = stream_records(directory)
    assert [record.seq for record in records] == list(range(1, len(records) + 1))
    # One more than acknowledged: it was committed, and the kill came before its number was noted.
    assert trainer.acked <= len(records) <= trainer.acked + 1
    for step, record in enumerate(records):
        assert record.step == step
        assert record.values["loss"] == 1.0 / (step + 1)
        assert math.isnan(record.values["nan"])
    metas = [meta for meta in map(read_meta, segment_paths(directory)) if meta is not None]
    assert all(meta.end is None for meta in metas)
    assert liveness(directory, metas[0].stream) is Liveness.DEAD
    return len(records)


def test_nothing_acknowledged_is_lost_whenever_it_is_killed(tmp_path: Path) -> None:
    def one(seed: int) -> int:
        # Small segments: every other trainer is rotating and sealing all the time.
        trainer = Trainer(tmp_path / str(seed), records_per_segment=(8_000, 40)[seed % 2])
        trainer.kill_after(seed, most_seconds=0.3)
        trainer.wait()
        return check(trainer)

    with ThreadPoolExecutor(AT_ONCE) as pool:
        counts = list(pool.map(one, range(SEEDS)))
    assert all(counts)


@pytest.mark.parametrize(
    ("statement", "nth"),
    [
        ("CREATE TABLE meta", 2),  # making the second segment ahead
        ("COMMIT", 2),
        ("INSERT OR REPLACE INTO meta(k, v) VALUES ('segment'", 2),  # rotating into it
        ("INSERT OR REPLACE INTO meta(k, v) VALUES ('segment'", 3),
        ("INSERT OR REPLACE INTO metric", 1),  # sealing the first one
        ("COMMIT", 4),
        ("PRAGMA wal_checkpoint", 1),
        ("PRAGMA journal_mode = MEMORY", 2),  # the second segment's beginning
        ("PRAGMA journal_mode = WAL", 2),
        ("PRAGMA journal_mode = MEMORY", 3),  # the third one's, or the first one's end
        ("PRAGMA journal_mode = MEMORY", 4),
    ],
)
def test_a_kill_at_each_point_of_a_rotation_loses_nothing(tmp_path: Path, statement: str, nth: int) -> None:
    trainer = Trainer(tmp_path, 50, statement, str(nth))
    trainer.wait()
    check(trainer)
