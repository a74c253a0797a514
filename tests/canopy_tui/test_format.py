"""Numbers, counts, times and names as the screens show them."""

from __future__ import annotations

import math
import unicodedata
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.cells import cell_len

from canopy_tui import format as fmt

SECOND = 1_000_000_000


@pytest.mark.parametrize(
    ("value", "width", "text"),
    [
        (0.4123456, 7, "0.4123"),
        (0.41200003, 7, "0.4120"),  # measured: keeps its digits, so that a live column does not jitter
        (0.5, 7, "0.5"),  # exact: says no more than it is
        (3.21e-4, 7, "3.21e-4"),
        (3.2149e-4, 8, "3.215e-4"),
        (-0.004123, 7, "-0.0041"),
        (12345.678, 7, "12346"),
        (1234567.8, 7, "1.235e6"),
        (1048576.0, 7, "1048576"),
        (999999.7, 7, "1.000e6"),
        (9.99996, 7, "10.00"),
        (0, 7, "0"),
        (-0.0, 7, "0"),
        (7, 7, "7"),
        (math.nan, 7, "NaN"),
        (math.inf, 7, "Inf"),
        (-math.inf, 7, "-Inf"),
        (None, 7, ""),
        (5e-324, 5, "#####"),
    ],
)
def test_number(value: float | None, width: int, text: str) -> None:
    assert fmt.number(value, width) == text


@given(st.floats())
def test_any_double_fits_its_width_and_never_reads_as_zero(value: float) -> None:
    text = fmt.number(value)
    assert len(text) <= fmt.NUMBER_WIDTH
    if not math.isfinite(value):
        assert text in ("NaN", "Inf", "-Inf")
    elif set(text) != {"#"}:
        read = Decimal(text)  # 1.75e308 in five cells is 2e308, more than a float holds
        assert (read == 0) == (value == 0)
        assert abs(read - Decimal(value)) <= abs(Decimal(value)) / 2


@given(st.floats(allow_nan=False, allow_infinity=False, min_value=-1e5, max_value=1e5))
def test_ten_cells_hold_four_digits(value: float) -> None:
    assert float(fmt.number(value, 10)) == pytest.approx(value, rel=5.1e-4)


@pytest.mark.parametrize(
    ("n", "width", "text"),
    [
        (1_048_576, None, "1,048,576"),
        (1_048_576, 7, "1048576"),
        (1_048_576, 5, "1.05M"),
        (999_999, 6, "999999"),
        (12_345, 4, "12k"),
        (0, 4, "0"),
        (-1234, None, "-1,234"),
        (10**18, 4, "1.0E"),
    ],
)
def test_count(n: int, width: int | None, text: str) -> None:
    assert fmt.count(n, width) == text


@given(st.integers(min_value=0, max_value=10**19))
def test_a_short_count_keeps_its_magnitude(n: int) -> None:
    text = fmt.count(n, 5)
    assert len(text) <= 5
    unit = {"k": 1e3, "M": 1e6, "G": 1e9, "T": 1e12, "P": 1e15, "E": 1e18}.get(text[-1])
    shown = float(text[:-1]) * unit if unit else float(text.replace(",", ""))
    assert shown == pytest.approx(n, rel=0.06)


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0, "0 s"), (-5, "0 s"), (59, "59 s"), (60, "1 m"), (7199, "1 h"), (86_400 * 5, "5 d"),
     (86_400 * 99, "99 d"), (86_400 * 100, "14 w"), (86_400 * 365 * 3, "3 y")],
)  # fmt: skip
def test_age(seconds: int, text: str) -> None:
    assert fmt.age(seconds * SECOND) == text
    assert len(text) <= 4


def test_ago_and_duration_say_tenths_only_where_they_matter() -> None:
    assert fmt.ago(SECOND * 4 // 10) == "0.4 s ago"
    assert fmt.ago(12 * SECOND) == "12 s ago"
    assert fmt.duration(SECOND * 4 // 10) == "0.4 s"
    assert fmt.duration(192 * SECOND) == "3 m 12 s"
    assert fmt.duration(7500 * SECOND) == "2 h 05 m"
    assert fmt.duration(5 * 86_400 * SECOND + 3 * 3600 * SECOND) == "5 d 03 h"


def test_sizes_and_plurals() -> None:
    assert fmt.data_size(812) == "812 B"
    assert fmt.data_size(43_200_000) == "41.2 MiB"
    assert fmt.data_size(2**60) == "1048576.0 TiB"
    assert fmt.plural(1, "record") == "1 record"
    assert fmt.plural(3120, "record") == "3,120 records"


@given(st.text(max_size=60), st.integers(min_value=0, max_value=30))
def test_a_fitted_text_takes_exactly_its_cells(text: str, width: int) -> None:
    safe = fmt.clean(text)
    assert cell_len(fmt.middle_ellipsis(safe, width)) <= width
    assert cell_len(fmt.left(safe, width)) == width
    assert cell_len(fmt.right(safe, width)) == width


def test_the_middle_goes_because_the_ends_tell_names_apart() -> None:
    assert fmt.middle_ellipsis("resnet50-imagenet-lr0.1-seed3", 15) == "resnet5…1-seed3"
    assert fmt.middle_ellipsis("訓練-run-very-long-name-實驗", 15) == "訓練-ru…me-實驗"
    assert fmt.middle_ellipsis("abc", 1) == "…"


@given(st.text())
def test_clean_text_cannot_act_on_a_terminal(text: str) -> None:
    cleaned = fmt.clean(text)
    assert len(cleaned) <= fmt.NAME_LIMIT
    assert not any(unicodedata.category(char) in ("Cc", "Cf", "Cs", "Zl", "Zp") for char in cleaned)


@pytest.mark.parametrize(
    ("text", "cleaned"),
    [
        ("\x1b[2Jcleared", "cleared"),
        ("\x1b]0;title\x07named", "named"),
        ("\x9b31mred", "red"),
        ("two\nlines\tand a tab", "two lines and a tab"),
        ("abc\u202egnp.exe", "abcgnp.exe"),
        ("a\u200bb\u200db", "abb"),
        ("e" + "\u0301" * 50, "e" + "\u0301" * 2),
        ("[/x][@click=app.quit]y", "[/x][@click=app.quit]y"),  # markup is text: it is shown, not obeyed
    ],
)
def test_clean(text: str, cleaned: str) -> None:
    assert fmt.clean(text) == cleaned


def test_ten_thousand_characters_are_cut() -> None:
    assert fmt.clean("x" * 10_000) == "x" * (fmt.NAME_LIMIT - 1) + "…"
