"""The contract of log(), input by input."""

from __future__ import annotations

import datetime
import math
import sys
from collections import OrderedDict, UserDict
from decimal import Decimal
from fractions import Fraction
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from wal.record import unpack_body
from wal.segments import notice
from wal.training.convert import MAX_NAME, MAX_SHAPES, MAX_TEXT_BYTES, Converter, nanoseconds, whole_number


@pytest.fixture(autouse=True)
def _warn_anew() -> None:
    notice.forget()


def convert(data: object, converter: Converter | None = None) -> tuple[dict[str, float], dict[str, str]]:
    """Values and texts that a call keeps."""
    packed = (converter or Converter()).pack(data)
    assert packed is not None
    names, body = packed
    values, texts = unpack_body(1, names, body)
    return dict(zip(names, values, strict=True)), texts


class Scalar:
    """What torch, jax and tensorflow tensors have in common."""

    def __init__(self, value: object, ndim: int = 0) -> None:
        self.value = value
        self.ndim = ndim

    def item(self) -> object:
        return self.value


class Eager:
    """A tensorflow value: no item(), but numpy()."""

    ndim = 0

    def numpy(self) -> object:
        return np.float32(0.5)


class Hostile:
    """Every way of asking it anything raises."""

    def __getattribute__(self, name: str) -> Any:
        raise RuntimeError("no")

    def __str__(self) -> str:
        raise RuntimeError("no")


@pytest.mark.parametrize(
    ("value", "kept"),
    [
        (1.5, 1.5),
        (3, 3.0),
        (True, 1.0),
        (False, 0.0),
        (math.inf, math.inf),
        (-math.inf, -math.inf),
        (1 << 53, float(1 << 53)),
        (np.float64(0.1), 0.1),
        (np.float32(0.1), float(np.float32(0.1))),
        (np.float16(0.1), float(np.float16(0.1))),
        (np.int64(7), 7.0),
        (np.bool_(True), 1.0),
        (np.array(2.5), 2.5),
        (Scalar(0.25), 0.25),
        (Scalar(7), 7.0),
        (Eager(), 0.5),
        (Decimal("0.125"), 0.125),
        (Fraction(1, 4), 0.25),
    ],
)
def test_numbers_become_float64(value: object, kept: float) -> None:
    assert convert({"x": value}) == ({"x": kept}, {})


@pytest.mark.parametrize("value", [math.nan, np.float32("nan"), Decimal("NaN"), Scalar(math.nan)])
def test_nan_is_kept(value: object) -> None:
    assert math.isnan(convert({"x": value})[0]["x"])


def test_the_sign_of_zero_is_kept() -> None:
    converter = Converter()
    for _ in range(2):  # the slow way, then the fast one
        assert math.copysign(1, convert({"x": -0.0}, converter)[0]["x"]) == -1


@pytest.mark.parametrize("value", [(1 << 53) + 1, -(1 << 60), 1 << 70, np.uint64((1 << 64) - 1)])
def test_an_integer_beyond_float64_keeps_its_decimal(value: int) -> None:
    converter = Converter()
    converter.pack({"x": 1})  # the shape is known: the fast way must notice
    assert convert({"x": value}, converter) == ({"x": float(value)}, {"x": str(int(value))})


def test_an_integer_beyond_any_float_is_infinite_and_exact() -> None:
    values, texts = convert({"a": 10**400, "b": -(10**400), "c": 10**5000})
    assert values == {"a": math.inf, "b": -math.inf, "c": math.inf}
    assert int(texts["a"]) == 10**400
    assert int(texts["c"], 16) == 10**5000, "beyond the digits that Python agrees to print"


def test_texts_and_dates_are_texts() -> None:
    when = datetime.datetime(2026, 1, 2, 3, 4, 5)
    assert convert({"a": "x", "b": when, "c": when.date(), "d": np.str_("y")})[1] == {
        "a": "x", "b": "2026-01-02T03:04:05", "c": "2026-01-02", "d": "y",
    }  # fmt: skip


def test_nested_dictionaries_flatten_with_a_slash(capsys: pytest.CaptureFixture[str]) -> None:
    data = {"a": {"b": {"c": 1.0}, "d": OrderedDict(e=2.0)}, "f": UserDict({"g": "t"})}
    assert convert(data) == ({"a/b/c": 1.0, "a/d/e": 2.0}, {"f/g": "t"})
    deep: dict[str, object] = {"end": 1.0}
    for _ in range(9):
        deep = {"x": deep}
    cyclic: dict[str, object] = {"n": 1.0}
    cyclic["self"] = cyclic
    assert convert({"deep": deep, "kept": 2.0}) == ({"kept": 2.0}, {})
    assert set(convert(cyclic)[0]) == {"self/" * depth + "n" for depth in range(8)}
    assert "nested deeper than 8 levels" in capsys.readouterr().err


@pytest.mark.parametrize(
    "value",
    [
        [1.0],
        (1.0,),
        np.zeros(1),
        np.zeros((2, 2)),
        Scalar(1.0, ndim=1),
        object(),
        1j,
        b"x",
        {1.0},
        print,
    ],
)
def test_what_is_no_scalar_is_left_out_and_named_once(
    value: object, capsys: pytest.CaptureFixture[str]
) -> None:
    converter = Converter()
    for _ in range(3):
        assert convert({"bad": value, "good": 1.0}, converter) == ({"good": 1.0}, {})
    assert converter.left_out == 3
    assert capsys.readouterr().err.count("'bad'") == 1


def test_an_object_that_raises_whatever_it_is_asked_costs_its_own_key_only(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert convert({"bad": Hostile(), "good": 1.0}) == ({"good": 1.0}, {})
    assert "'bad' (Hostile) is not logged: it cannot be read" in capsys.readouterr().err
    assert whole_number(Hostile()) is None


def test_a_flood_of_bad_keys_is_not_a_flood_of_warnings(capsys: pytest.CaptureFixture[str]) -> None:
    converter = Converter()
    for number in range(1000):
        assert converter.pack({f"bad{number}": []}) is None
    assert converter.left_out == 1000
    assert len(capsys.readouterr().err.splitlines()) == 20


def test_none_is_left_out_without_a_word(capsys: pytest.CaptureFixture[str]) -> None:
    assert convert({"a": None, "b": 1.0}) == ({"b": 1.0}, {})
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize("data", [{}, {"a": None}, {"a": {}}, {"a": [1]}])
def test_nothing_to_keep_is_no_record(data: object) -> None:
    assert Converter().pack(data) is None


@pytest.mark.parametrize("data", [None, 3.0, "loss", [("loss", 1.0)]])
def test_what_is_no_dictionary_is_refused_without_an_exception(
    data: object, capsys: pytest.CaptureFixture[str]
) -> None:
    assert Converter().pack(data) is None
    assert "log() takes a dictionary" in capsys.readouterr().err


def test_keys_that_are_no_strings_become_strings(capsys: pytest.CaptureFixture[str]) -> None:
    converter = Converter()
    for _ in range(2):
        assert convert({1: 1.0, (2, 3): 2.0, None: 3.0}, converter)[0] == {
            "1": 1.0,
            "(2, 3)": 2.0,
            "None": 3.0,
        }
    assert convert({True: 5.0}, converter)[0] == {"True": 5.0}, "1 == True, but they are not one name"
    assert "used as its text" in capsys.readouterr().err


def test_a_clash_of_names_keeps_the_last_and_says_so(capsys: pytest.CaptureFixture[str]) -> None:
    assert convert({"a/b": 1.0, "a": {"b": 2.0}}) == ({"a/b": 2.0}, {})
    assert convert({"1": 1.0, 1: "text"}) == ({}, {"1": "text"})
    assert capsys.readouterr().err.count("the last one counts") == 2


def test_long_and_empty_names(capsys: pytest.CaptureFixture[str]) -> None:
    names = [character * 10_000 for character in "aab"]
    names[1] += "c"
    values, _ = convert(dict.fromkeys(names, 1.0) | {"": 2.0})
    assert len(values) == 4, "long names that begin alike stay apart"
    assert max(map(len, values)) == MAX_NAME
    assert values["(unnamed)"] == 2.0
    assert len(capsys.readouterr().err) < 500, "a warning does not repeat 10,000 characters"


def test_surrogates_and_nuls() -> None:
    values, texts = convert({"lone\ud800": 1.0, "pair\ud83d\ude00": 2.0, "nul\0": 3.0, "text": "\udcff\0"})
    assert values == {"lone\ufffd": 1.0, "pair😀": 2.0, "nul\0": 3.0}
    assert texts == {"text": "\ufffd\0"}


def test_a_long_text_is_cut_to_its_limit(capsys: pytest.CaptureFixture[str]) -> None:
    _, texts = convert({"a": "é" * MAX_TEXT_BYTES, "b": "x" * MAX_TEXT_BYTES})
    assert len(texts["a"].encode()) in range(MAX_TEXT_BYTES - 3, MAX_TEXT_BYTES + 1)
    assert texts["a"].endswith("é…")
    assert texts["b"] == "x" * MAX_TEXT_BYTES
    assert "is cut to 64 KiB" in capsys.readouterr().err


class SlowTensor(Scalar):
    """A value on a device that takes its time: the clock is what moves."""


def test_slow_devices_are_named(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    now = 0.0

    def clock() -> float:
        nonlocal now
        now += 0.005
        return now

    monkeypatch.setattr("wal.training.convert.time.perf_counter", clock)
    converter = Converter()
    for _ in range(60):
        converter.pack({"loss": SlowTensor(1.0)})
    assert capsys.readouterr().err.count("takes 5.0 ms each") == 1


keys = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=5)
plain = st.floats() | st.integers(-(1 << 60), 1 << 60) | st.booleans()


@settings(deadline=None)
@given(st.lists(st.dictionaries(keys, plain, min_size=1, max_size=6), min_size=1, max_size=4))
def test_the_fast_way_keeps_what_the_slow_way_keeps(calls: list[dict[str, Any]]) -> None:
    """A converter that has seen each shape before, against a new one for each call."""
    warm = Converter()
    for data in calls:
        warm.pack(data)
    for data in calls:
        assert warm.pack(data) == Converter().pack(data)


def test_made_up_names_do_not_fill_the_memory() -> None:
    converter = Converter()
    for number in range(3 * MAX_SHAPES):
        converter.pack({f"metric {number}": 1.0})
    assert len(converter._shapes) <= MAX_SHAPES


@pytest.mark.parametrize(
    ("value", "number"),
    [
        (3, 3), (-3, -3), (True, 1), (np.int32(4), 4), (5.0, 5), (np.float64(6), 6), (1 << 62, 1 << 62),
        (1.5, None), ("7", None), (None, None), (math.nan, None), (math.inf, None), (1 << 63, None),
        ([], None),
    ],
)  # fmt: skip
def test_steps_are_whole_numbers(value: object, number: int | None) -> None:
    assert whole_number(value) == number


def test_times_are_nanoseconds_or_datetimes() -> None:
    when = datetime.datetime(2026, 1, 1, tzinfo=datetime.UTC)
    assert nanoseconds(when) == 1_767_225_600_000_000_000
    assert nanoseconds(1_767_225_600_000_000_000) == 1_767_225_600_000_000_000
    assert nanoseconds("now") is None
    assert nanoseconds(datetime.datetime.max) in (None, nanoseconds(datetime.datetime.max))


def test_nothing_of_numpy_is_needed() -> None:
    assert "numpy" not in {name.partition(".")[0] for name in vars(sys.modules["wal.training.convert"])}
