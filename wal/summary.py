"""Summary of one metric of one stream: extremes, last value, and a curve of at most 64 buckets.

Standard library only: a trainer makes it when it seals a segment, so that listing a run costs one small
read however long the run is. The curve is aligned to steps and its width doubles as the run grows, so the
summary of a stream does not depend on how its records were split into segments.
"""

from __future__ import annotations

import math
import struct
from collections.abc import Callable, Iterator, Mapping

CURVE_BUCKETS = 64
"""At most this many buckets: a 14-column sparkline gets at least two a column (32 after a doubling)."""

LARGEST_SHIFT = 64
"""Of a curve: all int64 steps are then in one bucket or two."""

_VERSION = 1
_HEAD = struct.Struct("<BBHQQQQqqqqqddd")
_HEAD_START = struct.Struct("<BBH")
HEAD_BYTES = _HEAD.size
"""Everything but the curve."""

_BUCKET = struct.Struct("<qIIIIdddd")


class Bucket:
    """Points whose step lies in ``[index << shift, (index + 1) << shift)``.

    ``min``, ``max``, ``first`` and ``last`` are over finite values only (NaN when there is none);
    ``n_nan``, ``n_pinf`` and ``n_ninf`` count the others.
    """

    __slots__ = ("first", "last", "max", "min", "n", "n_nan", "n_ninf", "n_pinf")

    def __init__(
        self,
        n: int = 0,
        n_nan: int = 0,
        n_pinf: int = 0,
        n_ninf: int = 0,
        min: float = math.nan,  # noqa: A002 - what it is
        max: float = math.nan,  # noqa: A002
        first: float = math.nan,
        last: float = math.nan,
    ) -> None:
        self.n = n
        self.n_nan = n_nan
        self.n_pinf = n_pinf
        self.n_ninf = n_ninf
        self.min = min
        self.max = max
        self.first = first
        self.last = last

    def add(self, value: float) -> None:
        self.n += 1
        if value - value == 0.0:  # finite: one subtraction is cheaper than math.isfinite and a call
            if not value >= self.min:  # also when min is NaN
                self.min = value
            if not value <= self.max:
                self.max = value
            if self.first != self.first:
                self.first = value
            self.last = value
        elif value != value:
            self.n_nan += 1
        elif value > 0:
            self.n_pinf += 1
        else:
            self.n_ninf += 1

    def merge(self, later: Bucket) -> None:
        """Take in the bucket of the neighbouring, later steps."""
        self.n += later.n
        self.n_nan += later.n_nan
        self.n_pinf += later.n_pinf
        self.n_ninf += later.n_ninf
        if not later.min >= self.min and later.min == later.min:
            self.min = later.min
        if not later.max <= self.max and later.max == later.max:
            self.max = later.max
        if self.first != self.first:
            self.first = later.first
        if later.last == later.last:
            self.last = later.last

    @property
    def non_finite(self) -> int:
        return self.n_nan + self.n_pinf + self.n_ninf


class MetricSummary:
    """Running summary of one metric. Points are added in seq order; steps may repeat or go back.

    ``last`` is the value of the newest record, non-finite included; ``min`` and ``max`` are over finite
    values, with the step where each first occurred.
    """

    __slots__ = (
        "_curve", "buckets", "first_step", "last", "last_step", "max", "max_step", "min", "min_step",
        "n", "n_nan", "n_ninf", "n_pinf", "shift",
    )  # fmt: skip
    buckets: dict[int, Bucket]
    """By index; of a summary that was unpacked, made when they are asked for: of a long list's summaries a
    few are drawn, and their buckets take thirty times the room of the rest."""
    _curve: Callable[[], bytes] | bytes

    def __init__(self) -> None:
        self.n = self.n_nan = self.n_pinf = self.n_ninf = 0
        self.first_step = self.last_step = self.min_step = self.max_step = 0
        self.last = self.min = self.max = math.nan
        self.shift = 0
        self.buckets = {}

    def add(self, step: int, value: float) -> None:
        """Add the next point."""
        if self.n == 0 or step < self.first_step:
            self.first_step = step
        self.n += 1
        self.last = value
        self.last_step = step
        if value - value == 0.0:
            if not value >= self.min:
                self.min, self.min_step = value, step
            if not value <= self.max:
                self.max, self.max_step = value, step
        elif value != value:
            self.n_nan += 1
        elif value > 0:
            self.n_pinf += 1
        else:
            self.n_ninf += 1
        index = step >> self.shift
        bucket = self.buckets.get(index)
        if bucket is None:
            bucket = self._new_bucket(step)
        bucket.add(value)

    def _new_bucket(self, step: int) -> Bucket:
        index = step >> self.shift
        if self.buckets:
            low = min(min(self.buckets), index)
            high = max(max(self.buckets), index)
            while high - low >= CURVE_BUCKETS:
                self._double()
                low >>= 1
                high >>= 1
        return self.buckets.setdefault(step >> self.shift, Bucket())

    def _double(self) -> None:
        merged: dict[int, Bucket] = {}
        for index in sorted(self.buckets):
            bucket = self.buckets[index]
            neighbour = merged.get(index >> 1)
            if neighbour is None:
                merged[index >> 1] = bucket
            else:
                neighbour.merge(bucket)
        self.buckets = merged
        self.shift += 1

    @property
    def non_finite(self) -> int:
        return self.n_nan + self.n_pinf + self.n_ninf

    def curve(self) -> Iterator[tuple[int, int, Bucket]]:
        """(first step, step after the last, bucket) of each non-empty bucket, in step order."""
        for index in sorted(self.buckets):
            yield index << self.shift, (index + 1) << self.shift, self.buckets[index]

    def merge(self, later: MetricSummary) -> None:
        """Take in the points of another stream that was started later. ``later`` is not changed.

        ``last`` becomes the later stream's; of equal extremes the earlier stream's step stays.
        """
        if later.n == 0:
            return
        other = later.copy()
        while other.shift < self.shift:
            other._double()
        while self.shift < other.shift:
            self._double()
        indices = self.buckets.keys() | other.buckets.keys()
        while max(indices) - min(indices) >= CURVE_BUCKETS:
            self._double()
            other._double()
            indices = self.buckets.keys() | other.buckets.keys()
        for index, bucket in other.buckets.items():
            mine = self.buckets.setdefault(index, bucket)
            if mine is not bucket:
                mine.merge(bucket)
        self.first_step = min(self.first_step, later.first_step) if self.n else later.first_step
        self.n += later.n
        self.n_nan += later.n_nan
        self.n_pinf += later.n_pinf
        self.n_ninf += later.n_ninf
        self.last, self.last_step = later.last, later.last_step
        if not later.min >= self.min and later.min == later.min:
            self.min, self.min_step = later.min, later.min_step
        if not later.max <= self.max and later.max == later.max:
            self.max, self.max_step = later.max, later.max_step

    def copy(self) -> MetricSummary:
        return MetricSummary.unpack(self.pack())

    def pack(self) -> bytes:
        """Fixed little-endian bytes: a head, then the buckets in step order."""
        head = _HEAD.pack(
            _VERSION, self.shift, len(self.buckets), self.n, self.n_nan, self.n_pinf, self.n_ninf,
            self.first_step, self.last_step, self.min_step, self.max_step, 0, self.last, self.min, self.max,
        )  # fmt: skip
        return head + b"".join(
            _BUCKET.pack(i, b.n, b.n_nan, b.n_pinf, b.n_ninf, b.min, b.max, b.first, b.last)
            for i, b in sorted(self.buckets.items())
        )

    @classmethod
    def unpack(cls, data: bytes) -> MetricSummary:
        """The summary packed by :meth:`pack`. Raises ValueError for bytes that cannot be one."""
        self, _ = cls._unpack_head(data)
        if not cls.is_sound(data):
            raise ValueError("a metric summary of the wrong length")
        self._curve = data
        return self

    @staticmethod
    def is_sound(data: bytes) -> bool:
        """Whether :meth:`unpack` takes these bytes."""
        if len(data) < _HEAD.size:
            return False
        version, shift, count = _HEAD_START.unpack_from(data)
        right_length = len(data) == _HEAD.size + count * _BUCKET.size
        return version == _VERSION and shift <= LARGEST_SHIFT and count <= CURVE_BUCKETS and right_length

    @classmethod
    def unpack_head(cls, head: bytes, whole: Callable[[], bytes]) -> MetricSummary:
        """The summary whose first :data:`HEAD_BYTES` are these; ``whole`` gives all of its bytes when the
        curve is asked for, or none when they cannot be had any more."""
        self, _ = cls._unpack_head(head)
        self._curve = whole
        return self

    @classmethod
    def _unpack_head(cls, data: bytes) -> tuple[MetricSummary, int]:
        """A summary without its buckets, and how many there are."""
        if len(data) < _HEAD.size or data[0] != _VERSION:
            raise ValueError("not a metric summary of a known version")
        self = cls.__new__(cls)
        (
            _, self.shift, count, self.n, self.n_nan, self.n_pinf, self.n_ninf, self.first_step,
            self.last_step, self.min_step, self.max_step, _, self.last, self.min, self.max,
        ) = _HEAD.unpack_from(data)  # fmt: skip
        return self, count

    def __getattr__(self, name: str) -> dict[int, Bucket]:
        """The buckets of an unpacked summary, asked for the first time."""
        if name != "buckets":
            raise AttributeError(name)
        data = self._curve if isinstance(self._curve, bytes) else self._curve()
        self.buckets = {
            index: Bucket(*fields) for index, *fields in _BUCKET.iter_unpack(memoryview(data)[_HEAD.size :])
        }
        return self.buckets

    @staticmethod
    def packed_steps(data: bytes) -> tuple[int, int, int, int]:
        """(first, last, min, max) step of a packed summary, without unpacking its curve.

        Raises ValueError for bytes that cannot be a summary.
        """
        if not MetricSummary.is_sound(data):
            raise ValueError("not a metric summary of a known version")
        return _HEAD.unpack_from(data)[7:11]


def add_values(summaries: dict[str, MetricSummary], step: int, values: Mapping[str, float]) -> None:
    """Add one record's values to the summaries of its stream."""
    for name, value in values.items():
        summary = summaries.get(name)
        if summary is None:
            summary = summaries[name] = MetricSummary()
        summary.add(step, value)
