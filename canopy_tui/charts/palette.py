"""Which colour a curve has: by what it is, the same on every screen, told apart by the colour-blind too.

The colours began as those of M. Okabe and K. Ito, "Color Universal Design" (2008), and were moved as little
as leaves every two of a chart 17 apart in CIE L*a*b* for all eyes, on a dark and on a light background.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from enum import StrEnum
from functools import partial
from hashlib import blake2b
from uuid import UUID


class Tint(StrEnum):
    """What a curve stands for. ``MAIN``, a curve alone in its chart, has the theme's own colour; ``PHASE`` is
    where something else than usual was trained."""

    MAIN = "main"
    TRAIN = "train"
    VAL = "val"
    GHOST = "ghost"
    PHASE = "phase"
    RUN_0 = "run-0"
    RUN_1 = "run-1"
    RUN_2 = "run-2"
    RUN_3 = "run-3"
    RUN_4 = "run-4"
    RUN_5 = "run-5"
    RUN_6 = "run-6"
    RUN_7 = "run-7"


RUN_TINTS = (
    Tint.RUN_0, Tint.RUN_1, Tint.RUN_2, Tint.RUN_3, Tint.RUN_4, Tint.RUN_5, Tint.RUN_6, Tint.RUN_7,
)  # fmt: skip

ON_DARK = {
    Tint.TRAIN: "#56b4e9", Tint.VAL: "#e69f00", Tint.GHOST: "#8c8c8c",
    Tint.PHASE: "#d98cb3",
    Tint.RUN_0: "#56b4e9", Tint.RUN_1: "#e69f00", Tint.RUN_2: "#12b886", Tint.RUN_3: "#f3e745",
    Tint.RUN_4: "#cb82ad", Tint.RUN_5: "#e8683a", Tint.RUN_6: "#5b8def", Tint.RUN_7: "#c9c9c9",
}  # fmt: skip

ON_LIGHT = {
    Tint.TRAIN: "#0072b2", Tint.VAL: "#b35900", Tint.GHOST: "#8c8c8c",
    Tint.PHASE: "#a8487c",
    Tint.RUN_0: "#0072b2", Tint.RUN_1: "#bd7e00", Tint.RUN_2: "#29865e", Tint.RUN_3: "#988a43",
    Tint.RUN_4: "#b8578c", Tint.RUN_5: "#b03a00", Tint.RUN_6: "#3b3fa8", Tint.RUN_7: "#525456",
}  # fmt: skip

LOOK_ALIKES = frozenset(
    frozenset(pair)
    for pair in (
        (Tint.RUN_0, Tint.RUN_4), (Tint.RUN_0, Tint.RUN_6), (Tint.RUN_1, Tint.RUN_3),
        (Tint.RUN_1, Tint.RUN_5), (Tint.RUN_2, Tint.RUN_3), (Tint.RUN_2, Tint.RUN_4),
        (Tint.RUN_2, Tint.RUN_5), (Tint.RUN_2, Tint.RUN_7), (Tint.RUN_3, Tint.RUN_5),
        (Tint.RUN_4, Tint.RUN_7),
    )
)  # fmt: skip
"""Pairs of run tints less than 30 apart in CIE L*a*b* for some eyes, on one of the backgrounds."""


def colour(tint: Tint, dark: bool) -> str | None:
    """``#rrggbb`` on a dark or a light background; None for the theme's own colour."""
    return (ON_DARK if dark else ON_LIGHT).get(tint)


def run_tint(run_id: UUID) -> Tint:
    """The tint of a run wherever it stands alone, on every machine."""
    return RUN_TINTS[blake2b(run_id.bytes, digest_size=1).digest()[0] % len(RUN_TINTS)]


def run_tints(run_ids: Iterable[UUID]) -> dict[UUID, Tint]:
    """Tints of runs that are looked at together: each its own :func:`run_tint`, but where an earlier run of
    these has it or one that looks alike, the next that none has, one unlike all of theirs if there is one;
    with more runs than tints they repeat."""
    given: dict[UUID, Tint] = {}
    for run_id in run_ids:
        if run_id in given:
            continue
        first = RUN_TINTS.index(run_tint(run_id))
        turn = [RUN_TINTS[(first + i) % len(RUN_TINTS)] for i in range(len(RUN_TINTS))]
        given[run_id] = min(turn, key=partial(_crowd, others=list(given.values())))
    return given


def _crowd(tint: Tint, others: Sequence[Tint]) -> tuple[int, int]:
    """How often a tint is used already, and how many of the others look like it."""
    return others.count(tint), sum(frozenset((tint, other)) in LOOK_ALIKES for other in others)
