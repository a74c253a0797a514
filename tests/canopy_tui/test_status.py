"""The line that says where the data comes from."""

from __future__ import annotations

import pytest
from helpers.rows import NOW_NS

from canopy_tui import format as fmt
from canopy_tui.listing import Piece
from canopy_tui.status import status_pieces
from canopy_tui.widgets.status_line import clip
from wal.source import Connection, StoreStatus

pytestmark = pytest.mark.usefixtures("utc")


@pytest.mark.parametrize(
    ("status", "words"),
    [
        (StoreStatus(Connection.UP, endpoint="127.0.0.1:9042"), "Cassandra 127.0.0.1:9042 up"),
        (StoreStatus(Connection.CATCHING_UP, endpoint="127.0.0.1:9042", unshipped=3120), "catching up 3,120 records"),
        (StoreStatus(Connection.STARTING, "starting 9 s"), "Cassandra starting 9 s"),
        (StoreStatus(Connection.OFFLINE, endpoint="127.0.0.1:9042", since_ns=1_789_990_000 * 10**9, unshipped=88,
                     remedy="start it: canopy cassandra up"),
         "offline since 11:26 · 88 records safe on disk · start it: canopy cassandra up"),
        (StoreStatus(Connection.TROUBLE, "the password is wrong", "see conf/cassandra_config.yaml", "db:9042"),
         "Cassandra db:9042: the password is wrong · see conf/cassandra_config.yaml"),
        (StoreStatus(Connection.LOCAL_ONLY, unshipped=9), "local only"),
    ],
)  # fmt: skip
def test_says_where_the_data_comes_from(status: StoreStatus, words: str) -> None:
    assert words in "".join(piece.text for piece in status_pieces(status, NOW_NS))


def test_a_day_ago_carries_its_date() -> None:
    status = StoreStatus(Connection.OFFLINE, since_ns=NOW_NS - 3 * 86_400 * 10**9)
    assert "offline since 18 Sep 14:13" in "".join(piece.text for piece in status_pieces(status, NOW_NS))


def test_a_failure_comes_first() -> None:
    pieces = status_pieces(StoreStatus(Connection.UP), NOW_NS, "the disk is gone")
    assert "".join(piece.text for piece in pieces).startswith(
        "not up to date · the disk is gone · Cassandra up"
    )


@pytest.mark.parametrize("width", range(0, 30))
def test_clipped_to_the_width(width: int) -> None:
    pieces = [Piece("日本語 status", "muted"), Piece(" and more", "bad")]
    kept = clip(pieces, width)
    assert sum(fmt.cells(piece.text) for piece in kept) <= width
