"""Buckets: what a chart needs to know of the points of a step interval, and how buckets become larger ones.

A bucket keeps the first, last, smallest and largest finite value of its points. Those four draw the line that
all the points would draw in a column of dots (M4: Jugel, Jerzak, Hackenbroich and Markl, "M4: a
visualization-oriented time series data aggregation", VLDB 2014), and they merge: the four of a union follow
from the fours of its parts. What is not finite is counted apart and is in no other field.

Every function has one result for one set of points, whatever the batches they came in: bit for bit, sums
included. That is what lets two machines compare their pages.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields
from operator import attrgetter, itemgetter
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

FAN_OUT_BITS = 3
"""A bucket holds eight of the level below: 0.14 buckets per point in all, and reading at least two buckets
per column costs at most sixteen."""


@dataclass(frozen=True, slots=True)
class Batch:
    """Points of several metrics, in seq order within each metric; all arrays of one shape (p,).

    ``metric`` is an index into a list of names that the caller keeps, ``us`` microseconds since the epoch.
    """

    metric: NDArray[np.int64]
    seq: NDArray[np.int64]
    step: NDArray[np.int64]
    us: NDArray[np.int64]
    value: NDArray[np.float64]

    def __len__(self) -> int:
        return len(self.seq)

    def pick(self, which: NDArray[np.bool_] | slice) -> Batch:
        """The points at these places."""
        return Batch(self.metric[which], self.seq[which], self.step[which], self.us[which], self.value[which])


@dataclass(frozen=True, slots=True)
class Buckets:
    """Buckets in ascending order of (metric, number), none twice; all arrays of one shape (m,).

    Bucket ``number`` of exponent e holds the steps ``number * 8^e`` … ``(number + 1) * 8^e - 1``. ``n``
    counts all points, ``n_nan``, ``n_pinf`` and ``n_ninf`` those that are not finite. ``first`` and ``last``
    are by (step, seq), ``min`` and ``max`` the first to reach the extreme in that order; each with its step
    and its time in microseconds. Without a finite point the values are NaN, ``sum``, steps and times 0.
    ``sum`` is left to right by seq in a base bucket and over the children above it; NaN once it overflowed.
    ``first_seq`` and ``last_seq`` are of all points.
    """

    metric: NDArray[np.int64]
    number: NDArray[np.int64]
    n: NDArray[np.int64]
    n_nan: NDArray[np.int64]
    n_pinf: NDArray[np.int64]
    n_ninf: NDArray[np.int64]
    first: NDArray[np.float64]
    last: NDArray[np.float64]
    min: NDArray[np.float64]
    max: NDArray[np.float64]
    sum: NDArray[np.float64]
    first_step: NDArray[np.int64]
    last_step: NDArray[np.int64]
    min_step: NDArray[np.int64]
    max_step: NDArray[np.int64]
    first_us: NDArray[np.int64]
    last_us: NDArray[np.int64]
    min_us: NDArray[np.int64]
    max_us: NDArray[np.int64]
    first_seq: NDArray[np.int64]
    last_seq: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.n)

    @property
    def finite(self) -> NDArray[np.int64]:
        """Finite points per bucket."""
        return self.n - self.n_nan - self.n_pinf - self.n_ninf

    def pick(self, which: NDArray[np.intp] | NDArray[np.bool_] | slice) -> Buckets:
        """The buckets at these places."""
        return _each(itemgetter(which), self)

    def renumbered(self, number: NDArray[np.int64], metric: NDArray[np.int64] | None = None) -> Buckets:
        """The same buckets under other numbers."""
        given = {name: getattr(self, name) for name in _VALUES}
        return Buckets(metric=self.metric if metric is None else metric, number=number, **given)


_FIELDS = tuple(field.name for field in fields(Buckets))
_VALUES = _FIELDS[2:]
_ARRAYS: Callable[[Buckets], tuple[NDArray[Any], ...]] = attrgetter(*_FIELDS)
_COUNTS = ("n", "n_nan", "n_pinf", "n_ninf")
_PLACES = ("first", "last", "min", "max")


def _each(change: Callable[..., NDArray[Any]], *parts: Buckets) -> Buckets:
    return Buckets(*map(change, *map(_ARRAYS, parts)))


def no_buckets() -> Buckets:
    """Shape (0,)."""
    integers, floats = np.zeros(0, dtype=np.int64), np.zeros(0, dtype=np.float64)
    made: dict[str, Any] = {name: floats if name in (*_PLACES, "sum") else integers for name in _FIELDS}
    return Buckets(**made)


def concatenate(parts: Sequence[Buckets]) -> Buckets:
    """Parts one after the other; the caller sees to the order."""
    parts = [part for part in parts if len(part)]
    if not parts:
        return no_buckets()
    return parts[0] if len(parts) == 1 else _each(lambda *arrays: np.concatenate(arrays), *parts)


def in_order(metric: NDArray[np.int64], *keys: NDArray[np.int64]) -> bool:
    """Whether the rows (metric, \\*keys) ascend; equal neighbours are allowed."""
    tied = np.ones(max(len(metric) - 1, 0), dtype=np.bool_)
    for key in (metric, *keys):
        if bool((tied & (key[1:] < key[:-1])).any()):
            return False
        tied &= key[1:] == key[:-1]
    return True


def starts_of(*keys: NDArray[np.int64]) -> NDArray[np.intp]:
    """Where each run of equal rows begins; the rows are in order."""
    if not len(keys[0]):
        return np.zeros(0, dtype=np.intp)
    new = np.ones(len(keys[0]), dtype=np.bool_)
    new[1:] = False
    for key in keys:
        new[1:] |= key[1:] != key[:-1]
    return np.flatnonzero(new)


# -- from points ------------------------------------------------------------------------------------


def singles(batch: Batch, number: NDArray[np.int64]) -> Buckets:
    """Each point as a bucket of its own, under the numbers given. Not sorted, and not apart."""
    value, step, us = batch.value, batch.step, batch.us
    count = len(batch)
    one, none = np.ones(count, dtype=np.int64), np.zeros(count, dtype=np.int64)
    nan = pinf = ninf = none
    finite = np.isfinite(value)
    with np.errstate(invalid="ignore"):  # a signalling NaN
        total = value + 0.0  # a sum starts from 0.0: that of -0.0 alone is 0.0
    if not finite.all():
        nan, pinf, ninf = (
            mask.astype(np.int64) for mask in (np.isnan(value), value == np.inf, value == -np.inf)
        )
        total = np.where(finite, total, 0.0)
        value = np.where(finite, value, np.nan)
        step, us = np.where(finite, step, 0), np.where(finite, us, 0)
    return Buckets(
        metric=batch.metric, number=number, n=one, n_nan=nan, n_pinf=pinf, n_ninf=ninf,
        first=value, last=value, min=value, max=value, sum=total,
        first_step=step, last_step=step, min_step=step, max_step=step,
        first_us=us, last_us=us, min_us=us, max_us=us, first_seq=batch.seq, last_seq=batch.seq,
    )  # fmt: skip


def by_number(batch: Batch, number: NDArray[np.int64]) -> Buckets:
    """The points grouped by (metric, number), where ``number`` ascends with the step within a metric."""
    if in_order(batch.metric, batch.step):
        return merged(singles(batch, number))
    order = np.lexsort((batch.step, batch.metric))  # stable: equal steps stay in seq order
    found = merged(singles(batch, number).pick(order))
    if len(found) == len(batch):
        return found
    return _with_sums(found, batch, number)


def _with_sums(
    found: Buckets, batch: Batch, number: NDArray[np.int64], older: Buckets | None = None
) -> Buckets:
    """``found`` with the sums of its points in seq order, on top of ``older``'s, whose keys it holds."""
    finite = np.isfinite(batch.value)
    into = find(found, batch.metric[finite], number[finite])
    weights = batch.value[finite]
    if older is not None:
        into = np.concatenate((find(found, older.metric, older.number), into))
        weights = np.concatenate((older.sum, weights))
    given = {name: getattr(found, name) for name in _FIELDS if name != "sum"}
    return Buckets(sum=_sums(into, weights, len(found)), **given)


def find(buckets: Buckets, metric: NDArray[np.int64], number: NDArray[np.int64]) -> NDArray[np.intp]:
    """Where the buckets of these keys are; every key must be there."""
    if not len(buckets):
        return np.zeros(0, dtype=np.intp)
    if buckets.metric[0] == buckets.metric[-1]:
        return np.searchsorted(buckets.number, number)
    # One sorted key from two: the rank of the pair among those that exist.
    place = np.empty(len(metric), dtype=np.intp)
    edges = np.append(starts_of(buckets.metric), len(buckets))
    for low, high in zip(edges[:-1].tolist(), edges[1:].tolist(), strict=True):
        mine = np.flatnonzero(metric == buckets.metric[low])
        place[mine] = low + np.searchsorted(buckets.number[low:high], number[mine])
    return place


def from_points(batch: Batch, exponent: int) -> Buckets:
    """The buckets of 8^exponent steps that hold the points."""
    return by_number(batch, batch.step >> np.int64(FAN_OUT_BITS * exponent))


# -- from buckets -----------------------------------------------------------------------------------


def merged(items: Buckets) -> Buckets:
    """Neighbours of equal (metric, number) as one bucket.

    The items are in the order of (metric, number, step), and those of one number do not overlap in their
    steps, or they are single points in (step, seq) order.
    """
    starts = starts_of(items.metric, items.number)
    if len(starts) == len(items):
        return items
    ends = np.append(starts[1:], len(items))
    group = np.repeat(np.arange(len(starts)), ends - starts)
    made: dict[str, Any] = {
        "metric": items.metric[starts],
        "number": items.number[starts],
        "first_seq": np.minimum.reduceat(items.first_seq, starts),
        "last_seq": np.maximum.reduceat(items.last_seq, starts),
        "sum": _sums(group, items.sum, len(starts)),
    }
    for name in _COUNTS:
        made[name] = np.add.reduceat(getattr(items, name), starts)
    filled = np.flatnonzero(~np.isnan(items.first))
    if len(filled) == len(items):
        sources = {"first": starts, "last": ends - 1}
        extremes = {
            "min": np.minimum.reduceat(items.min, starts),
            "max": np.maximum.reduceat(items.max, starts),
        }
        groups = None
    else:
        inside = group[filled]
        first = starts_of(inside)
        groups = inside[first]
        lasts = np.append(first[1:], len(inside))[: len(first)] - 1
        sources = {"first": filled[first], "last": filled[lasts]}
        extremes = {"min": np.full(len(starts), np.nan), "max": np.full(len(starts), np.nan)}
        if len(filled):
            extremes["min"][groups] = np.minimum.reduceat(items.min[filled], first)
            extremes["max"][groups] = np.maximum.reduceat(items.max[filled], first)
    for name, extreme in extremes.items():
        hits = np.flatnonzero(getattr(items, name) == extreme[group])
        sources[name] = hits[starts_of(group[hits])]
    for name, source in sources.items():
        made[name] = _spread(getattr(items, name)[source], groups, len(starts), np.nan)
        for suffix in ("_step", "_us"):
            made[name + suffix] = _spread(getattr(items, name + suffix)[source], groups, len(starts), 0)
    return Buckets(**made)


def _spread(values: NDArray[Any], groups: NDArray[np.intp] | None, count: int, empty: float) -> NDArray[Any]:
    if groups is None:
        return values
    spread = np.full(count, empty, dtype=values.dtype)
    spread[groups] = values
    return spread


def _sums(group: NDArray[np.intp], weights: NDArray[np.float64], count: int) -> NDArray[np.float64]:
    """The sum of each group's weights, left to right from 0.0, which is how bincount adds."""
    return _canonical(np.bincount(group, weights=weights, minlength=count).astype(np.float64, copy=False))


def _canonical(total: NDArray[np.float64]) -> NDArray[np.float64]:
    """An overflowed sum is the one NaN: which infinity or NaN came out differs between machines."""
    finite = np.isfinite(total)
    return total if finite.all() else np.where(finite, total, np.nan)


def parents(children: Buckets) -> Buckets:
    """The buckets one level up. Right for those of which all children are there."""
    return merged(children.renumbered(children.number >> FAN_OUT_BITS))


def replaced(older: Buckets, newer: Buckets) -> Buckets:
    """Both, ``newer`` where both have a bucket."""
    if not len(older) or not len(newer):
        return concatenate((older, newer))
    both = concatenate((newer, older))
    order = np.lexsort((both.number, both.metric))  # stable: the newer of two comes first
    ordered = both.pick(order)
    return ordered.pick(starts_of(ordered.metric, ordered.number))


def combined(older: Buckets, newer: Buckets) -> Buckets:
    """Both, where ``newer`` holds points of later seqs than the bucket of the same key in ``older``."""
    if not len(older) or not len(newer):
        return concatenate((older, newer))
    both = concatenate((older, newer))
    ordered = both.pick(np.lexsort((both.number, both.metric)))
    starts = starts_of(ordered.metric, ordered.number)
    ends = np.append(starts[1:], len(ordered))
    twice = np.flatnonzero(ends - starts == 2)
    alone = ordered.pick(starts)
    if not len(twice):
        return alone
    pairs = _pair(ordered.pick(starts[twice]), ordered.pick(starts[twice] + 1))

    def put(whole: NDArray[np.float64], part: NDArray[np.float64]) -> NDArray[np.float64]:
        whole = whole.copy()
        whole[twice] = part
        return whole

    return _each(put, alone, pairs)


def _pair(older: Buckets, newer: Buckets) -> Buckets:
    """Key by key the union of two buckets of one interval, the second's points of later seqs."""
    made: dict[str, Any] = {
        "metric": older.metric, "number": older.number,
        "first_seq": np.minimum(older.first_seq, newer.first_seq),
        "last_seq": np.maximum(older.last_seq, newer.last_seq),
    }  # fmt: skip
    with np.errstate(over="ignore", invalid="ignore"):
        made["sum"] = _canonical(older.sum + newer.sum)
    for name in _COUNTS:
        made[name] = getattr(older, name) + getattr(newer, name)
    empty = np.isnan(older.first)
    usable = ~np.isnan(newer.first)
    # On equal steps the older point is the first of the two, and the newer one the last.
    lower = (newer.min < older.min) | ((newer.min == older.min) & (newer.min_step < older.min_step))
    higher = (newer.max > older.max) | ((newer.max == older.max) & (newer.max_step < older.max_step))
    chosen = {
        "first": newer.first_step < older.first_step,
        "last": newer.last_step >= older.last_step,
        "min": lower,
        "max": higher,
    }
    for name, choice in chosen.items():
        from_newer = usable & (empty | choice)
        for suffix in ("", "_step", "_us"):
            made[name + suffix] = np.where(
                from_newer, getattr(newer, name + suffix), getattr(older, name + suffix)
            )
    return Buckets(**made)


def extended(older: Buckets, newer: Buckets, batch: Batch, exponent: int) -> Buckets:
    """``older`` with the points of ``batch``, all of later seqs than its own, whose buckets are ``newer``:
    what all points at once would give."""
    found = combined(older, newer)
    if len(found) == len(older) + len(newer):
        return found  # no bucket has points of both
    return _with_sums(found, batch, batch.step >> np.int64(FAN_OUT_BITS * exponent), older)
