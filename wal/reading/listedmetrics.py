"""The metrics of a run of the list: a list draws one of them, and sorts by their ends and extremes. Standard
library only."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import lru_cache, partial
from uuid import UUID

from wal.source import MetricRow
from wal.summary import HEAD_BYTES, MetricSummary

PART_ROWS = 128
"""Of a long list the newest are shown at once, and the others as they are read, so many at a time: more than
a screen has, and their curves are 2 MB."""


Listed = tuple[str, str | None, int]
"""A metric's name, what it aims at, and its place in the order of first logging."""

CurveOf = Callable[[UUID, str], bytes]
"""The packed summary of a run's metric, from where it is kept; none when it is not there any more."""

SETS = 1_024
"""Different sets of metrics that are remembered: the runs of a project share one."""


@lru_cache(SETS)
def _by_name(listed: tuple[Listed, ...]) -> Mapping[str, tuple[int, Listed]]:
    """The same mapping for equal ones: each with its place among them."""
    return {one[0]: (at, one) for at, one in enumerate(listed)}


class ListedMetrics(Mapping[str, MetricRow]):
    """In the order of first logging; each is unpacked when it is asked for. ``revision`` is that of the row
    which they stood in; ``heads`` are the first bytes of the packed summaries, in that order.

    Ten thousand runs' curves are 150 MB: they are let go of once they are kept elsewhere. What stays is few
    objects a run, for the garbage collector looks at each of them while the screen waits.
    """

    __slots__ = ("_by_name", "_curves", "_made", "_run_id", "heads", "revision")

    def __init__(
        self,
        run_id: UUID,
        revision: int | None,
        listed: tuple[Listed, ...],
        heads: bytes,
        curves: Mapping[str, bytes] | CurveOf,
    ) -> None:
        self._run_id = run_id
        self.revision = revision
        self._by_name = _by_name(listed)
        self.heads = heads
        self._curves = curves
        self._made: dict[str, MetricRow] = {}

    @classmethod
    def of(
        cls,
        run_id: UUID,
        revision: int,
        names: Sequence[str],
        goals: Mapping[str, str],
        curves: Mapping[str, bytes],
    ) -> ListedMetrics:
        """From a row: ``curves`` are packed summaries, ``names`` the order of first logging."""
        order = {name: position for position, name in enumerate(names)}
        facts = [(name, goals.get(name), order.get(name, len(order))) for name in curves]
        listed = tuple(sorted(facts, key=lambda fact: fact[2]))
        heads = b"".join(curves[name][:HEAD_BYTES] for name, _, _ in listed)
        return cls(run_id, revision, listed, heads, curves)

    @property
    def listed(self) -> list[Listed]:
        return [one for _, one in self._by_name.values()]

    def packed(self, name: str) -> bytes:
        """The summary's bytes; none when they cannot be had any more. Then the metrics are of no known
        revision: they are read anew."""
        curve = self._curves(self._run_id, name) if callable(self._curves) else self._curves[name]
        if not curve:
            self.revision = None
        return curve

    def let_go(self, curve_of: CurveOf) -> None:
        """Forget the curves: from now on ``curve_of`` gives them."""
        self._curves = curve_of

    def __getitem__(self, name: str) -> MetricRow:
        row = self._made.get(name)
        if row is None:
            at, (_, goal, position) = self._by_name[name]
            head = self.heads[at * HEAD_BYTES : (at + 1) * HEAD_BYTES]
            summary = MetricSummary.unpack_head(head, partial(self.packed, name))
            row = self._made[name] = MetricRow(name, goal, summary, position)
        return row

    def __iter__(self) -> Iterator[str]:
        return iter(self._by_name)

    def __len__(self) -> int:
        return len(self._by_name)

    def __contains__(self, name: object) -> bool:
        return name in self._by_name

    # Comparing two lists of runs must not unpack every curve of both.
    def __eq__(self, other: object) -> bool:
        return self is other

    def __hash__(self) -> int:
        return id(self)
