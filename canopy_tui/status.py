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
    said, kept = _connection(status, now_ns), _kept(status, now_ns)
    if failure:
        said = [Piece("not up to date", "bad"), Piece(f" · {fmt.clean(failure)} · "), *said]
    advice = [Piece(fmt.clean(text), "muted") for text in (status.remedy, _why(status)) if text]
    if status.warning:  # first, or a narrow terminal would cut it off
        advice.insert(0, Piece(fmt.clean(status.warning, 1000), "bad"))
    for place in range(len(advice) - 1, 0, -1):
        advice.insert(place, Piece(" · ", "muted"))
    if not advice:
        return [[*said, *kept]]
    joined = [*said, *kept, Piece(" · ", "muted"), *advice]
    if _cells(joined) <= width:
        return [joined]
    # A long sentence must not push out that nothing is lost.
    return [[*said, *kept], advice] if _cells([*said, *kept]) <= width else [said, [*advice, *kept]]


def _cells(pieces: list[Piece]) -> int:
    return sum(fmt.cells(piece.text) for piece in pieces)


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
            return [Piece(f"{where} ", "muted"), Piece(f"offline{since}", "bad")]
        case Connection.TROUBLE:
            named = bool(status.endpoint) and status.endpoint in status.detail
            trouble = Piece(detail or "in trouble", "bad")
            return [trouble] if named else [Piece(f"{where}: ", "muted"), trouble]


def _why(status: StoreStatus) -> str:
    """What is not said yet: in trouble the detail is the news, while starting it is the progress."""
    said = status.connection in (Connection.TROUBLE, Connection.STARTING)
    return "" if said else status.detail


def _kept(status: StoreStatus, now_ns: int) -> list[Piece]:
    """While Cassandra is away: what is not in it is not lost, and how old what it said is."""
    if status.connection not in (Connection.OFFLINE, Connection.TROUBLE):
        return []
    kept: list[Piece] = []
    if status.unshipped:
        kept.append(Piece(f" · {fmt.plural(status.unshipped, 'record')} safe on disk"))
    if status.as_of_ns:
        kept.append(Piece(f" · other hosts as of {clock(status.as_of_ns, now_ns)}"))
    return kept


def clock(ns: int, now_ns: int) -> str:
    """The local time of day, with the date when that was more than a day ago."""
    shape = "%H:%M" if now_ns - ns < _DAY_NS else "%d %b %H:%M"
    return time.strftime(shape, time.localtime(ns / 1e9))
