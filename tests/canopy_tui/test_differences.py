"""Which config keys differ, and their table."""

from __future__ import annotations

import pytest

from canopy_tui.differences import Column, Difference, apart, differences, table_lines
from canopy_tui.format import cells
from canopy_tui.listing import Piece


def text(line: list[Piece]) -> str:
    return "".join(piece.text for piece in line).rstrip()


def table(found: list[Difference], runs: int, width: int, first: int = 1) -> tuple[list[str], int]:
    columns = [Column(f"run-{at}", f"line:run-{at % 8}") for at in range(runs)]
    lines, shown = table_lines(found, columns, width, first, unicode=True)
    assert all(cells(text(line)) <= width for line in lines)
    return [text(line) for line in lines], shown


def test_only_the_keys_that_differ_are_listed() -> None:
    configs = [
        {"lr": 0.1, "seed": 1, "model": {"depth": 3, "width": 8}, "same": [1, {"a": None}]},
        {"lr": 0.2, "seed": 1.0, "model": {"depth": 4, "width": 8}, "same": [1, {"a": None}]},
        {"lr": 0.1, "seed": 1, "model": {"width": 8}, "same": [1, {"a": None}]},
    ]
    assert differences(configs) == [
        Difference("lr", ("0.1", "0.2", "0.1")),
        Difference("model.depth", ("3", "4", None)),
    ]
    assert differences([configs[0]] * 5) == []
    assert differences([{}, {}]) == []


@pytest.mark.parametrize(
    ("values", "texts"),
    [
        (("1", 1), ('"1"', "1")),
        ((1, True), ("1", "true")),
        ((None, "null"), ("null", '"null"')),
        (({}, []), ("{}", "[]")),
        (("a", "A"), ("a", "A")),
        (("x" * 500 + "1", "x" * 500 + "2"), ("x" * 500 + "1", "x" * 500 + "2")),
    ],
)
def test_values_that_read_alike_are_told_apart(values: tuple[object, ...], texts: tuple[str, ...]) -> None:
    assert differences([{"k": value} for value in values]) == [Difference("k", texts)]


def test_the_first_run_stays_while_the_others_pass() -> None:
    found = differences([{"lr": run / 10, "seed": run} for run in range(30)])
    lines, shown = table(found, 30, 60)
    assert lines[0].split() == [f"run-{at}" for at in range(shown)]
    assert lines[1].split()[:3] == ["lr", "0.0", "0.1"]
    later, _ = table(found, 30, 60, first=20)
    assert later[0].split()[:3] == ["run-0", "run-20", "run-21"]
    assert table(found, 30, 60, first=29)[1] == 2


@pytest.mark.parametrize("width", [48, 78, 118])
def test_two_runs_stand_beside_each_other_in_any_width(width: int) -> None:
    found = differences([{"path/" + "k" * 60: "/data/" + "x" * 300 + end} for end in ("one", "two")])
    lines, shown = table(found, 2, width)
    assert shown == 2
    assert lines[1].split()[1].endswith("one")
    assert lines[1].split()[2].endswith("two")


def test_long_values_show_where_they_differ() -> None:
    prefix = "/home/somebody/experiments/2026/"
    assert apart([prefix + "a/model", prefix + "b/model"], [20, 20], "…") == ["…026/a/model", "…026/b/model"]
    assert apart(["short", "shorter"], [20, 20], "…") == ["short", "shorter"]
    assert apart(["x" * 30, "y" * 30], [20, 20], "…") == ["x" * 30, "y" * 30]


def test_what_is_not_set_and_what_is_the_same_is_muted() -> None:
    lines, _ = table_lines(
        differences([{"a": 1}, {"a": 2}, {"a": 1}, {}]), [Column(f"r{i}", "") for i in range(4)], 60, 1, True
    )
    assert [piece.tone for piece in lines[1] if piece.text.strip()] == ["muted", "", "", "muted", "muted"]
    assert text(lines[1]).endswith("–")
