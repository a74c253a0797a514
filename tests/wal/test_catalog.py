"""The catalogue of a log directory, on logs that the journal wrote."""

from __future__ import annotations

import os
import shutil
import sqlite3
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from helpers.logs import SECOND, START_NS, Ticking, log, make_run, open_journal, write_run
from helpers.pagedlogs import fill_pages
from helpers.waiting import eventually

from wal.catalog import Catalog
from wal.reading import streamtree
from wal.reading.streams import SILENCE_NS, StreamEntry
from wal.record import uuid7
from wal.source import RunState, SourceError


def only(catalog: Catalog) -> StreamEntry:
    (entry,) = catalog.streams()
    return entry


def segment(entry: StreamEntry, number: int = 1) -> Path:
    return entry.directory / f"{number:06d}.db"


def in_another_process(code: str, *arguments: object) -> subprocess.Popen[str]:
    """A process that runs ``code``, says "ready", and waits until it is killed."""
    root = Path(__file__).parents[2]
    path = os.pathsep.join([str(root), str(root / "tests")])
    process = subprocess.Popen(
        [sys.executable, "-c", code + READY_THEN_WAIT, *map(str, arguments)],
        stdout=subprocess.PIPE, stdin=subprocess.PIPE, text=True, env=os.environ | {"PYTHONPATH": path},
    )  # fmt: skip
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    return process


READY_THEN_WAIT = """
print("ready", flush=True)
sys.stdin.read()
"""

TRAIN = """
import sys
from pathlib import Path
from helpers.logs import log, open_journal
journal = open_journal(Path(sys.argv[1]))
for step in range(1, 51):
    log(journal, step, {"loss": 1 / step})
"""


# -- states ----------------------------------------------------------------------------------------


def test_nothing_there_is_nothing(tmp_path: Path) -> None:
    assert Catalog(tmp_path / "none").run_rows() == []


def test_a_live_stream_grows_and_ends(tmp_path: Path) -> None:
    catalog = Catalog(tmp_path)
    journal = open_journal(tmp_path)
    assert (only(catalog).state, only(catalog).last_seq) == (RunState.RUNNING, 0)
    for step in range(1, 6):
        log(journal, step, {"loss": 1 / step})
        entry = only(catalog)
        assert (entry.last_seq, entry.last_step, entry.summaries["loss"][1].last) == (step, step, 1 / step)
    journal.close("failed", 3)
    entry = only(catalog)
    assert (entry.state, entry.exit_code, entry.ended_ns, entry.final) == (RunState.FAILED, 3, START_NS, True)
    assert entry.summaries["loss"][1].n == 5


def test_a_killed_trainer_has_crashed(tmp_path: Path) -> None:
    catalog = Catalog(tmp_path)
    trainer = in_another_process(TRAIN, tmp_path)
    assert only(catalog).state is RunState.RUNNING
    trainer.kill()
    trainer.communicate()
    entry = only(catalog)
    assert (entry.state, entry.last_seq, entry.final) == (RunState.CRASHED, 50, True)
    assert entry.ended_ns == entry.heartbeat_ns
    # And for whoever looks first only now, by the segments or by what the first one put into the cache.
    catalog.close()
    assert only(Catalog(tmp_path)).state is RunState.CRASHED


def test_pages_that_are_built_of_a_crashed_stream_do_not_move_its_end(tmp_path: Path) -> None:
    trainer = in_another_process(TRAIN, tmp_path)
    trainer.kill()
    trainer.communicate()
    catalog = Catalog(tmp_path)
    before = only(catalog)
    fill_pages(before.directory, 50)
    for now in (only(catalog), only(Catalog(tmp_path))):
        assert (now.state, now.ended_ns, now.heartbeat_ns) == (
            RunState.CRASHED, before.ended_ns, before.heartbeat_ns
        )  # fmt: skip


def test_another_hosts_stream_is_stale_when_silent(tmp_path: Path) -> None:
    journal = open_journal(tmp_path, host="elsewhere")
    log(journal, 1, {"loss": 1.0})
    # The journal of this very process would be known to live: read a copy, as a shared file system shows it.
    elsewhere = tmp_path / "shared"
    ahead = shutil.ignore_patterns("000002*")  # the segment that is being made meanwhile
    shutil.copytree(tmp_path / str(journal.run.run_id), elsewhere / str(journal.run.run_id), ignore=ahead)
    clock = Ticking(max(path.stat().st_mtime_ns for path in elsewhere.rglob("*")))
    catalog = Catalog(elsewhere, clock)
    assert only(catalog).state is RunState.RUNNING
    clock.tick(SILENCE_NS / SECOND + 1)
    assert only(catalog).state is RunState.STALE
    journal.close()


# -- changes ---------------------------------------------------------------------------------------


def test_runs_come_and_go(tmp_path: Path) -> None:
    catalog = Catalog(tmp_path)
    first, _ = write_run(tmp_path, [{"loss": 1.0}], make_run(name="a", at_ns=START_NS))
    assert [row.name for row in catalog.run_rows()] == ["a"]
    write_run(tmp_path, [{"loss": 1.0}], make_run(name="b", at_ns=START_NS + SECOND))
    assert [row.name for row in catalog.run_rows()] == ["b", "a"]
    assert [row.name for row in catalog.run_rows(limit=1)] == ["b"]
    shutil.rmtree(tmp_path / str(first))
    assert [row.name for row in catalog.run_rows()] == ["b"]


def test_an_unchanged_run_is_the_same_object(tmp_path: Path) -> None:
    write_run(tmp_path, [{"loss": 1.0}], make_run(name="a", at_ns=START_NS))
    journal = open_journal(tmp_path, make_run(name="b", at_ns=START_NS + SECOND))
    catalog = Catalog(tmp_path)
    before = catalog.run_rows()
    log(journal, 1, {"loss": 2.0})
    after = catalog.run_rows()
    assert after[1] is before[1]
    assert after[0].records == 1
    journal.close()


@pytest.fixture
def nothing_ended_is_looked_at(monkeypatch: pytest.MonkeyPatch) -> None:
    """As with very many runs, of which a look takes a small share."""
    monkeypatch.setattr(streamtree, "SETTLED_NS", 0)
    monkeypatch.setattr(streamtree, "ENDED_PER_LOOK", 0)


@pytest.mark.usefixtures("nothing_ended_is_looked_at")
def test_the_resume_of_a_run_that_ended_shows_at_once(tmp_path: Path) -> None:
    info = make_run()
    write_run(tmp_path, [{"loss": 1.0}], info)
    catalog = Catalog(tmp_path)
    assert [row.streams for row in (catalog.run_rows(), catalog.run_rows())[1]] == [1]
    journal = open_journal(tmp_path, info, clock_ns=lambda: START_NS + SECOND)
    (row,) = catalog.run_rows()
    assert (row.streams, row.state) == (2, RunState.RUNNING)
    journal.close()


@pytest.mark.usefixtures("nothing_ended_is_looked_at")
def test_what_ended_is_looked_at_in_turn(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in "abc":
        write_run(tmp_path, [{"loss": 1.0}], make_run(name=name))
    catalog = Catalog(tmp_path)
    first = segment(catalog.streams()[0])
    catalog.streams()
    first.with_name("000002.db").write_bytes(b"not a segment")
    assert not any(entry.problem for entry in catalog.streams())
    monkeypatch.setattr(streamtree, "ENDED_PER_LOOK", 1)
    looks = [[entry.problem for entry in catalog.streams()] for _ in range(3)]
    assert any(any(problems) for problems in looks)


def test_one_run_is_looked_at_alone(tmp_path: Path) -> None:
    run_id, stream_id = write_run(tmp_path, [{"loss": 1.0}], make_run(name="a"))
    other, _ = write_run(tmp_path, [{"loss": 1.0}], make_run(name="b"))
    catalog = Catalog(tmp_path)
    assert [entry.stream_id for entry in catalog.streams_of(run_id)] == [stream_id]
    assert catalog.known(run_id, stream_id) is not None
    assert catalog.streams_of(uuid7()) == []
    shutil.rmtree(tmp_path / str(run_id))
    assert catalog.streams_of(run_id) == []
    assert catalog.known(run_id, stream_id) is None
    assert [row.run_id for row in catalog.run_rows()] == [other]


def test_config_and_tags_are_the_newest(tmp_path: Path) -> None:
    run = make_run(config={"lr": 1})
    journal = open_journal(tmp_path, run)
    catalog = Catalog(tmp_path)
    only(catalog)
    journal.update_run(run._replace(config={"lr": 2, "total_steps": 9}, tags=("x",), version=2))
    log(journal, 1, {"loss": 1.0})
    (row,) = eventually(catalog.run_rows, lambda rows: rows[0].tags == ("x",))
    assert row.total_steps == 9
    journal.close()


def test_a_long_stream_is_read_from_its_last_seal(tmp_path: Path) -> None:
    records = [{"loss": float(step % 97), **({"rare": 1.0} if step == 3 else {})} for step in range(1, 101)]
    write_run(tmp_path, records, records_per_segment=10)
    entry = only(Catalog(tmp_path))
    assert len(list(entry.directory.glob("*.db"))) > 3
    assert (entry.last_seq, entry.first_step, entry.last_step) == (100, 1, 100)
    assert (entry.summaries["loss"][1].n, entry.summaries["rare"][1].n) == (100, 1)
    assert list(entry.summaries) == ["loss", "rare"]


def test_a_resumed_run_is_one_row(tmp_path: Path) -> None:
    run = make_run()
    first = open_journal(tmp_path, run)
    for step in range(1, 11):
        log(first, step, {"loss": 1 / step})
    first.close("failed", 1)
    later = START_NS + 100 * SECOND
    second = open_journal(tmp_path, run, lambda: later, after=first.stream.stream_id)
    log(second, 11, {"loss": 0.01})
    (row,) = Catalog(tmp_path).run_rows()
    assert (row.state, row.streams, row.records, row.step) == (RunState.RUNNING, 2, 11, 11)
    metric = row.metrics["loss"]
    assert (metric.summary.n, metric.best) == (11, (0.01, 11))
    second.close()


def test_other_ranks_do_not_speak_for_the_run(tmp_path: Path) -> None:
    run = make_run()
    main = open_journal(tmp_path, run)
    log(main, 1, {"loss": 1.0})
    worker = open_journal(tmp_path, run, lambda: START_NS + SECOND, rank=1)
    log(worker, 1, {"loss": 5.0, "only_here": 2.0})
    worker.close("failed", 1)
    (row,) = Catalog(tmp_path).run_rows()
    assert row.state is RunState.RUNNING
    assert row.metrics["loss"].summary.max == 1.0
    assert row.metrics["only_here"].summary.max == 2.0
    main.close()


def test_a_forked_workers_end_is_not_the_runs(tmp_path: Path) -> None:
    run = make_run()
    main = open_journal(tmp_path, run)
    worker = open_journal(tmp_path, run, lambda: START_NS + SECOND, parent=main.stream.stream_id)
    worker.close()
    (row,) = Catalog(tmp_path).run_rows()
    assert row.state is RunState.RUNNING
    main.close()


# -- what cannot be read -----------------------------------------------------------------------------


def overwrite(path: Path) -> None:
    path.write_bytes(b"not a database at all, " * 100)


def make_newer(path: Path) -> None:
    with sqlite3.connect(path) as connection:
        connection.execute("UPDATE meta SET v = '99' WHERE k = 'format'")
    connection.close()


@pytest.mark.parametrize(
    ("damage", "words"), [(overwrite, "cannot be read"), (make_newer, "newer than this Canopy reads")]
)
def test_a_damaged_stream_says_so_and_leaves_the_others(
    tmp_path: Path, damage: Callable[[Path], None], words: str
) -> None:
    write_run(tmp_path, [{"loss": 1.0}], make_run(name="good"))
    bad, _ = write_run(tmp_path, [{"loss": 1.0}], make_run(name="bad"))
    (path,) = (tmp_path / str(bad)).rglob("000001.db")
    damage(path)
    rows = {row.run_id: row for row in Catalog(tmp_path).run_rows()}
    assert words in rows[bad].problem
    assert str(path) in rows[bad].problem
    assert [row.name for row in rows.values() if not row.problem] == ["good"]


def test_a_damaged_segment_in_between_keeps_the_rest(tmp_path: Path) -> None:
    write_run(tmp_path, [{"loss": float(step)} for step in range(1, 31)], records_per_segment=10)
    last = sorted(tmp_path.rglob("*.db"))[-1]
    overwrite(last)
    entry = only(Catalog(tmp_path))
    assert entry.problem is not None
    assert entry.last_seq >= 10
    assert entry.summaries["loss"][1].n == entry.last_seq


def test_a_log_directory_that_is_a_file(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_text("")
    with pytest.raises(SourceError, match="cannot be read"):
        Catalog(path).run_rows()


def test_foreign_names_are_passed_over(tmp_path: Path) -> None:
    (tmp_path / "notes").mkdir()
    (tmp_path / str(uuid7())).write_text("a file")
    (tmp_path / str(uuid7()).upper()).mkdir()
    (tmp_path / str(uuid7()) / "x").mkdir(parents=True)
    write_run(tmp_path, [{"loss": 1.0}])
    assert len(Catalog(tmp_path).streams()) == 1


# -- the cache ----------------------------------------------------------------------------------------


def spoil_unseen(path: Path) -> None:
    """Change a file so that ``os.stat`` does not show it: whoever reads it now finds nothing."""
    stat = path.stat()
    path.write_bytes(b"\0" * stat.st_size)
    os.utime(path, ns=(stat.st_atime_ns, stat.st_mtime_ns))


def test_what_ended_is_read_from_the_cache(tmp_path: Path) -> None:
    write_run(tmp_path, [{f"m{at}": float(at) for at in range(40)} | {"val/loss": 0.5}])
    catalog = Catalog(tmp_path)
    entry = only(catalog)
    catalog.close()
    spoil_unseen(segment(entry))
    cached = only(Catalog(tmp_path))
    assert cached.problem is None
    assert (cached.run, cached.info, cached.state, cached.last_seq) == (entry.run, entry.info, entry.state, 1)
    assert list(cached.summaries) == list(entry.summaries)
    assert cached.summaries["m0"][1].last == 0.0
    assert cached.summaries["val/loss"][1].last == 0.5  # beyond the first few, but likely to be the main one


def test_a_metric_that_the_cache_lacks_comes_from_the_segment(tmp_path: Path) -> None:
    write_run(tmp_path, [{f"m{at:02}": float(at) for at in range(40)}])
    catalog = Catalog(tmp_path)
    catalog.streams()
    catalog.close()
    assert only(Catalog(tmp_path)).summaries["m39"][1].last == 39.0


def test_a_live_stream_goes_on_from_the_cache(tmp_path: Path) -> None:
    journal = open_journal(tmp_path)
    for step in range(1, 1101):
        log(journal, step, {"loss": 1 / step})
    catalog = Catalog(tmp_path)
    catalog.streams()
    catalog.close()
    for step in range(1101, 1201):
        log(journal, step, {"loss": 1 / step})
    entry = only(Catalog(tmp_path))
    assert (entry.last_seq, entry.last_step) == (1200, 1200)
    summary = entry.summaries["loss"][1]
    assert (summary.n, summary.min, summary.max) == (1200, 1 / 1200, 1.0)
    journal.close()


def make_another_version(path: Path) -> None:
    connection = sqlite3.connect(path)
    connection.execute("PRAGMA user_version = 99")
    connection.close()


@pytest.mark.parametrize("damage", [overwrite, make_another_version])
def test_a_cache_that_is_no_good_is_made_anew(tmp_path: Path, damage: Callable[[Path], None]) -> None:
    write_run(tmp_path, [{"loss": 1.0}])
    catalog = Catalog(tmp_path)
    catalog.streams()
    catalog.close()
    path = tmp_path / "index.db"
    damage(path)
    again = Catalog(tmp_path)
    assert only(again).summaries["loss"][1].last == 1.0
    again.close()
    with sqlite3.connect(f"file:{path}?mode=ro", uri=True) as connection:
        assert connection.execute("SELECT count(*) FROM stream").fetchone() == (1,)
    connection.close()


def test_two_catalogues_and_one_writer(tmp_path: Path) -> None:
    first, second = Catalog(tmp_path), Catalog(tmp_path)
    write_run(tmp_path, [{"loss": 1.0}])
    assert only(first).last_seq == only(second).last_seq == 1
    write_run(tmp_path, [{"loss": 1.0}], make_run(name="b"))
    assert len(second.streams()) == 2  # works although another holds the lock
    first.close()
    second.close()


def test_another_process_holds_the_lock(tmp_path: Path) -> None:
    write_run(tmp_path, [{"loss": 1.0}])
    holder = in_another_process(
        "import sys; from pathlib import Path; from wal.catalog import Catalog\n"
        "catalog = Catalog(Path(sys.argv[1])); catalog.streams()",
        tmp_path,
    )
    write_run(tmp_path, [{"loss": 2.0}], make_run(name="b"))
    assert len(Catalog(tmp_path).streams()) == 2
    holder.kill()
    holder.communicate()


# -- what was shipped ---------------------------------------------------------------------------------


def test_acknowledged_ranges_come_from_the_syncers_store(tmp_path: Path) -> None:
    _, stream = write_run(tmp_path, [{"loss": 1.0}] * 30, records_per_segment=10)
    catalog = Catalog(tmp_path)
    assert (only(catalog).acked, only(catalog).unshipped) == ((), 30)
    connection = sqlite3.connect(tmp_path / "state.db")
    connection.execute("PRAGMA journal_mode = WAL")
    connection.execute("CREATE TABLE cursor(stream TEXT, segment INTEGER, first_seq INTEGER, acked INTEGER)")
    connection.execute("CREATE TABLE status(id INTEGER PRIMARY KEY, json TEXT)")
    rows = [(str(stream), 1, 1, 10), (str(stream), 2, 11, 15), (str(stream), 3, 21, 20)]
    connection.executemany("INSERT INTO cursor VALUES (?, ?, ?, ?)", rows)
    connection.execute("INSERT INTO status VALUES (1, '{\"pid\": 1}')")
    connection.commit()
    entry = only(catalog)
    assert (entry.acked, entry.unshipped) == (((1, 15),), 15)
    assert catalog.acks.status == {"pid": 1}
    connection.execute("UPDATE cursor SET acked = 30 WHERE segment = 3")
    connection.commit()
    entry = only(catalog)
    assert (entry.acked, entry.unshipped) == (((1, 15), (21, 30)), 5)
    assert catalog.run_rows()[0].shipped
    connection.close()
