"""The tables of ``state.db``, brought up to date step by step."""

from __future__ import annotations

from sqlite_utils import Database
from sqlite_utils.db import Table
from sqlite_utils.migrations import Migrations

migrations = Migrations("canopy_syncer")


@migrations()
def _first(db: Database) -> None:
    # Every column is spelled out and the tables are STRICT: nothing is guessed from a first row.
    for name, columns, pk in (
        (
            "stream",
            {
                "stream": str, "run": str, "base_us": int, "registered": int, "end_shipped": int,
                "announced": int, "state": str, "ended_ns": int, "last_seq": int,
            },
            "stream",
        ),
        (
            "cursor",
            {"stream": str, "segment": int, "first_seq": int, "acked": int, "stated": int},
            ("stream", "segment"),
        ),
        (
            "closing",
            {
                "stream": str, "segment": int, "last_seq": int, "count": int, "digest": str,
                "min_step": int, "max_step": int,
            },
            ("stream", "segment"),
        ),
        (
            "doubtful",
            {"stream": str, "segment": int, "mark": int, "first_seq": int, "last_seq": int},
            ("stream", "segment", "mark"),
        ),
        ("rejected", {"stream": str, "seq": int, "reason": str, "at_ns": int}, ("stream", "seq")),
    ):  # fmt: skip
        table(db, name).create(columns, pk=pk, strict=True)
    table(db, "destination").create({"id": int, "identity": str}, pk="id", strict=True)
    db.execute("CREATE TABLE status (id INTEGER PRIMARY KEY CHECK (id = 1), json TEXT NOT NULL) STRICT")


@migrations()
def _paging(db: Database) -> None:
    columns = {
        "stream": str, "shift": int, "built_seq": int, "built_ns": int, "identity": int,
        "coarse_settled": int, "fine_settled": int, "shipped": int, "local": int,
    }  # fmt: skip
    table(db, "paging").create(columns, pk="stream", strict=True)


@migrations()
def _remains(db: Database) -> None:
    table(db, "stream").add_column("remains", str)


@migrations()
def _verified(db: Database) -> None:
    columns = {"stream": str, "segment": int, "first_seq": int, "last_seq": int, "at_ns": int}
    table(db, "verified").create(columns, pk=("stream", "segment"), strict=True)


@migrations()
def _pruned(db: Database) -> None:
    columns = {"stream": str, "run": str, "project": str, "name": str, "records": int, "at_ns": int}
    table(db, "pruned").create(columns, pk="stream", strict=True)


def table(db: Database, name: str) -> Table:
    """A table by its name."""
    return db.table(name)
