"""Which metrics share a chart, in what order the charts stand, and what tells their curves apart. Pure.

Names that differ only by a part that says on which data they were measured (``train_loss val_loss``,
``loss/train loss/val``) are a family: one chart. So is a name without such a part beside one with it: Keras
says ``loss`` and ``val_loss``.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from canopy_tui.charts.palette import Tint
from canopy_tui.charts.parts import Stroke
from wal.source import MetricRow

TRAIN, VAL, TEST = "train", "val", "test"
SPLITS = {"train": TRAIN, "val": VAL, "valid": VAL, "validation": VAL, "eval": VAL, "test": TEST}
"""The parts of a name that say on which data, and what each means."""

LEADS = (VAL, TEST, "", TRAIN)
"""What is worth most first: a model is judged by data that it was not trained on."""

_PART = re.compile(r"[^\W_]+")


class Look(NamedTuple):
    """How a curve of a family is drawn, whoever's it is: train and val always the same."""

    tint: Tint
    stroke: Stroke


ALONE = Look(Tint.MAIN, Stroke.SOLID)
FIXED_LOOKS = {TRAIN: Look(Tint.TRAIN, Stroke.DASHED), VAL: Look(Tint.VAL, Stroke.SOLID)}
OTHER_TINTS = (Tint.RUN_2, Tint.RUN_4, Tint.RUN_3, Tint.RUN_5)
"""Of a test split, and of a second validation one: what differs most from train and val first."""


@dataclass(frozen=True, slots=True)
class Member:
    """A metric of a family. ``label`` is its part that the others do not have, or its whole name."""

    name: str
    label: str
    look: Look


@dataclass(frozen=True, slots=True)
class Family:
    """Metrics of one chart, the leading one first: its title is the chart's."""

    members: tuple[Member, ...]

    @property
    def lead(self) -> str:
        return self.members[0].name

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(member.name for member in self.members)

    @property
    def shared(self) -> str:
        """What its members are called without what tells them apart: ``loss`` of ``val/loss`` and
        ``train/loss``. Of a metric alone its name."""
        return self.lead if len(self.members) == 1 else _divided(self.lead).rest or self.lead

    def member(self, name: str) -> Member:
        """Raises KeyError for a metric of another family."""
        for one in self.members:
            if one.name == name:
                return one
        raise KeyError(name)


def families(names: Iterable[str], main: str | None = None) -> list[Family]:
    """The families of these names, in the order of their first ones. ``main`` leads its own."""
    found = [_divided(name) for name in dict.fromkeys(names)]
    with_part = {one.rest: one.key for one in found if one.split}
    groups: dict[str, list[_Name]] = {}
    for one in found:
        key = one.key if one.split else with_part.get(one.name, "\0" + one.name)
        groups.setdefault(key, []).append(one)
    return [_family(group, main) for group in groups.values()]


@dataclass(frozen=True, slots=True)
class _Name:
    """``key`` has a placeholder for the part of the split, ``rest`` is what is left without it."""

    name: str
    word: str
    split: str
    key: str
    rest: str


def _divided(name: str) -> _Name:
    for part in _PART.finditer(name):
        split = SPLITS.get(part.group().lower())
        if split is not None:
            before, after = name[: part.start()], name[part.end() :]
            rest = before + after[1:] if after else before[:-1]
            return _Name(name, part.group(), split, f"{before}\0{after}", rest)
    return _Name(name, "", "", "", "")


def _family(group: Sequence[_Name], main: str | None) -> Family:
    if len(group) == 1:
        return Family((Member(group[0].name, group[0].name, FIXED_LOOKS.get(group[0].split, ALONE)),))
    ordered = sorted(group, key=lambda one: (LEADS.index(one.split), one.name))
    looks: dict[str, Look] = {}
    others = iter(OTHER_TINTS)
    splits = {one.split for one in group}
    for one in ordered:
        # Without a part it is what was trained on, unless another says that it is.
        split = TRAIN if not one.split and TRAIN not in splits else one.split
        look = FIXED_LOOKS.get(split)
        if look is None or look in looks.values():
            look = Look(next(others, Tint.RUN_7), Stroke.DOTTED)
        looks[one.name] = look
    ordered.sort(key=lambda one: one.name != main)
    return Family(tuple(Member(one.name, one.word or one.name, looks[one.name]) for one in ordered))


def look_of(name: str) -> Look:
    """How the curve of a metric is drawn where it is the only one."""
    return families([name])[0].members[0].look


def chart_order(metrics: Mapping[str, MetricRow], records: int, main: str | None) -> list[Family]:
    """The charts of a run: the main metric's, then by the share of the records that have them, then by name.

    The share counts in powers of two, so that charts do not change places while a run grows.
    """

    def place(family: Family) -> tuple[bool, int, str]:
        points = max(metrics[name].summary.n for name in family.names)
        rarity = round(math.log2(max(records, 1) / points)) if points else math.inf
        return main not in family.names, max(int(min(rarity, 64)), 0), family.lead

    return sorted(families(metrics, main), key=place)
