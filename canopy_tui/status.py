"""Where the data comes from, in a line. Pure."""

from __future__ import annotations

import time

from canopy_tui import format as fmt
from canopy_tui.listing import Piece
from wal.source import Connection, StoreStatus

_DAY_NS = 86_400 * 1_000_000_000


def status_lines(status: StoreStatus, now_ns: int, width: int, failure: str = "") -> list[list[Piece]]:
    """The status in one line, or in two where the remedy would not fit behind what happened.

    ``failure`` is why the last read of the screen failed.
    """
    said = _connection(status, now_ns)
    if failure:
        said = [Piece("not up to date", "bad"), Piece(f" · {fmt.clean(failure)} · "), *said]
    advice = [Piece(fmt.clean(text), "muted") for text in (status.remedy, _why(status)) if text]
    for place in range(len(advice) - 1, 0, -1):
        advice.insert(place, Piece(" · ", "muted"))
    if not advice:
        return [said]
    joined = [*said, Piece(" · ", "muted"), *advice]
    return [joined] if sum(fmt.cells(piece.text) for piece in joined) <= width else [said, advice]


def _connection(status: StoreStatus, now_ns: int) -> list[Piece]:
    where = "Cassandra" + (f" {fmt.clean(status.endpoint)}" if status.endpoint else "")
    detail = fmt.clean(status.detail)
    match status.connection:
        case Connection.UP:
            return [Piece(f"{where} up", "muted")]
        case Connection.CATCHING_UP:
            waiting = fmt.plural(status.unshipped, "record")
            return [Piece(f"{where} ", "muted"), Piece(f"catching up {waiting}", "accent")]
        case Connection.STARTING:
            return [Piece("Cassandra ", "muted"), Piece(detail or "starting", "accent")]
        case Connection.LOCAL_ONLY:
            return [Piece("local only", "muted")]
        case Connection.OFFLINE:
            since = f" since {clock(status.since_ns, now_ns)}" if status.since_ns else ""
            return [Piece(f"{where} ", "muted"), Piece(f"offline{since}", "bad"), *_kept(status)]
        case Connection.TROUBLE:
            return [Piece(f"{where}: ", "muted"), Piece(detail or "in trouble", "bad"), *_kept(status)]


def _why(status: StoreStatus) -> str:
    """What is not said yet: in trouble the detail is the news, while starting it is the progress."""
    said = status.connection in (Connection.TROUBLE, Connection.STARTING)
    return "" if said else status.detail


def _kept(status: StoreStatus) -> list[Piece]:
    """What is not in Cassandra is not lost: it says where it is."""
    if not status.unshipped:
        return []
    return [Piece(f" · {fmt.plural(status.unshipped, 'record')} safe on disk")]


def clock(ns: int, now_ns: int) -> str:
    """The local time of day, with the date when that was more than a day ago."""
    shape = "%H:%M" if now_ns - ns < _DAY_NS else "%d %b %H:%M"
    return time.strftime(shape, time.localtime(ns / 1e9))
