"""A Cassandra node whose disk becomes full: it stops, as its default policies want, and is started again."""

from __future__ import annotations

from pathlib import Path

from helpers.nodes import keyspace_over_restarts, running_node
from helpers.smalldisk import fill, small_disk
from helpers.syncing import make_syncer, step_until

from faults.oracles import Direct, judge, told
from faults.trainer import log_seeded
from faults.truth import Truth
from wal.training.current import start_run
from wal.training.starting import Wishes

DISK_BYTES = 128 << 20
RECORDS = 40_000
"""Several of its commit log's segments, which are made as small as they may be."""

SEED = 9
HEAL_SECONDS = 180.0


def fill_the_nodes_disk(directory: Path) -> None:
    """Everything that was logged is in Cassandra, once, although its disk was full for a while. Raises
    CannotMount."""
    with small_disk(directory / "disk", DISK_BYTES) as disk:
        overrides = {
            "data_file_directories": [str(disk / "data")], "commitlog_directory": str(disk / "commitlog"),
            "commitlog_segment_size": "1MiB", "commitlog_total_space": "64MiB",
        }  # fmt: skip
        with (
            running_node(directory / "node", overrides=overrides) as node,
            keyspace_over_restarts(node) as settings,
        ):
            run = start_run(directory / "log", Wishes(project="faults", name="full node"))
            assert run.stream_id is not None
            log_seeded(run, SEED, RECORDS)
            run.finish()
            syncer = make_syncer(directory / "log", settings)
            step_until(syncer, lambda _: syncer.stored > 0)
            ballast = fill(disk)
            step_until(syncer, lambda _: syncer.link.trouble is not None)
            ballast.unlink()
            node.kill()
            node.start()
            node.wait_ready()
            step_until(syncer, lambda outcome: outcome.drained, HEAL_SECONDS)
            syncer.close()
            stream = directory / "log" / str(run.run_id) / str(run.stream_id)
            with Direct(node.endpoint) as direct:
                truth = Truth(run.run_id, run.stream_id, SEED, RECORDS, stream)
                findings = judge([truth], direct.scan(settings.keyspace))
    assert findings == {}, told(findings)
