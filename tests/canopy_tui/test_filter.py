"""The filter grammar: what each form finds, and what a form that means nothing says."""

from __future__ import annotations

import math
import re
from uuid import UUID

import pytest
from helpers.rows import NOW_NS, run_row
from hypothesis import given
from hypothesis import strategies as st

from canopy_tui.filtering import Context, FilterError, parse, parse_typing
from wal.source import RunState

ROWS = [
    run_row("cascor-tanh", metrics={"val/loss": [0.5, 0.05], "val/acc": [0.9]}, tags=("sweep", "old")),
    run_row("Cascor-Sigmoid", metrics={"val/loss": [0.5, 0.3]}, state=RunState.RUNNING, hours_ago=3,
            shipped=True, unshipped=12, step=12_000),
    run_row("baseline", metrics={"loss": [math.nan]}, state=RunState.FAILED, hours_ago=50, host="gpu-2"),
    run_row("two words", project="spirals", state=RunState.CRASHED, hours_ago=9, group="night shift",
            shipped=True),
    run_row("-dashed:colon", hours_ago=2, run_id=UUID("01234567-89ab-7def-8123-456789abcdef"),
            notes="loss<1"),
]  # fmt: skip
CONTEXT = Context(NOW_NS, {"digits": "val/loss"})


def found(text: str) -> list[str]:
    return [row.name for row in parse(text).apply(ROWS, CONTEXT)]


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("", ["cascor-tanh", "Cascor-Sigmoid", "baseline", "two words", "-dashed:colon"]),
        ("  ", ["cascor-tanh", "Cascor-Sigmoid", "baseline", "two words", "-dashed:colon"]),
        ("cascor", ["cascor-tanh", "Cascor-Sigmoid"]),
        ("CASCOR tanh", ["cascor-tanh"]),
        ("sweep", ["cascor-tanh"]),
        ("gpu", ["baseline"]),
        ("crashed", ["two words"]),
        ("spirals", ["two words"]),
        ("01234567", ["-dashed:colon"]),
        ("state:run", ["Cascor-Sigmoid"]),
        ("status:failed", ["baseline"]),
        ("state=failed", ["baseline"]),
        ("project:dig name:sig", ["Cascor-Sigmoid"]),
        ("tag:old", ["cascor-tanh"]),
        ("-tag:old state:done", ["-dashed:colon"]),
        ("not cascor not spirals", ["baseline", "-dashed:colon"]),
        ("not not cascor", ["cascor-tanh", "Cascor-Sigmoid"]),
        ("host!=node-1", ["baseline"]),
        ('"two words"', ["two words"]),
        ("'two words", ["two words"]),
        ('name:"two words"', ["two words"]),
        ('group="night shift"', ["two words"]),
        ('"-dashed:colon"', ["-dashed:colon"]),
        ('notes:"loss<1"', ["-dashed:colon"]),
        ("id:01234567", ["-dashed:colon"]),
        ("sync:waiting", ["Cascor-Sigmoid"]),
        ("sync:shipped", ["two words"]),
        ("loss<0.1", ["cascor-tanh"]),
        ("loss < 0.1", ["cascor-tanh"]),
        ("val/loss>=0.3", ["Cascor-Sigmoid"]),
        ("-val/loss<0.1", ["Cascor-Sigmoid", "baseline", "two words", "-dashed:colon"]),
        ("loss=nan", ["baseline"]),
        ("loss!=nan", ["cascor-tanh", "Cascor-Sigmoid"]),
        ("loss<inf", ["cascor-tanh", "Cascor-Sigmoid"]),
        ("last<0.1", ["cascor-tanh"]),
        ("best<=0.3", ["cascor-tanh", "Cascor-Sigmoid"]),
        ("acc>0.8", ["cascor-tanh"]),
        ("step>10k", ["Cascor-Sigmoid"]),
        ("step>=12e3", ["Cascor-Sigmoid"]),
        ("waiting>0", ["Cascor-Sigmoid"]),
        ("age<40m", ["cascor-tanh"]),
        ("age>1d", ["baseline"]),
        ("duration>1d", ["baseline"]),
        ("-", ["cascor-tanh", "Cascor-Sigmoid", "baseline", "two words", "-dashed:colon"]),
        ("not", ["cascor-tanh", "Cascor-Sigmoid", "baseline", "two words", "-dashed:colon"]),
    ],
)
def test_finds(text: str, names: list[str]) -> None:
    assert found(text) == names


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("loss<", "loss< needs a number"),
        ("loss<abc", "'abc' is not a number"),
        ("step>", "as in step>10k"),
        ("age<", "as in age<2h"),
        ("<0.1", "before '<'"),
        ("stat:failed", "did you mean state:?"),
        ("xyzzy:1", "the fields are"),
        ("state:sleeping", "it is one of running, done, failed, crashed, stale"),
        ("name<3", "by = and != only"),
        ("loss<1<2", "is not a number"),
    ],
)
def test_says_what_is_wrong(text: str, words: str) -> None:
    with pytest.raises(FilterError, match=re.escape(words)):
        parse(text)


def test_a_term_that_is_being_typed_does_not_disturb_the_others() -> None:
    found_now, problem = parse_typing("cascor loss< state:done")
    assert [row.name for row in found_now.apply(ROWS, CONTEXT)] == ["cascor-tanh"]
    assert "loss< needs a number" in problem
    assert parse_typing("cascor")[1] == ""


def test_names_a_metric_that_no_run_logs() -> None:
    parsed = parse("los<0.1 loss<1 step>3")
    assert parsed.unknown_metrics(ROWS) == ["los"]


@given(st.text(max_size=60))
def test_never_fails_otherwise(text: str) -> None:
    try:
        parsed = parse(text)
    except FilterError:
        return
    parsed.apply(ROWS, CONTEXT)


def test_a_part_of_a_name_means_the_main_metric_where_it_can() -> None:
    """What the list shows is what is compared; a run that lacks it is found by another of that name."""
    metrics = {"train/loss": [0.4], "val/loss": [0.6]}
    both, other = run_row("both", metrics=metrics), run_row("other", metrics={"train/loss": [0.4]})
    found = parse("loss<0.5").apply([both, other], CONTEXT)
    assert found == [other]
    assert parse("train/loss<0.5").apply([both], CONTEXT) == [both]
    assert parse("loss<0.5").apply([both], Context(NOW_NS)) == [both]
