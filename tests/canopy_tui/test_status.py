"""The line that says where the data comes from."""

from __future__ import annotations

import pytest
from helpers.rows import NOW_NS

from canopy_tui import format as fmt
from canopy_tui.listing import Piece
from canopy_tui.status import status_lines
from canopy_tui.widgets.status_line import clip
from wal.source import Connection, StoreStatus

pytestmark = pytest.mark.usefixtures("utc")


@pytest.mark.parametrize(
    ("status", "words"),
    [
        (StoreStatus(Connection.UP, endpoint="127.0.0.1:9042"), "Cassandra 127.0.0.1:9042 up"),
        (StoreStatus(Connection.CATCHING_UP, endpoint="db:9042", unshipped=3120),
         "Cassandra db:9042 catching up 3,120 records"),
        (StoreStatus(Connection.STARTING, "starting 9 s"), "Cassandra starting 9 s"),
        (StoreStatus(Connection.OFFLINE, endpoint="db:9042", since_ns=1_789_990_000 * 10**9,
                     unshipped=88, remedy="start it: canopy cassandra up"),
         "offline since 11:26 · 88 records safe on disk · start it: canopy cassandra up"),
        (StoreStatus(Connection.TROUBLE, "the password is wrong", "see the settings", "db:9042"),
         "Cassandra db:9042: the password is wrong · see the settings"),
        (StoreStatus(Connection.TROUBLE, "Cassandra at db:9042 refused the user", "", "db:9042", unshipped=1),
         "Cassandra at db:9042 refused the user · 1 record safe on disk"),
        (StoreStatus(Connection.LOCAL_ONLY, unshipped=9), "local only"),
    ],
)  # fmt: skip
def test_says_where_the_data_comes_from(status: StoreStatus, words: str) -> None:
    assert words in said(status)


def test_a_day_ago_carries_its_date() -> None:
    status = StoreStatus(Connection.OFFLINE, since_ns=NOW_NS - 3 * 86_400 * 10**9)
    assert "offline since 18 Sep 14:13" in said(status)


def test_while_cassandra_is_away_it_is_said_how_old_its_last_word_is() -> None:
    status = StoreStatus(Connection.OFFLINE, unshipped=88, as_of_ns=NOW_NS - 600 * 10**9)
    assert said(status) == "Cassandra offline · 88 records safe on disk · other hosts as of 14:03"


def test_a_warning_stands_behind_the_connection() -> None:
    status = StoreStatus(Connection.UP, warning="the log takes 12.0 GB")
    assert said(status) == "Cassandra up · the log takes 12.0 GB"


def test_a_warning_is_not_pushed_out_by_a_remedy() -> None:
    status = StoreStatus(
        Connection.OFFLINE, "refused", "See canopy status --check", unshipped=88, warning="12.0 GB taken"
    )
    assert said(status, 60) == (
        "Cassandra offline · 88 records safe on disk\n12.0 GB taken · See canopy status --check · refused"
    )


def test_a_failure_comes_first() -> None:
    assert said(StoreStatus(Connection.UP), failure="the disk is gone").startswith(
        "not up to date · the disk is gone · Cassandra up"
    )


def test_the_remedy_has_a_line_of_its_own_where_it_does_not_fit() -> None:
    status = StoreStatus(
        Connection.OFFLINE, "the node is stopped", "start it: canopy cassandra up", unshipped=88
    )
    assert said(status, 60) == (
        "Cassandra offline · 88 records safe on disk\nstart it: canopy cassandra up · the node is stopped"
    )


def test_a_long_sentence_leaves_room_to_say_that_nothing_is_lost() -> None:
    status = StoreStatus(
        Connection.TROUBLE, "no node of it is in dc9", "Set local_dc.", "db:9042", unshipped=88
    )
    assert said(status, 50) == (
        "Cassandra db:9042: no node of it is in dc9\nSet local_dc. · 88 records safe on disk"
    )


def said(status: StoreStatus, width: int = 200, failure: str = "") -> str:
    lines = status_lines(status, NOW_NS, width, failure)
    return "\n".join("".join(piece.text for piece in line) for line in lines)


@pytest.mark.parametrize("width", range(0, 30))
def test_clipped_to_the_width(width: int) -> None:
    pieces = [Piece("日本語 status", "muted"), Piece(" and more", "bad")]
    kept = clip(pieces, width)
    assert sum(fmt.cells(piece.text) for piece in kept) <= width
