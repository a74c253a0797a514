"""Records read by column are the records read one by one, bit for bit."""

from __future__ import annotations

import sqlite3
import struct
import subprocess
import sys
from pathlib import Path

import pytest
from helpers.hardlogs import log_hard
from helpers.logs import log, make_run, open_journal

from wal.journal import CorruptSegment, Journal, Limits, Rows, read_rows
from wal.record import Kind
from wal.shipping.columns import Columns, columns_of, read_columns
from wal.shipping.pagepoints import points_of


def points(columns: Columns) -> dict[str, list[tuple[int, int, int, bytes]]]:
    """(seq, step, µs, bits) by metric, as they come."""
    names: list[str] = []

    def metric_id(name: str) -> int:
        if name not in names:
            names.append(name)
        return names.index(name)

    batch = points_of(columns, metric_id)
    found: dict[str, list[tuple[int, int, int, bytes]]] = {}
    for metric, seq, step, us, value in zip(
        batch.metric.tolist(), batch.seq.tolist(), batch.step.tolist(), batch.us.tolist(),
        batch.value.tolist(), strict=True,
    ):  # fmt: skip
        found.setdefault(names[metric], []).append((seq, step, us, struct.pack("<d", value)))
    return found


def one_by_one(rows: Rows) -> dict[str, list[tuple[int, int, int, bytes]]]:
    """The same, unpacked by the record's own code."""
    found: dict[str, list[tuple[int, int, int, bytes]]] = {}
    for record in rows.records():
        if record.kind is Kind.LOG:
            for name, value in record.values.items():
                place = record.seq, record.step, record.ts // 1_000, struct.pack("<d", value)
                found.setdefault(name, []).append(place)
    return found


def hard_segment(log_dir: Path, records: int = 2_000) -> Path:
    journal = open_journal(log_dir)
    log_hard(journal, records)
    journal.close("done", 0)
    return journal.directory / "000001.db"


def test_columns_hold_what_the_rows_hold(tmp_path: Path) -> None:
    path = hard_segment(tmp_path)
    rows = read_rows(path)
    expected = one_by_one(rows)
    assert len(expected) > 1
    for columns in (read_columns(path, 1, 1 << 40), columns_of(rows)):
        assert columns.seqs.tolist() == [row[0] for row in rows.rows]
        assert points(columns) == expected
        assert columns.first_steps() == [row[3] for row in rows.rows if row[1] == Kind.LOG][:64]
        assert columns.body_bytes == sum(len(row[5]) for row in rows.rows if row[1] == Kind.LOG)


def test_a_range_is_read_and_no_more(tmp_path: Path) -> None:
    path = hard_segment(tmp_path, 300)
    columns = read_columns(path, 100, 199)
    assert columns.seqs.tolist() == list(range(100, 200))
    assert points(columns) == one_by_one(read_rows(path, 99, 100))
    assert not len(read_columns(path, 5_000, 6_000).seqs)


def test_a_record_without_numbers_or_its_names_has_no_points_and_a_step(tmp_path: Path) -> None:
    journal = open_journal(tmp_path)
    log(journal, 7, {}, None, note="a text alone")
    log(journal, 8, {"loss": 1.0})
    log(journal, 9, {"loss": 1.0, "acc": 2.0})
    log(journal, 11, {"lr": 3.0})
    journal.close("done", 0)
    path = journal.directory / "000001.db"
    with sqlite3.connect(path) as db:
        db.execute("UPDATE record SET body = substr(body, 1, 12) WHERE seq = 3")  # too short for two
        db.execute("DELETE FROM keyset WHERE id = (SELECT keyset FROM record WHERE seq = 4)")
    db.close()
    columns = read_columns(path, 1, 4)
    assert columns.seqs.tolist() == [1, 2, 3, 4]
    assert columns.first_steps() == [7, 8, 9, 11]
    assert {name: [seq for seq, *_ in found] for name, found in points(columns).items()} == {"loss": [2]}


def test_large_records_are_read_though_nothing_can_be_written(tmp_path: Path) -> None:
    """As on a full disk, where SQLite has no room to sort them."""
    journal = Journal(tmp_path, make_run(), limits=Limits(wal_bytes=1 << 30))
    for step in range(3):
        log(journal, step, {"loss": 1.0}, None, essay="x" * (3 << 20))
    journal.close("done", 0)
    code = (
        "import resource, sys; from pathlib import Path; from wal.shipping.columns import read_columns\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))\n"
        "print(read_columns(Path(sys.argv[1]), 1, 3).seqs.tolist(), flush=True)"
    )
    path = str(journal.directory / "000001.db")
    done = subprocess.run([sys.executable, "-c", code, path], capture_output=True, text=True)
    assert (done.stdout, done.stderr) == ("[1, 2, 3]\n", "")


@pytest.mark.parametrize(
    "change", ["step = 'seven'", "ts = 1.5", "ts = NULL", "body = 'eight by'", "kind = 'x'", "keyset = 2.5"]
)
def test_a_row_that_canopy_does_not_write_is_refused(tmp_path: Path, change: str) -> None:
    path = hard_segment(tmp_path, 50)
    with sqlite3.connect(path) as db:
        statement = db.execute("SELECT sql FROM sqlite_master WHERE name = 'record'").fetchone()[0]
        db.executescript(
            "ALTER TABLE record RENAME TO old;"
            "CREATE TABLE record(seq INTEGER PRIMARY KEY, kind, keyset, step, ts, body);"
            "INSERT INTO record SELECT * FROM old; DROP TABLE old;"
            f"UPDATE record SET {change} WHERE seq = 20; PRAGMA writable_schema = 1;"
        )
        db.execute("UPDATE sqlite_master SET sql = ? WHERE name = 'record'", (statement,))
    db.close()
    for read in (lambda: read_columns(path, 1, 50), lambda: read_rows(path)):
        with pytest.raises(CorruptSegment, match="a row that Canopy does not write"):
            read()
    assert len(read_columns(path, 1, 19).seqs) == 19
