"""Segments that are damaged, foreign, half-born or of a newer format: a sentence, and the rest is read."""

from __future__ import annotations

import os
import shutil
import sqlite3
from pathlib import Path

import pytest
from helpers.logs import log, log_topology, make_run, open_journal
from helpers.waiting import stream_records

from wal.journal import (
    CorruptSegment,
    NewerFormat,
    last_seq,
    read_meta,
    read_records,
    read_rows,
    read_summaries,
    segment_paths,
)
from wal.record import CorruptRecord
from wal.segments.segment import SCHEMA

READERS = (read_meta, read_rows, read_records, last_seq, read_summaries)


@pytest.fixture
def sealed(tmp_path: Path) -> Path:
    """A sealed segment of 200 records."""
    journal = open_journal(tmp_path)
    for step in range(200):
        log(journal, step, {"loss": 1.0 / (step + 1)})
    journal.close()
    (path,) = segment_paths(journal.directory)
    return path


def edit(path: Path, sql: str, *parameters: object) -> None:
    connection = sqlite3.connect(path)
    connection.execute(sql, parameters)
    connection.commit()
    connection.close()


@pytest.mark.parametrize("read", READERS)
def test_a_file_that_is_no_database_is_named(tmp_path: Path, read: object) -> None:
    path = tmp_path / "000001.db"
    path.write_bytes(os.urandom(4096))
    with pytest.raises(CorruptSegment, match=r"000001\.db cannot be read \(file is not a database\)"):
        read(path)  # type: ignore[operator]


@pytest.mark.parametrize("read", READERS)
def test_a_newer_format_is_refused_with_what_to_do(sealed: Path, read: object) -> None:
    edit(sealed, "UPDATE meta SET v = '2' WHERE k = 'format'")
    with pytest.raises(NewerFormat, match=r"has format 2, newer than .* \(1\): upgrade Canopy"):
        read(sealed)  # type: ignore[operator]


@pytest.mark.parametrize("read", READERS)
def test_somebody_elses_database_is_refused(tmp_path: Path, read: object) -> None:
    path = tmp_path / "000001.db"
    edit(path, "CREATE TABLE meta(k, v)")
    with pytest.raises(CorruptSegment, match="is not a Canopy segment: it has other tables"):
        read(path)  # type: ignore[operator]
    path.unlink()
    for sql in filter(str.strip, SCHEMA.split(";")):
        edit(path, sql)
    with pytest.raises(CorruptSegment, match="is not a Canopy segment: it states no format"):
        read(path)  # type: ignore[operator]
    edit(path, "INSERT INTO meta VALUES ('format', 'x')")
    with pytest.raises(CorruptSegment, match="its format is 'x'"):
        read(path)  # type: ignore[operator]


def test_a_half_born_segment_is_nothing_yet(tmp_path: Path) -> None:
    path = tmp_path / "000001.db"
    path.touch()
    assert read_meta(path) is None
    assert read_records(path) == []
    assert last_seq(path) == 0
    assert read_summaries(path) == {}


def test_a_file_that_is_gone_is_not_called_corrupt(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="is gone"):
        read_meta(tmp_path / "000001.db")


def test_a_flipped_page_condemns_its_segment_and_no_other(tmp_path: Path) -> None:
    journal = open_journal(tmp_path, records_per_segment=100)
    step = 0
    while len(segment_paths(journal.directory)) < 4:
        log(journal, step, {"loss": float(step)})
        step += 1
    journal.close()
    first, second = segment_paths(journal.directory)[:2]
    with open(first, "r+b") as file:
        file.seek(2 * 1024)
        file.write(os.urandom(os.path.getsize(first) - 3 * 1024))
    with pytest.raises(CorruptSegment, match=r"000001\.db cannot be read .* other segments are not affected"):
        read_records(first)
    assert read_records(second)[0].seq == last_seq_before(second) + 1


def last_seq_before(path: Path) -> int:
    meta = read_meta(path)
    assert meta is not None
    return meta.first_seq - 1


def test_a_torn_write_ahead_log_keeps_its_prefix(tmp_path: Path) -> None:
    """What a loss of power leaves: SQLite's checksums end the log at the first damaged frame."""
    journal = open_journal(tmp_path / "log")
    for step in range(100):
        log(journal, step, {"loss": float(step)})
    copy = tmp_path / "copy"
    shutil.copytree(journal.directory, copy)
    journal.close()
    wal = copy / "000001.db-wal"
    (copy / "000001.db-shm").unlink()
    size = wal.stat().st_size
    with open(wal, "r+b") as file:
        file.seek(size // 2)
        file.write(b"\xff" * 100)
    seqs = [record.seq for record in stream_records(copy)]
    assert 0 < len(seqs) < 100
    assert seqs == list(range(1, len(seqs) + 1))


@pytest.mark.parametrize(
    ("sql", "parameter"),
    [
        ("UPDATE meta SET v = ? WHERE k = 'run'", "{}"),
        ("UPDATE meta SET v = ? WHERE k = 'run'", "[1]"),
        ("UPDATE meta SET v = ? WHERE k = 'stream'", "not json"),
        ("UPDATE meta SET v = ? WHERE k = 'seal'", '{"count": 1}'),
        ("UPDATE meta SET v = ? WHERE k = 'segment'", '{"number": null, "first_seq": 1}'),
    ],
)
def test_a_statement_about_itself_that_is_nonsense_is_named(sealed: Path, sql: str, parameter: str) -> None:
    edit(sealed, sql, parameter)
    with pytest.raises(CorruptSegment, match="states something unreadable about itself"):
        read_meta(sealed)
    assert len(read_records(sealed)) == 200, "its records are none the worse"


def test_records_that_cannot_be_unpacked_are_named_by_their_seq(sealed: Path) -> None:
    edit(sealed, "UPDATE record SET body = x'00' WHERE seq = 7")
    with pytest.raises(CorruptRecord, match="record 7: 1 bytes cannot hold 1 values"):
        read_records(sealed)
    assert len(read_rows(sealed).rows) == 200


def test_summaries_and_names_that_are_nonsense_are_named(sealed: Path) -> None:
    edit(sealed, "UPDATE metric SET summary = x'0102'")
    with pytest.raises(CorruptSegment, match="metric summary"):
        read_summaries(sealed)
    edit(sealed, "UPDATE keyset SET names = '{'")
    with pytest.raises(CorruptSegment, match="metric names"):
        read_rows(sealed)


def test_hostile_names_come_back_as_they_went_in(tmp_path: Path) -> None:
    names = [
        "[/x]",
        "\x1b[31mred\x1b[0m",
        "\u202eright to left",
        "a\0b",
        "",
        "'; DROP TABLE record;--",
        "😀" * 100,
    ]
    run = make_run(project="\x1b]0;title\x07", name="[/x]", notes="a\0b", tags=tuple(names))
    journal = open_journal(tmp_path, run)
    log(journal, 0, dict.fromkeys(names, 1.0), **{"text\n": "\x1b[2J"})
    log_topology(journal, 0, {name: name for name in names})
    journal.close()
    (path,) = segment_paths(journal.directory)
    meta = read_meta(path)
    assert meta is not None
    assert meta.run == run
    record = read_records(path)[0]
    assert set(record.values) == set(names)
    assert record.texts == {"text\n": "\x1b[2J"}
    assert set(read_summaries(path)) == set(names)
