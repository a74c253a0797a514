"""From what was read to the curves of a chart: who lies on top, who looks how. No textual."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from canopy_tui.charts.palette import Tint
from canopy_tui.charts.parts import Curve, Stroke
from canopy_tui.families import Family, Look

if TYPE_CHECKING:
    from wal.pyramid import Series


def curves_of(family: Family, series: Sequence[Sequence[Series]], *, shipped: bool) -> list[Curve]:
    """The curves of a chart, the most telling last, where it lies on top: ghosts, then the higher ranks, then
    the members of the family from its last to its leading one. ``series`` are per member. A curve alone needs
    no label.

    A run that Cassandra never heard of is local, not late: nothing of it is marked as on the way.
    """
    ranks = {one.rank for group in series for one in group}
    places: list[tuple[tuple[bool, int, int], Curve]] = []
    for at, (member, group) in enumerate(zip(family.members, series, strict=True)):
        for one in group:
            label = member.label if len(family.members) > 1 else ""
            if len(ranks) > 1:
                label = f"{label} rank {one.rank}".strip()
            look = rank_look(member.look, one.rank - min(ranks))
            curve = Curve(
                one if shipped else local(one), Tint.GHOST if one.ghost else look.tint, look.stroke, label
            )
            places.append(((not one.ghost, -one.rank, -at), curve))
    return [curve for _, curve in sorted(places, key=lambda pair: pair[0])]


def rank_look(look: Look, rank: int) -> Look:
    """The first rank as it is, the others dotted behind it."""
    return look if rank == 0 else look._replace(stroke=Stroke.DOTTED)


def local(one: Series) -> Series:
    """Nothing of it waits to be shipped."""
    return replace(one, unshipped=np.zeros_like(one.unshipped))


def same_series(known: Iterable[Sequence[Series]], found: Iterable[Sequence[Series]]) -> bool:
    """Whether these are the very lists that were read before: a source hands out what has not changed."""
    return [id(group) for group in known] == [id(group) for group in found]
