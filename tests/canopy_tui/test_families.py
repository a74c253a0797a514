"""Which metrics share a chart, in which order, and how their curves differ."""

from __future__ import annotations

import pytest

from canopy_tui.charts.palette import Tint
from canopy_tui.charts.parts import Stroke
from canopy_tui.families import ALONE, FIXED_LOOKS, TRAIN, VAL, chart_order, families, look_of
from wal.source import MetricRow
from wal.summary import MetricSummary


def metric(name: str, points: int, goal: str | None = None) -> MetricRow:
    summary = MetricSummary()
    for step in range(points):
        summary.add(step, float(step))
    return MetricRow(name, goal, summary)


def names_of(*names: str) -> list[tuple[str, ...]]:
    return [family.names for family in families(names)]


@pytest.mark.parametrize(
    ("names", "leading"),
    [
        (("train_loss", "val_loss"), "val_loss"),
        (("loss/train", "loss/val"), "loss/val"),
        (("train/acc", "eval/acc"), "eval/acc"),
        (("Train Loss", "Validation Loss"), "Validation Loss"),
        (("a.train.b", "a.valid.b"), "a.valid.b"),
        (("loss", "val_loss"), "val_loss"),
        (("train/loss", "test/loss"), "test/loss"),
        (("train", "test"), "test"),
        (("損失/train", "損失/val"), "損失/val"),
    ],
)
def test_names_that_differ_by_a_split_only_share_a_chart(names: tuple[str, ...], leading: str) -> None:
    (family,) = families(names)
    assert set(family.names) == set(names)
    assert family.lead == leading


@pytest.mark.parametrize(
    "names",
    [
        ("train/loss", "val/acc"),
        ("train_loss", "val/loss"),
        ("trainloss", "valloss"),
        ("training/loss", "value/loss"),
        ("a/train/loss", "b/val/loss"),
        ("loss", "acc"),
        ("retrain/loss", "val/loss"),
    ],
)
def test_other_names_do_not(names: tuple[str, ...]) -> None:
    assert names_of(*names) == [(name,) for name in names]


def test_alone_a_metric_has_the_themes_colour_unless_it_is_train_or_val() -> None:
    assert look_of("loss") == look_of("test/loss") == ALONE
    assert look_of("train_acc") == FIXED_LOOKS[TRAIN]
    assert look_of("eval/acc") == FIXED_LOOKS[VAL]


def test_train_and_val_look_the_same_everywhere() -> None:
    for names in (("train_loss", "val_loss"), ("loss", "val_loss"), ("acc/train", "acc/valid", "acc/test")):
        looks = {member.label: member.look for member in families(names)[0].members}
        assert next(look for label, look in looks.items() if label.startswith("val")) == FIXED_LOOKS[VAL]
        assert looks.get("train", looks.get("loss")) == FIXED_LOOKS[TRAIN]


def test_every_member_has_a_look_of_its_own() -> None:
    (family,) = families(["loss", *(f"{part}/loss" for part in ("train", "val", "eval", "valid", "test"))])
    assert len(family.members) == 6
    assert len({member.look for member in family.members}) == 6
    assert family.member("train/loss").look == FIXED_LOOKS[TRAIN]
    assert family.member("loss").look.stroke is Stroke.DOTTED


def test_what_a_family_shares_is_said_once() -> None:
    """Beside labels that say the split: ``loss  val 0.36  train 0.33``."""
    for names, shared in (
        (("train/loss", "val/loss"), "loss"), (("loss", "val_loss"), "loss"), (("a/train", "a/val"), "a"),
        (("a/train/acc", "a/val/acc"), "a/acc"), (("val/loss",), "val/loss"), (("train", "val"), "val"),
    ):  # fmt: skip
        assert families(names)[0].shared == shared


def test_the_main_metric_leads_its_chart_without_changing_its_look() -> None:
    (family,) = families(["train/loss", "val/loss"], "train/loss")
    assert family.lead == "train/loss"
    assert family.member("train/loss").look.tint is Tint.TRAIN
    with pytest.raises(KeyError):
        family.member("lr")


def test_charts_come_by_main_metric_share_and_name() -> None:
    rows = [metric("zeta", 100), metric("alpha", 97), metric("rare", 10), metric("train/loss", 100),
            metric("val/loss", 5), metric("val/acc", 5)]  # fmt: skip
    order = chart_order({row.name: row for row in rows}, 100, "val/acc")
    assert [family.lead for family in order] == ["val/acc", "alpha", "val/loss", "zeta", "rare"]


def test_charts_keep_their_places_while_a_run_grows() -> None:
    """Metrics that are logged in turn have shares that waver around a half."""
    orders = []
    for records in range(40, 80):
        rows = [metric("b", records // 2), metric("a", records - records // 2), metric("c", records)]
        orders.append([family.lead for family in chart_order({row.name: row for row in rows}, records, None)])
    assert all(order == ["c", "a", "b"] for order in orders)


def test_a_metric_without_points_comes_last() -> None:
    rows = {row.name: row for row in (metric("empty", 0), metric("lr", 1))}
    assert [family.lead for family in chart_order(rows, 100, None)] == ["lr", "empty"]
