"""Sets of sequence numbers as disjoint, ascending, inclusive ranges. Standard library only."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Iterator


class Ranges:
    """A set of integers kept as its maximal runs: a stream of a million acknowledged records is one pair.

    Adding and removing cost O(log n) to find the place and O(n) to move the few runs behind it.
    """

    __slots__ = ("_firsts", "_lasts")

    def __init__(self, pairs: Iterable[tuple[int, int]] = ()) -> None:
        self._firsts: list[int] = []
        self._lasts: list[int] = []
        for first, last in pairs:
            self.add(first, last)

    def __iter__(self) -> Iterator[tuple[int, int]]:
        return iter(tuple(zip(self._firsts, self._lasts, strict=True)))

    def __bool__(self) -> bool:
        return bool(self._firsts)

    def __contains__(self, number: int) -> bool:
        return self.end_of(number) is not None

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Ranges) and self.pairs == other.pairs

    def __repr__(self) -> str:
        return f"Ranges({list(self)})"

    __hash__ = None  # pyright: ignore[reportAssignmentType]  # a mutable set

    @property
    def pairs(self) -> tuple[tuple[int, int], ...]:
        """(first, last) of each run, ascending."""
        return tuple(self)

    @property
    def count(self) -> int:
        """How many integers are in the set."""
        return sum(self._lasts) - sum(self._firsts) + len(self._firsts)

    def end_of(self, number: int) -> int | None:
        """The last integer of the run that holds ``number``; None when it is not in the set."""
        at = bisect_right(self._firsts, number) - 1
        return self._lasts[at] if at >= 0 and self._lasts[at] >= number else None

    def add(self, first: int, last: int) -> None:
        """Put ``first`` … ``last`` into the set; nothing when ``last < first``."""
        if last < first:
            return
        low = bisect_left(self._lasts, first - 1)  # the first run that touches or follows
        high = bisect_right(self._firsts, last + 1)  # after the last run that touches
        if low < high:
            first = min(first, self._firsts[low])
            last = max(last, self._lasts[high - 1])
        self._firsts[low:high] = [first]
        self._lasts[low:high] = [last]

    def remove(self, first: int, last: int) -> None:
        """Take ``first`` … ``last`` out of the set, as far as they are in it."""
        if last < first:
            return
        low = bisect_left(self._lasts, first)
        high = bisect_right(self._firsts, last)
        if low >= high:
            return
        left, right = self._firsts[low], self._lasts[high - 1]
        kept = [pair for pair in ((left, first - 1), (last + 1, right)) if pair[0] <= pair[1]]
        self._firsts[low:high] = [pair[0] for pair in kept]
        self._lasts[low:high] = [pair[1] for pair in kept]

    def common(self, other: Ranges) -> Ranges:
        """What is in both sets."""
        rest, both = Ranges(self), Ranges(self)
        rest.remove_all(other)
        both.remove_all(rest)
        return both

    def add_all(self, pairs: Iterable[tuple[int, int]]) -> None:
        """:meth:`add` each of these ranges."""
        for first, last in pairs:
            self.add(first, last)

    def remove_all(self, pairs: Iterable[tuple[int, int]]) -> None:
        """:meth:`remove` each of these ranges."""
        for first, last in pairs:
            self.remove(first, last)

    def take_first(self, limit: int) -> tuple[int, int] | None:
        """Remove and return the lowest run, at most ``limit`` integers of it; None when the set is empty."""
        if not self._firsts:
            return None
        first = self._firsts[0]
        last = min(self._lasts[0], first + limit - 1)
        self.remove(first, last)
        return first, last
