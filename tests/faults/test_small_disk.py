"""A disk that is full: a small tmpfs with a file in the way, under the log and under the syncer's store."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from helpers.smalldisk import CannotMount, fill, small_disk
from helpers.syncing import make_syncer, step_until
from helpers.trainer import run_script
from helpers.waiting import stream_records, streams_in

from faults.oracles import Direct, judge, told
from faults.records import content, record
from faults.trainer import log_seeded
from faults.truth import Truth
from wal.cassandra.server import Node
from wal.segments.meta import Limits
from wal.settings import Settings
from wal.syncer import DAMAGED_S
from wal.training.current import start_run
from wal.training.starting import Wishes

DISK_BYTES = 4 << 20
SEED = 3


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    try:
        with small_disk(tmp_path / "disk", DISK_BYTES) as disk:
            yield disk
    except CannotMount as error:
        pytest.skip(f"only root may mount a tmpfs, and only on Linux: {error}")


LOGS_ON = """
import json, sys, time
from pathlib import Path
from faults.records import record
from helpers.smalldisk import fill
from wal.syncer import DAMAGED_S
from wal.training.current import start_run
from wal.segments.meta import Limits
from wal.training.starting import Wishes

disk = Path(sys.argv[1])
limits = Limits(records=100, tick_seconds=0.02)
run = start_run(disk / "log", Wishes(project="faults", name="full"), limits=limits)

def log(number):
    step, ts, data = record(int(sys.argv[2]), number)
    return run.log(data, step=step, ts=ts)

seqs = [log(number) for number in range(1, 251)]
ballast = fill(disk)
while log(len(seqs) + 1) is not None:
    seqs.append(len(seqs) + 1)
seqs.append(None)
seqs += [log(number) for number in range(len(seqs) + 1, len(seqs) + 401)]
ballast.unlink()
deadline = time.monotonic() + 30
while not run.flush():
    assert time.monotonic() < deadline
    time.sleep(0.01)
seqs += [log(number) for number in range(len(seqs) + 1, len(seqs) + 51)]
run.finish()
print(json.dumps(seqs))
"""


def test_the_log_waits_for_a_full_disk_in_memory(disk: Path) -> None:
    finished = run_script(LOGS_ON, str(disk), str(SEED), CANOPY_SILENT="0")
    assert finished.returncode == 0, finished.stderr
    assert finished.stderr.count("cannot be written") == 1
    seqs: list[int | None] = json.loads(finished.stdout)
    assert seqs.count(None) == 401
    (stream,) = streams_in(disk / "log")
    found = stream_records(stream)
    assert [one.seq for one in found] == list(range(1, len(seqs) + 1)), "no call is lost, nor the order"
    assert all(content(*one[2:]) == record(SEED, one.seq).content for one in found)


def test_the_syncer_goes_on_when_its_store_can_be_written_again(
    disk: Path, keyspace5: Settings, cassandra5: Node, caplog: pytest.LogCaptureFixture
) -> None:
    run = start_run(disk / "log", Wishes(project="faults", name="full"), limits=Limits(records=400))
    assert run.stream_id is not None
    log_seeded(run, SEED, 2_000)
    run.finish()
    skipped_s = 0.0
    syncer = make_syncer(
        disk / "log", replace(keyspace5, batch_size=20), monotonic=lambda: time.monotonic() + skipped_s
    )
    step_until(syncer, lambda _: syncer.stored > 0)
    ballast = fill(disk)
    step_until(syncer, lambda _: "state.db cannot be written" in caplog.text)
    ballast.unlink()
    skipped_s = DAMAGED_S  # pages that could not be kept are tried again after it
    step_until(syncer, lambda outcome: outcome.drained and not syncer.pager.problems)
    syncer.close()
    directory = disk / "log" / str(run.run_id) / str(run.stream_id)
    with Direct(cassandra5.endpoint) as direct:
        findings = judge(
            [Truth(run.run_id, run.stream_id, SEED, 2_000, directory)], direct.scan(keyspace5.keyspace)
        )
    assert findings == {}, told(findings)
