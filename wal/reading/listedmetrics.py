"""The metrics of a run of the list: a list draws one of them, and sorts by their ends and extremes. Standard
library only."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import NamedTuple

from wal.source import MetricRow
from wal.summary import HEAD_BYTES, MetricSummary

FIRST_ROWS, PART_ROWS = 256, 1_024
"""Of a long list the newest are shown at once, and the others as they are read, so many at a time: their
curves are 15 MB."""


class Listed(NamedTuple):
    """One metric: what it aims at, its place in the order of first logging, and its summary's first bytes."""

    goal: str | None
    position: int
    head: bytes


class ListedMetrics(Mapping[str, MetricRow]):
    """In the order of first logging; each is unpacked when it is asked for. ``revision`` is that of the row
    which they stood in.

    Ten thousand runs' curves are 150 MB: they are let go of once they are kept elsewhere.
    """

    __slots__ = ("_curve_of", "_facts", "_made", "revision")

    def __init__(
        self, revision: int | None, facts: Mapping[str, Listed], curve_of: Callable[[str], bytes]
    ) -> None:
        self.revision = revision
        self._facts = facts
        self._curve_of = curve_of
        self._made: dict[str, MetricRow] = {}

    @classmethod
    def of(
        cls, revision: int, names: Sequence[str], goals: Mapping[str, str], curves: Mapping[str, bytes]
    ) -> ListedMetrics:
        """From a row: ``curves`` are packed summaries, ``names`` the order of first logging."""
        order = {name: position for position, name in enumerate(names)}
        facts = {
            name: Listed(goals.get(name), order.get(name, len(order)), curve[:HEAD_BYTES])
            for name, curve in curves.items()
        }
        in_order = dict(sorted(facts.items(), key=lambda item: item[1].position))
        return cls(revision, in_order, dict(curves).__getitem__)

    def facts(self, name: str) -> Listed:
        return self._facts[name]

    def packed(self, name: str) -> bytes:
        """The summary's bytes; none when they cannot be had any more. Then the metrics are of no known
        revision: they are read anew."""
        curve = self._curve_of(name)
        if not curve:
            self.revision = None
        return curve

    def let_go(self, curve_of: Callable[[str], bytes]) -> None:
        """Forget the curves: from now on ``curve_of`` gives them."""
        self._curve_of = curve_of

    def __getitem__(self, name: str) -> MetricRow:
        row = self._made.get(name)
        if row is None:
            goal, position, head = self._facts[name]
            summary = MetricSummary.unpack_head(head, lambda: self.packed(name))
            row = self._made[name] = MetricRow(name, goal, summary, position)
        return row

    def __iter__(self) -> Iterator[str]:
        return iter(self._facts)

    def __len__(self) -> int:
        return len(self._facts)

    def __contains__(self, name: object) -> bool:
        return name in self._facts

    # Comparing two lists of runs must not unpack every curve of both.
    def __eq__(self, other: object) -> bool:
        return self is other

    def __hash__(self) -> int:
        return id(self)
