"""Pages: 64 neighbouring bucket places of one metric and level as bytes, the unit of storage.

A page holds the buckets that are not empty. Integers are offsets from the bucket's first step, or from the
page's smallest time and seq, in as few bytes as the page's largest one needs; a page in which every bucket
has one point holds each point once. The bytes follow from the buckets alone: equal buckets, equal bytes.

Layout, little-endian: a header of 32 bytes (version, exponent, 1 when all buckets have one point, widths in
bytes of counts, counts of what is not finite, steps, times and seqs, the mask of filled places, the smallest
time in microseconds, the smallest seq), then one row per bucket.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from wal.paging.buckets import FAN_OUT_BITS, Buckets, concatenate, no_buckets, starts_of

if TYPE_CHECKING:
    from numpy.typing import NDArray

VERSION = 1
PAGE_BITS = 6
PLACES = 1 << PAGE_BITS
MAX_EXPONENT = 20
"""8^20 steps: sixteen such buckets span all int64 steps."""

_HEADER = np.dtype(
    [("version", "u1"), ("exponent", "u1"), ("single", "u1"), ("count_width", "u1"), ("bad_width", "u1"),
     ("step_width", "u1"), ("us_width", "u1"), ("seq_width", "u1"), ("mask", "<u8"), ("us", "<i8"),
     ("seq", "<i8")]
)  # fmt: skip
_WIDTHS = ("count_width", "bad_width", "step_width", "us_width", "seq_width")
_WIDTH_BYTES = np.array([0, 1, 2, 4, 8], dtype=np.uint8)
_IS_WIDTH = np.isin(np.arange(256), _WIDTH_BYTES)
_PLACES = ("first", "last", "min", "max")
_BAD = ("n_nan", "n_pinf", "n_ninf")


class CorruptPage(ValueError):
    """Bytes that are no page, or one of a newer version. The message says what is wrong."""


@dataclass(frozen=True, slots=True)
class Page:
    """An encoded page. ``newest_seq`` is of the newest point in it, ``metric`` as in its buckets."""

    metric: int
    level: int
    number: int
    newest_seq: int
    body: bytes


def encode(buckets: Buckets, exponent: int, level: int) -> list[Page]:
    """The pages of all these buckets, which must be whole pages: every filled place of each is there."""
    if not len(buckets):
        return []
    number = buckets.number >> PAGE_BITS
    starts = starts_of(buckets.metric, number)
    counts = np.diff(np.append(starts, len(buckets)))
    page_of = np.repeat(np.arange(len(starts)), counts)
    finite = buckets.finite > 0
    head = np.zeros(len(starts), dtype=_HEADER)
    head["version"], head["exponent"] = VERSION, exponent
    head["mask"] = np.bitwise_or.reduceat(
        np.uint64(1) << (buckets.number & (PLACES - 1)).astype(np.uint64), starts
    )
    head["single"] = np.maximum.reduceat(buckets.n, starts) == 1
    head["seq"] = np.minimum.reduceat(buckets.first_seq, starts)
    times = [getattr(buckets, f"{name}_us") for name in _PLACES]
    earliest = np.minimum.reduce([np.where(finite, time, _LATE) for time in times])
    smallest = np.minimum.reduceat(earliest, starts)
    head["us"] = np.where(smallest == _LATE, 0, smallest)
    rows = _offsets(buckets, exponent, head["us"][page_of], head["seq"][page_of], finite)
    for width, names in _WIDTH_OF.items():
        largest = np.maximum.reduce([rows[name] for name in names])
        head[width] = _width(np.maximum.reduceat(largest, starts))
    bodies = _bodies(rows, head, starts, counts, page_of)
    newest = np.maximum.reduceat(buckets.last_seq, starts)
    keys = zip(buckets.metric[starts].tolist(), number[starts].tolist(), newest.tolist(), bodies, strict=True)
    return [Page(metric, level, page, newest_seq, body) for metric, page, newest_seq, body in keys]


_LATE = np.iinfo(np.int64).max
_SINGLE = ("value", "first_step", "first_us", "first_seq")
_FULL = (
    "n", *_BAD, *_PLACES, "sum", *(f"{name}_step" for name in _PLACES), *(f"{name}_us" for name in _PLACES),
    "first_seq", "last_seq",
)  # fmt: skip
_WIDTH_OF: dict[str, tuple[str, ...]] = {
    "count_width": ("n",),
    "bad_width": _BAD,
    "step_width": tuple(f"{name}_step" for name in _PLACES),
    "us_width": tuple(f"{name}_us" for name in _PLACES),
    "seq_width": ("first_seq", "last_seq"),
}
_WIDTH_NAMED = {name: width for width, names in _WIDTH_OF.items() for name in names}


def _offsets(
    buckets: Buckets, exponent: int, us: NDArray[np.int64], seq: NDArray[np.int64], finite: NDArray[np.bool_]
) -> dict[str, Any]:
    """Every column of a row, times and seqs from the page's smallest, steps from the bucket's first."""
    start = buckets.number << np.int64(FAN_OUT_BITS * exponent)
    rows: dict[str, Any] = {"sum": buckets.sum}
    for name in ("n", *_BAD):
        rows[name] = getattr(buckets, name).astype(np.uint64)
    for name in _PLACES:
        rows[name] = getattr(buckets, name)
        rows[f"{name}_step"] = np.where(finite, getattr(buckets, f"{name}_step") - start, 0).astype(np.uint64)
        rows[f"{name}_us"] = np.where(finite, getattr(buckets, f"{name}_us") - us, 0).astype(np.uint64)
    for name in ("first_seq", "last_seq"):
        rows[name] = (getattr(buckets, name) - seq).astype(np.uint64)
    rows["value"] = buckets.first
    if not finite.all():
        bad = np.where(buckets.n_pinf > 0, np.inf, np.where(buckets.n_ninf > 0, -np.inf, np.nan))
        rows["value"] = np.where(finite, buckets.first, bad)
    return rows


def _width(largest: NDArray[np.uint64]) -> NDArray[np.uint8]:
    """Bytes that hold the number: 0, 1, 2, 4 or 8."""
    limits = np.array([0, 0xFF, 0xFFFF, 0xFFFF_FFFF], dtype=np.uint64)
    return _WIDTH_BYTES[np.searchsorted(limits, largest, side="left")]


def _row(single: int, widths: Sequence[int]) -> np.dtype[np.void]:
    """The row of a page with these widths, in the order of :data:`_WIDTHS`."""
    width: dict[str, int] = dict(zip(_WIDTHS, widths, strict=True))
    parts: list[tuple[str, str]] = []
    for name in _SINGLE if single else _FULL:
        kind = _WIDTH_NAMED.get(name)
        if kind is None:
            parts.append((name, "<f8"))
        elif width[kind]:
            parts.append((name, f"<u{width[kind]}"))
    return np.dtype(parts)


def _kinds(head: NDArray[np.void]) -> tuple[NDArray[np.int64], NDArray[np.intp]]:
    """The page kinds that occur, rows of (single, \\*widths), and which of them each page is."""
    code = head["single"].astype(np.int64)
    for name in _WIDTHS:
        code = code * 16 + head[name]
    _, first, kind = np.unique(code, return_index=True, return_inverse=True)
    columns = [head["single"][first], *(head[name][first] for name in _WIDTHS)]
    return np.stack(columns, axis=1).astype(np.int64), kind


def _bodies(
    rows: dict[str, Any],
    head: NDArray[np.void],
    starts: NDArray[np.intp],
    counts: NDArray[np.intp],
    page_of: NDArray[np.intp],
) -> list[bytes]:
    heads = head.tobytes()
    bodies: list[bytes] = [b""] * len(starts)
    kinds, kind = _kinds(head)
    for at, (single, *widths) in enumerate(kinds.tolist()):
        pages = np.flatnonzero(kind == at)
        row = _row(single, widths)
        inside = slice(None) if len(kinds) == 1 else np.flatnonzero(kind[page_of] == at)
        table = np.empty(int(counts[pages].sum()), dtype=row)
        for name in row.names or ():
            table[name] = rows[name][inside]
        joined = table.tobytes()
        low = 0
        for page, count in zip(pages.tolist(), counts[pages].tolist(), strict=True):
            high = low + count * row.itemsize
            bodies[page] = heads[page * _HEADER.itemsize : (page + 1) * _HEADER.itemsize] + joined[low:high]
            low = high
    return bodies


# -- decoding ---------------------------------------------------------------------------------------


def decode(pages: Sequence[tuple[int, int, bytes]], exponent: int) -> Buckets:
    """The buckets of pages given as (metric, page number, bytes), in ascending order of the first two.

    Raises CorruptPage; nothing larger than the bytes given is ever allocated for them.
    """
    if not pages:
        return no_buckets()
    size = _HEADER.itemsize
    short = [number for _, number, body in pages if len(body) < size]
    if short:
        raise CorruptPage(f"page {short[0]} is shorter than its header")
    head = np.frombuffer(b"".join([bytes(body[:size]) for *_, body in pages]), dtype=_HEADER)
    _check_heads(head, exponent)
    filled = np.unpackbits(
        np.ascontiguousarray(head["mask"]).view(np.uint8).reshape(-1, 8), axis=1, bitorder="little"
    )
    counts = filled.sum(axis=1, dtype=np.int64)
    page_of, place = np.nonzero(filled)
    metric = np.array([metric for metric, _, _ in pages], dtype=np.int64)
    number = np.array([number for _, number, _ in pages], dtype=np.int64)
    bucket = (number[page_of] << PAGE_BITS) + place
    kinds, kind = _kinds(head)
    parts: list[Buckets] = []
    places: list[NDArray[np.intp]] = []
    for at, (single, *widths) in enumerate(kinds.tolist()):
        row = _row(single, widths)
        mine = np.flatnonzero(kind == at)
        for page in mine.tolist():
            if len(pages[page][2]) != size + counts[page] * row.itemsize or not counts[page]:
                raise CorruptPage(
                    f"page {number[page]} has {len(pages[page][2])} bytes, not what it announces"
                )
        table = np.frombuffer(b"".join([pages[page][2][size:] for page in mine.tolist()]), dtype=row)
        inside = np.flatnonzero(kind[page_of] == at)
        owner = page_of[inside]
        parts.append(
            _from_rows(table, metric[owner], bucket[inside], exponent, head["us"][owner], head["seq"][owner])
        )
        places.append(inside)
    whole = concatenate(parts)
    return whole if len(parts) == 1 else whole.pick(np.argsort(np.concatenate(places)))


def _check_heads(head: NDArray[np.void], exponent: int) -> None:
    newer = head["version"] > VERSION
    if newer.any():
        raise CorruptPage(
            "a page was written by a newer Canopy: upgrade this one with pip install -U canopy-tui"
        )
    sound = (head["version"] == VERSION) & (head["exponent"] == exponent) & (head["single"] <= 1)
    for name in _WIDTHS:
        sound &= _IS_WIDTH[head[name]]
    if not sound.all():
        raise CorruptPage("a page's header is not one that Canopy writes")


def _from_rows(
    table: NDArray[np.void], metric: NDArray[np.int64], number: NDArray[np.int64], exponent: int,
    us: NDArray[np.int64], seq: NDArray[np.int64],
) -> Buckets:  # fmt: skip
    start = number << np.int64(FAN_OUT_BITS * exponent)
    names = table.dtype.names or ()
    none = np.zeros(len(table), dtype=np.int64)

    def column(name: str) -> NDArray[np.int64]:
        return table[name].astype(np.int64) if name in names else none

    made: dict[str, Any] = {"metric": metric, "number": number}
    if "value" in names:
        value = table["value"].astype(np.float64)
        bad = [np.isnan(value), value == np.inf, value == -np.inf]
        made["n"] = np.ones(len(table), dtype=np.int64)
        made.update(zip(_BAD, (mask.astype(np.int64) for mask in bad), strict=True))
        finite = ~(bad[0] | bad[1] | bad[2])
        made["sum"] = np.where(finite, value, 0.0) + 0.0  # a sum starts from 0.0: that of -0.0 alone is 0.0
        made |= {name: np.where(finite, value, np.nan) for name in _PLACES}
        made |= {f"{name}_step": np.where(finite, start + column("first_step"), 0) for name in _PLACES}
        made |= {f"{name}_us": np.where(finite, us + column("first_us"), 0) for name in _PLACES}
        made["first_seq"] = made["last_seq"] = seq + column("first_seq")
        return Buckets(**made)
    made |= {name: column(name) for name in ("n", *_BAD)}
    finite = made["n"] > made["n_nan"] + made["n_pinf"] + made["n_ninf"]
    made["sum"] = table["sum"].astype(np.float64)
    for name in _PLACES:
        made[name] = table[name].astype(np.float64)
        made[f"{name}_step"] = np.where(finite, start + column(f"{name}_step"), 0)
        made[f"{name}_us"] = np.where(finite, us + column(f"{name}_us"), 0)
    made["first_seq"], made["last_seq"] = seq + column("first_seq"), seq + column("last_seq")
    _check_rows(made, finite)
    return Buckets(**made)


def _check_rows(made: dict[str, Any], finite: NDArray[np.bool_]) -> None:
    """What a reader relies on: counts that add up, and values exactly where a finite point is."""
    sound = (made["n"] > 0) & (made["n"] >= made["n_nan"] + made["n_pinf"] + made["n_ninf"])
    for name in _PLACES:
        sound &= np.isfinite(made[name]) == finite
    if not sound.all():
        raise CorruptPage("a page's counts and values contradict each other")
