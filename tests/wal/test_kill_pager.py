"""kill -9 of a syncer at any statement that it sends to pages.db: the next one makes the pages whole."""

from __future__ import annotations

import os
import signal
import sqlite3
import sys
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
from helpers.hardlogs import log_hard
from helpers.logs import Ticking, open_journal
from helpers.streampages import in_file, recomputed
from helpers.trainer import environment
from helpers.victims import Victims, fork_for_orders

from wal.link import Target
from wal.paging.pagefile import PAGES_FILE, delete_pages
from wal.settings import Settings
from wal.shipping import pager
from wal.syncer import Syncer

pytestmark = pytest.mark.kill

RECORDS = 1_400
SLICE_RECORDS = 256
"""Six slices, each with pages of several levels."""

PLACES = 24


def make_pages(log_dir: str, fatal: int) -> None:
    """The victim: builds all pages and kills itself at a statement; prints how many there were otherwise."""
    seen = 0

    def trace(_statement: str) -> None:
        nonlocal seen
        seen += 1
        if seen == fatal:
            os.kill(os.getpid(), signal.SIGKILL)

    connect = sqlite3.connect

    def traced(database: object, *arguments: object, **options: object) -> sqlite3.Connection:
        connection = connect(database, *arguments, **options)  # type: ignore[call-overload]
        if str(database).endswith(PAGES_FILE):
            connection.set_trace_callback(trace)
        return connection

    sqlite3.connect = traced  # type: ignore[assignment]
    pager.SLICE_RECORDS = SLICE_RECORDS
    target = Target(Settings(flush_interval=0.02), None)
    syncer = Syncer(Path(log_dir), lambda _: sys.exit("nothing to connect to"), lambda: target)
    while (outcome := syncer.step()).unpaged or not syncer.backlog.all_seen:
        syncer.wait(min(outcome.wake_in_s, 0.01))
    syncer.close()
    print(seen)


@pytest.fixture(scope="module")
def victims() -> Iterator[Victims]:
    with closing(Victims((__file__,), environment())) as victims:
        yield victims


@pytest.mark.parametrize("ended", [True, False])
def test_pages_are_whole_whenever_the_syncer_was_killed(
    tmp_path: Path, victims: Victims, ended: bool
) -> None:
    def run(fatal: int = 0) -> int | None:
        return victims.steps(tmp_path / "said", str(tmp_path), fatal)

    journal = open_journal(tmp_path, clock_ns=Ticking())
    log_hard(journal, RECORDS)
    if ended:
        journal.close("done", 0)
    through = journal.last_seq if ended else journal.last_seq // 512 * 512
    expected = recomputed(journal.directory, through)
    statements = run()
    assert statements is not None
    assert in_file(journal.directory) == expected
    for place in range(PLACES):
        for path in tmp_path.glob("state.db*"):
            path.unlink()
        delete_pages(journal.directory)
        fatal = 1 + place * (statements - 1) // (PLACES - 1)
        assert run(fatal) is None
        if place % 2 and ended:  # and once more, wherever the second one is then
            run(fatal // 2 + 1)
        assert run() is not None
        assert in_file(journal.directory) == expected, f"killed at statement {fatal} of {statements}"
    journal.close("done", 0)


if __name__ == "__main__":
    fork_for_orders(make_pages)
