"""kill -9 of the real syncer process at random instants: every record is there once, wherever it was."""

from __future__ import annotations

import os
import random
import signal
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing
from pathlib import Path
from queue import SimpleQueue

import pytest
from helpers.logs import write_run
from helpers.scan import in_cassandra, in_log, query
from helpers.streampages import in_file, recomputed
from helpers.syncerprocess import process_environment, start_syncer
from helpers.syncing import write_segments
from helpers.trainer import environment
from helpers.victims import Victims, fork_for_orders
from helpers.waiting import wait_until

from wal.journal import stream_dirs
from wal.settings import Settings
from wal.shipping import daemon

pytestmark = pytest.mark.kill

SEEDS = 24
RECORDS = 1_500
MOST_SECONDS = 1.2
AT_ONCE = 2
"""Syncers side by side: a core for each."""


def live(program: str, *arguments: str) -> int:
    """The syncer that ``init()`` starts, or a verb of ``canopy``."""
    from canopy_tui.__main__ import main
    from wal.shipping import loop

    if program == "syncer":
        return loop.main(list(arguments))
    sys.argv = [program, *arguments]
    main()
    return 0


def test_nothing_is_lost_or_doubled_whenever_it_is_killed(tmp_path: Path, keyspace5: Settings) -> None:
    env = process_environment(keyspace5, tmp_path)
    free = SimpleQueue[Victims]()

    def one(seed: int) -> Path:
        log_dir, said = tmp_path / f"log-{seed}", tmp_path / f"log-{seed}.said"
        write_run(log_dir, ({"x": float(n)} for n in range(RECORDS)))
        write_segments(log_dir, [100, 100, 50])
        victims = free.get()
        victims.start(said, "syncer", "--auto", "--log-dir", str(log_dir), "--cwd", str(log_dir))
        wait_until((log_dir / "state.db").exists, what="the syncer's state.db")
        time.sleep(random.Random(seed).uniform(0.0, MOST_SECONDS))  # the random instant, not a guess
        victim = daemon.holder(log_dir)
        assert victim is not None
        os.kill(victim, signal.SIGKILL)
        assert (victims.ended(), said.read_text()) == (-signal.SIGKILL, "")
        code, output = victims.run(said, "canopy", "sync", str(log_dir), "--once")
        assert code == 0, output
        free.put(victims)
        return log_dir

    with ExitStack() as stack, ThreadPoolExecutor(AT_ONCE) as pool:
        for _ in range(AT_ONCE):
            free.put(stack.enter_context(closing(Victims((__file__,), env))))
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


if __name__ == "__main__":
    from canopy_tui.cli import shipping, sync  # noqa: F401  # what each of them would import
    from wal.cassandra import place  # noqa: F401
    from wal.shipping import loop  # noqa: F401

    fork_for_orders(live)
