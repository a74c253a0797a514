"""Rows of the table of faults that need no seed: each test is one of them, made on purpose."""

from __future__ import annotations

import os
import re
import shutil
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from helpers.syncerprocess import SyncerProcess
from helpers.syncing import drain
from helpers.trainer import environment
from helpers.waiting import wait_until

from faults.oracles import Direct, judge, told
from faults.trainer import Order, SeededTrainer
from wal.cassandra.server import Node
from wal.settings import Settings

LISTED = Path(__file__).with_name("README.md")


def order(scratch: Path, **fields: object) -> Order:
    """Of a trainer whose files lie in ``scratch``."""
    paths = {"log_dir": scratch / "log", "acks": scratch / "acks", "enough": scratch / "enough"}
    return Order(**{name: str(path) for name, path in paths.items()}, seed=7, **fields)  # type: ignore[arg-type]


def opened_to_write(pid: int, log_dir: Path) -> set[Path]:
    """The databases of a log directory that a process has open for writing, as Linux tells."""
    found: set[Path] = set()
    for link in Path(f"/proc/{pid}/fd").iterdir():
        try:
            path = link.readlink()
            flags = int(
                re.findall(r"flags:\s*(\d+)", Path(f"/proc/{pid}/fdinfo/{link.name}").read_text())[0], 8
            )
        except OSError:  # closed meanwhile
            continue
        if path.suffix == ".db" and path.is_relative_to(log_dir) and flags & os.O_ACCMODE != os.O_RDONLY:
            found.add(path)
    return found


@pytest.mark.skipif(not Path("/proc/self/fdinfo").exists(), reason="needs Linux' /proc")
def test_one_process_may_write_each_file(tmp_path: Path) -> None:
    trainer = SeededTrainer(order(tmp_path, records_per_segment=200, pace_s=0.001))
    log_dir = tmp_path / "log"
    state = str(tmp_path / "state")
    syncer = SyncerProcess(
        log_dir, environment(CANOPY_NODE="none", XDG_STATE_HOME=state, XDG_CONFIG_HOME=state)
    )
    try:
        wait_until(lambda: trainer.acked > 0)
        syncer.start()
        seen: dict[Path, set[int]] = {}

        def look() -> bool:
            for pid in (trainer.process.pid, syncer.pid):
                for path in opened_to_write(pid, log_dir):
                    seen.setdefault(path, set()).add(pid)
            return trainer.acked > 1_200

        wait_until(look)
        trainer.finish()
    finally:
        trainer.kill()
        syncer.kill()
    names = {path.name for path in seen}
    assert names >= {"state.db", "pages.db"}
    assert any(re.fullmatch(r"\d{6}\.db", name) for name in names), names  # the first may be sealed by now
    assert all(len(pids) == 1 for pids in seen.values()), seen


def test_copies_of_one_log_shipped_by_two_machines_at_once(
    tmp_path: Path, keyspace5: Settings, cassandra5: Node
) -> None:
    trainer = SeededTrainer(order(tmp_path, records=1_500, records_per_segment=400, pace_s=0.0))
    trainer.wait_for(0)
    copy = tmp_path / "copy"
    shutil.copytree(tmp_path / "log", copy)
    with ThreadPoolExecutor() as pool:
        for outcome in pool.map(lambda log_dir: drain(log_dir, keyspace5), (tmp_path / "log", copy)):
            assert outcome.drained
    with Direct(cassandra5.endpoint) as direct:
        findings = judge([trainer.truth], direct.scan(keyspace5.keyspace))
    assert findings == {}, told(findings)


def test_every_test_of_the_list_is_there() -> None:
    root = LISTED.parents[2]
    named = re.findall(r"`(tests/[\w/]+\.py)(?:::(\w+))?`", LISTED.read_text())
    assert len(named) > 40
    for path, test in named:
        assert f"def {test}(" in (root / path).read_text() if test else (root / path).is_file(), (path, test)
