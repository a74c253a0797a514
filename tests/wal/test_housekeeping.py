"""The log may take more disk than it should: who looks and who trains is told, and logging goes on."""

from __future__ import annotations

from pathlib import Path

import pytest
from helpers.logs import log, make_run, write_run
from helpers.syncing import step_until
from helpers.waiting import wait_until

from wal.journal import Journal, Limits
from wal.link import Target
from wal.merged import MergedSource
from wal.reading.acks import Acks
from wal.segments import notice
from wal.settings import Settings
from wal.syncer import Syncer

TINY_GB = 1e-6


def warned(log_dir: Path, limit_gb: float) -> str:
    """What a syncer without a Cassandra says of the disk."""
    target = Target(Settings(flush_interval=0.02, disk_limit_gb=limit_gb), None)
    syncer = Syncer(log_dir, lambda _: None, lambda: target)  # type: ignore[arg-type, return-value]
    # Its thread has measured once the file is there, or is gone.
    step_until(syncer, lambda _: (log_dir / notice.DISK_WARNING).exists() is (limit_gb == TINY_GB))
    step_until(syncer, lambda outcome: not outcome.unpaged)
    syncer.close()
    acks = Acks(log_dir)
    acks.poll()
    return str(acks.status["warning"])


def test_a_log_that_is_too_large_and_not_shipped_warns_until_it_is_not(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    write_run(tmp_path, ({"x": float(n)} for n in range(50)))
    assert "disk_limit_gb: 1e-06" in warned(tmp_path, TINY_GB)
    source = MergedSource(tmp_path, find=lambda: Target(Settings(), None))
    assert "records in it are not shipped; logging goes on" in source.status().warning
    source.close()

    notice.forget()
    journal = Journal(tmp_path, make_run(), limits=Limits(tick_seconds=0.005))
    said = ""
    while "canopy: the log takes" not in said:
        assert log(journal, journal.last_seq, {"x": 1.0}) == journal.last_seq
        said += capfd.readouterr().err
    synced = journal._synced_seq
    log(journal, journal.last_seq, {"x": 1.0})
    wait_until(lambda: journal._synced_seq > synced)  # another round
    journal.close()
    said += capfd.readouterr().err
    assert said.count("canopy: the log takes") == 1

    assert warned(tmp_path, 10.0) == ""
    notice.forget()
    journal = Journal(tmp_path, make_run(), limits=Limits(tick_seconds=0.005))
    log(journal, 0, {"x": 1.0})
    wait_until(lambda: journal._synced_seq > 0)
    journal.close()
    assert capfd.readouterr().err == ""


def test_without_a_limit_nobody_is_warned(tmp_path: Path) -> None:
    write_run(tmp_path, [{"x": 1.0}])
    assert warned(tmp_path, 0.0) == ""
