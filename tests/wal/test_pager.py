"""The syncer keeps pages.db of every stream equal, byte for byte, to a recomputation from its log."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from uuid import uuid4

import pytest
from helpers.hardlogs import log_hard
from helpers.logs import Ticking, log, make_run, open_journal
from helpers.streampages import in_file, recomputed
from helpers.syncing import step_until, write_segments
from helpers.waiting import wait_until

from wal.journal import Journal
from wal.link import Target
from wal.paging.pagefile import PAGES_FILE, PageFile, PageState, delete_pages, read_state
from wal.paging.pages import Page
from wal.settings import Settings
from wal.shipping.cursors import PagingState, State
from wal.syncer import Syncer


def alone(log_dir: Path, **options: object) -> Syncer:
    """A syncer of a machine where no Cassandra is named."""
    target = Target(Settings(flush_interval=0.02), None)
    return Syncer(log_dir, lambda _: pytest.fail("nothing to connect to"), lambda: target, **options)  # type: ignore[arg-type]


def page(log_dir: Path, **options: object) -> None:
    """Build everything that there is to build, with a syncer of its own."""
    syncer = alone(log_dir, **options)
    try:
        step_until(syncer, lambda outcome: not outcome.unpaged and syncer.backlog.all_seen)
    finally:
        syncer.close()


def assert_whole(stream_dir: Path, through: int | None = None) -> None:
    """The pages go to ``through`` (default: the last record) and are what the log says."""
    expected = recomputed(stream_dir, through)
    assert expected
    assert in_file(stream_dir) == expected


def paged_to(syncer: Syncer, journal: Journal, seq: int) -> PageState:
    """Step until the pages go exactly so far."""

    def state() -> PageState | None:
        return read_state(journal.directory)

    step_until(syncer, lambda _: (found := state()) is not None and found.paged_seq == seq)
    return state() or pytest.fail("it was there")


# -- what is built -----------------------------------------------------------------------------------


@pytest.mark.parametrize("records", [1, 5, 511, 512, 513, 3_000])
def test_an_ended_stream_is_paged_to_its_last_record(tmp_path: Path, records: int) -> None:
    journal = open_journal(tmp_path)
    log_hard(journal, records)
    journal.close("done", 0)
    page(tmp_path)
    assert_whole(journal.directory)
    state = read_state(journal.directory)
    assert state is not None
    assert state.paged_seq == journal.last_seq
    assert [path.name for path in journal.directory.glob(f"{PAGES_FILE}*")] == [PAGES_FILE]


def test_a_live_stream_is_paged_to_its_last_full_512(tmp_path: Path) -> None:
    journal = open_journal(tmp_path, clock_ns=Ticking())
    log_hard(journal, 1)
    syncer = alone(tmp_path)
    step_until(syncer, lambda _: bool(syncer.backlog.streams))
    assert not (journal.directory / PAGES_FILE).exists()
    for seed in (2, 3, 4, 5):
        log_hard(journal, 700, seed)
        through = journal.last_seq // 512 * 512
        paged_to(syncer, journal, through)
        assert_whole(journal.directory, through)
    journal.close("done", 0)
    step_until(syncer, lambda outcome: not outcome.live and not outcome.unpaged)
    assert_whole(journal.directory)
    syncer.close()


def test_late_steps_are_merged_and_said(tmp_path: Path) -> None:
    journal = open_journal(tmp_path, clock_ns=Ticking())
    syncer = alone(tmp_path)
    for step in range(4_096):
        log(journal, step, {"x": 1.0})
    before = paged_to(syncer, journal, 4_096)
    for step in range(512):
        log(journal, 0 if step == 5 else 4_096 + step, {"x": -7.0})
    after = paged_to(syncer, journal, 4_608)
    assert before.late_seq == 0
    assert after.late_seq == 4_608
    assert_whole(journal.directory, 4_608)
    syncer.close()


def test_segments_rotate_under_the_syncer(tmp_path: Path) -> None:
    syncer = alone(tmp_path)
    journal = open_journal(tmp_path, records_per_segment=300, clock_ns=Ticking())
    for at in range(2_000):
        if at % 300 == 299:
            wait_until(lambda: journal._next is not None)
        log(journal, at, {"a": float(at), f"b{at % 3}": 1.0})
        if at % 130 == 0:
            syncer.nudge()
            syncer.step()
    journal.close("failed", 1)
    step_until(syncer, lambda outcome: not outcome.live and not outcome.unpaged)
    assert_whole(journal.directory)
    assert syncer.pager.problems == []
    syncer.close()


def test_every_stream_of_a_run_has_its_own(tmp_path: Path) -> None:
    run = make_run()
    first = open_journal(tmp_path, run)
    ranks = [first, open_journal(tmp_path, run, rank=1), open_journal(tmp_path, run, after=first.stream_id)]
    for at in range(900):  # all at once
        for number, journal in enumerate(ranks):
            log(journal, at + 100 * number, {"loss": number + at / 900})
    for journal in ranks:
        journal.close("done", 0)
    page(tmp_path)
    for journal in ranks:
        assert_whole(journal.directory)


def test_offline_streams_are_paged_and_remembered(tmp_path: Path) -> None:
    journal = open_journal(tmp_path, mode="offline")
    log_hard(journal, 600)
    journal.close("done", 0)
    page(tmp_path, include_offline=False)
    assert_whole(journal.directory)
    again = alone(tmp_path, include_offline=False)
    step_until(again, lambda _: again.backlog.all_seen)
    assert not list(again.backlog.everything)
    again.close()


def test_a_stream_without_records(tmp_path: Path) -> None:
    journal = open_journal(tmp_path)
    journal.close("done", 0)
    page(tmp_path)
    assert read_state(journal.directory) is None
    assert in_file(journal.directory) == {}


def test_wide_records_and_large_steps(tmp_path: Path) -> None:
    journal = open_journal(tmp_path)
    for at in range(40):
        log(journal, at * 1_048_583, {f"layer/{n}": n / (at + 1) for n in range(2_000)})
    journal.close("done", 0)
    page(tmp_path)
    assert_whole(journal.directory)
    state = read_state(journal.directory)
    assert state is not None
    assert state.shift == 6  # 8^6 = 262,144 is the largest power below the gap


def test_the_comparison_sees_a_changed_bit_and_a_missing_page(tmp_path: Path) -> None:
    journal = open_journal(tmp_path)
    log_hard(journal, 1_500)
    journal.close("done", 0)
    page(tmp_path)
    expected = recomputed(journal.directory)
    found = in_file(journal.directory)
    assert found == expected
    key = max(found)
    newest, body = found[key]
    assert found | {key: (newest, body[:-1] + bytes([body[-1] ^ 1]))} != expected
    assert found | {key: (newest - 1, body)} != expected
    del found[key]
    assert found != expected


@pytest.mark.parametrize("pages", [64, 4_096])
def test_looking_a_page_up_costs_the_same_in_a_long_run(tmp_path: Path, pages: int) -> None:
    """Counted in steps of SQLite's machine: a slice looks up a handful of pages, however many there are."""
    file = PageFile(tmp_path)
    file.begin(pages, 0)
    metric = file.metric_id("loss")
    file.write([Page(metric, 1, number, number + 1, b"body") for number in range(pages)])
    file.commit()
    steps: list[int] = []
    file._connection.set_progress_handler(lambda: steps.append(1), 1)
    found = file.read(1, [(metric, number) for number in (3, pages - 1, pages)])
    file._connection.set_progress_handler(None, 0)
    assert found == [(metric, 3, b"body"), (metric, pages - 1, b"body")]
    assert 0 < len(steps) < 100
    file.close()


# -- what is there already ---------------------------------------------------------------------------


def test_pages_that_are_complete_are_not_opened_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    directory = write_segments(tmp_path, [300, 300, 200])
    page(tmp_path)
    opened: list[Path] = []
    original = PageFile.__init__

    def watched(self: PageFile, stream_dir: Path, **options: bool) -> None:
        opened.append(stream_dir)
        original(self, stream_dir, **options)

    monkeypatch.setattr(PageFile, "__init__", watched)
    page(tmp_path)
    assert opened == []
    delete_pages(directory)
    page(tmp_path)
    assert set(opened) == {directory}
    assert_whole(directory)


def overwrite_header(path: Path) -> None:
    path.write_bytes(b"this was never a database" * 400)


def overwrite_middle(path: Path) -> None:
    size = path.stat().st_size
    with path.open("r+b") as file:
        file.seek(size // 4)
        file.write(os.urandom(size // 2))


def truncate(path: Path) -> None:
    os.truncate(path, path.stat().st_size // 2)


def another_format(path: Path) -> None:
    with sqlite3.connect(path) as db:
        db.execute("UPDATE meta SET v = 99 WHERE k = 'format'")
        db.execute("DELETE FROM page")
    db.close()


@pytest.mark.parametrize(
    "damage", [Path.unlink, overwrite_header, overwrite_middle, truncate, another_format]
)
@pytest.mark.parametrize("ended", [True, False])
def test_a_damaged_file_is_built_anew(tmp_path: Path, damage: Callable[[Path], None], ended: bool) -> None:
    journal = open_journal(tmp_path, clock_ns=Ticking())
    log_hard(journal, 3_000)
    if ended:
        journal.close("done", 0)
    page(tmp_path)
    damage(journal.directory / PAGES_FILE)
    if not ended:
        log_hard(journal, 600, seed=2)
        journal.close("done", 0)
    page(tmp_path)
    assert_whole(journal.directory)


def test_a_file_that_vanishes_under_the_syncer(tmp_path: Path) -> None:
    journal = open_journal(tmp_path, clock_ns=Ticking())
    syncer = alone(tmp_path)
    log_hard(journal, 1_100)
    step_until(syncer, lambda outcome: (journal.directory / PAGES_FILE).exists() and not outcome.unpaged)
    delete_pages(journal.directory)
    log_hard(journal, 1_100, seed=2)
    journal.close("done", 0)
    step_until(syncer, lambda outcome: not outcome.live and not outcome.unpaged)
    assert_whole(journal.directory)
    syncer.close()


def test_the_shift_is_kept_for_a_file_that_is_built_anew(tmp_path: Path) -> None:
    journal = open_journal(tmp_path)
    for at in range(10):
        log(journal, at * 64, {"x": 1.0})
    journal.close("done", 0)
    page(tmp_path)
    state = State(tmp_path)
    (known,) = state.paging().values()
    assert known.shift == 2
    state.put_paging(known, shift=1)  # as if settled when fewer records were there
    state.commit()
    state.close()
    delete_pages(journal.directory)
    page(tmp_path)
    found = read_state(journal.directory)
    assert found is not None
    assert found.shift == 1


# -- what cannot be read -----------------------------------------------------------------------------


def test_pages_hold_what_can_be_read_and_are_built_anew_when_more_can(tmp_path: Path) -> None:
    directory = write_segments(tmp_path, [600, 600, 600])
    expected = recomputed(directory, lacking=range(601, 1_201))
    whole = (directory / "000002.db").read_bytes()
    (directory / "000002.db").write_bytes(b"\xff" * len(whole))
    syncer = alone(tmp_path)
    step_until(syncer, lambda outcome: not outcome.unpaged and syncer.backlog.all_seen)
    state = read_state(directory)
    assert state is not None
    assert state.paged_seq == 1_800
    assert any("600 records cannot be read" in problem for problem in syncer.pager.problems)
    assert in_file(directory) == expected
    (directory / "000002.db").write_bytes(whole)
    syncer._damaged_at = 0.0
    step_until(syncer, lambda outcome: not outcome.unpaged and not syncer.pager.problems)
    assert_whole(directory)
    syncer.close()


def test_a_directory_that_cannot_be_written_is_said_and_tried_again(tmp_path: Path) -> None:
    directory = write_segments(tmp_path, [100])
    (directory / PAGES_FILE).mkdir()  # not even root can open it
    syncer = alone(tmp_path)
    step_until(syncer, lambda _: bool(syncer.pager.problems))
    assert "it is tried again" in syncer.pager.problems[0]
    (directory / PAGES_FILE).rmdir()
    syncer._damaged_at = 0.0
    step_until(syncer, lambda outcome: not outcome.unpaged and not syncer.pager.problems)
    assert_whole(directory)
    syncer.close()


def test_what_is_remembered_is_read_back(tmp_path: Path) -> None:
    state = State(tmp_path)
    stream_id = uuid4()
    known = state.put_paging(PagingState(stream_id), shift=3, built_seq=4, built_ns=5, local=True)
    state.put_paging(known, coarse_settled=9, fine_settled=8, shipped=True)
    state.commit()
    other = State(tmp_path)
    expected = PagingState(stream_id, 3, 4, 5, 0, 9, 8, shipped=True, local=True)
    assert other.paging() == {stream_id: expected}
    state.start_over()
    assert other.paging() == {stream_id: replace(expected, coarse_settled=0, fine_settled=0, shipped=False)}
