"""kill -9 of the real syncer process at random instants: every record is there once, wherever it was."""

from __future__ import annotations

import random
import signal
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from helpers.logs import write_run
from helpers.scan import in_cassandra, in_log, query
from helpers.streampages import in_file, recomputed
from helpers.syncerprocess import process_environment, start_syncer, sync_once
from helpers.syncing import write_segments
from helpers.trainer import environment
from helpers.waiting import wait_until

from wal.journal import stream_dirs
from wal.settings import Settings
from wal.shipping import daemon

pytestmark = pytest.mark.kill

SEEDS = 24
RECORDS = 1_500
MOST_SECONDS = 1.2
AT_ONCE = 2
"""Syncers side by side: their start is most of the time."""


def test_nothing_is_lost_or_doubled_whenever_it_is_killed(tmp_path: Path, keyspace5: Settings) -> None:
    env = process_environment(keyspace5, tmp_path)

    def one(seed: int) -> Path:
        log_dir = tmp_path / f"log-{seed}"
        write_run(log_dir, ({"x": float(n)} for n in range(RECORDS)))
        write_segments(log_dir, [100, 100, 50])
        victim = start_syncer(log_dir, env)
        wait_until((log_dir / "state.db").exists, what="the syncer's state.db")
        time.sleep(random.Random(seed).uniform(0.0, MOST_SECONDS))  # the random instant, not a guess
        victim.kill()
        output, _ = victim.communicate()
        assert (victim.returncode, output) == (-signal.SIGKILL, b"")
        sync_once(log_dir, env, tmp_path)
        return log_dir

    with ThreadPoolExecutor(AT_ONCE) as pool:
        log_dirs = list(pool.map(one, range(SEEDS)))
    committed = {key: content for log_dir in log_dirs for key, content in in_log(log_dir).items()}
    scan = in_cassandra(keyspace5)
    assert scan.doubles == []
    assert scan.content == committed
    assert len(committed) == SEEDS * (RECORDS + 250)
    assert all(len(stamps) == 1 for stamps in scan.stamps.values())
    assert len(query(keyspace5, "SELECT run_id FROM {}.training_runs")) == 2 * SEEDS
    pages = query(keyspace5, "SELECT stream, metric, level, page, newest, body FROM {}.metric_pages")
    expected: set[tuple[object, ...]] = set()
    for log_dir in log_dirs:
        for _, stream_id, directory in stream_dirs(log_dir):
            found = recomputed(directory)
            assert in_file(directory) == found
            expected |= {(stream_id, *key, *page) for key, page in found.items()}
    assert {(*row[:5], bytes(row[5])) for row in pages} == expected  # type: ignore[arg-type]


def test_the_lock_of_a_killed_syncer_is_free_at_once(tmp_path: Path) -> None:
    env = environment(CANOPY_NODE="none", XDG_STATE_HOME=str(tmp_path), XDG_CONFIG_HOME=str(tmp_path))
    victim = start_syncer(tmp_path, env)
    wait_until(lambda: daemon.holder(tmp_path) == victim.pid)
    victim.kill()
    victim.communicate()
    assert daemon.holder(tmp_path) is None
    lock = daemon.Lock(tmp_path)
    assert lock.acquire()
    lock.release()
