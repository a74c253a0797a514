"""Numbers, counts, times and names as the screens and the command line show them. Pure: no numpy, no textual.

Widths are terminal cells, not characters: a name in Chinese takes two cells a character, and a table that
counts characters falls apart on it. ``rich.cells`` is what Textual itself measures with, so both agree.
"""

from __future__ import annotations

import math
import re
import unicodedata

from rich.cells import cell_len, set_cell_size

SIGNIFICANT_DIGITS = 4
"""Enough to tell two losses apart in a column of eight cells; a fifth digit is noise to the eye."""

NUMBER_WIDTH = 7
"""Cells of a number in a table: the narrowest that shows any double with at least one digit."""

NAME_LIMIT = 200
"""Characters of a user's text that reach a screen: a terminal line and some, whatever was logged."""

_NS = 1_000_000_000
_MINUTE, _HOUR, _DAY, _WEEK, _YEAR = 60, 3600, 86_400, 7 * 86_400, 365 * 86_400

# -- numbers ----------------------------------------------------------------------------------------


def number(value: float | None, width: int = NUMBER_WIDTH) -> str:
    """``value`` with four significant digits in at most ``width`` cells: ``0.4123``, ``3.21e-4``, ``NaN``.

    Fewer digits come where four do not fit, but a value that is not zero never reads as zero. A number
    with a short exact decimal (``0.5``, ``1e-3``) keeps it; any other keeps its trailing zeros
    (``0.4120``), so that a live column does not jitter. None gives ``""``; what cannot fit at all is
    a row of ``#``, as in a spreadsheet, never a cut number.
    """
    if value is None:
        return ""
    if value != value:
        text = "NaN"
    elif math.isinf(value):
        text = "Inf" if value > 0 else "-Inf"
    else:
        text = _finite(float(value), width)
    return text if len(text) <= width else "#" * width


def signed(difference: float) -> str:
    """A difference with its sign and three significant digits at most: ``+0.014``, ``-2.31e-5``, ``0``."""
    rounded = float(f"{difference:.3g}")
    return f"+{number(rounded)}" if rounded > 0 else number(rounded)


def _finite(value: float, width: int) -> str:
    if value == 0:
        return "0"
    if value.is_integer() and abs(value) < 1e15:
        plain = str(int(value))
        if len(plain) <= width and abs(value) < 1e7:
            return plain
    exact = _exact_digits(value)
    scientific_only = not 1e-3 <= abs(value) < 1e6
    shortest = ""
    for digits in range(SIGNIFICANT_DIGITS, 0, -1):
        kept = min(digits, exact)
        if not scientific_only:
            fixed = _fixed(value, kept)
            if fixed is not None and len(fixed) <= width:
                return fixed
        shortest = _scientific(value, kept)
        if len(shortest) <= width:
            return shortest
    return shortest


def _exact_digits(value: float) -> int:
    """Significant digits of the shortest decimal that is exactly this double."""
    mantissa = repr(abs(value)).partition("e")[0].replace(".", "").strip("0")
    return max(len(mantissa), 1)


def _fixed(value: float, digits: int) -> str | None:
    """``digits`` significant digits without an exponent; None when rounding would leave the fixed range."""
    exponent = int(f"{abs(value):.{digits - 1}e}".partition("e")[2])
    if exponent >= 6:
        return None
    return f"{value:.{max(digits - 1 - exponent, 0)}f}"


def _scientific(value: float, digits: int) -> str:
    mantissa, _, exponent = f"{value:.{digits - 1}e}".partition("e")
    return f"{mantissa}e{int(exponent)}"


def count(n: int, width: int | None = None) -> str:
    """``1,048,576``; in a narrow ``width`` without separators, then ``1.05M``. Never a wrong magnitude."""
    text = f"{n:,}"
    if width is None or len(text) <= width:
        return text
    plain = str(n)
    if len(plain) <= width:
        return plain
    for power, unit in enumerate("kMGTPE", start=1):
        for decimals in (2, 1, 0):
            short = f"{n / 1000**power:.{decimals}f}"
            if len(short) + 1 <= width and abs(float(short)) < 1000:
                return short + unit
    return "#" * width


def plural(n: int, noun: str) -> str:
    """``1 record``, ``3,120 records``."""
    return f"{count(n)} {noun}" + ("" if n == 1 else "s")


# -- times ------------------------------------------------------------------------------------------


def age(ns: int) -> str:
    """How long ago in at most four cells: ``4 s``, ``3 m``, ``2 h``, ``5 d``, ``14 w``, ``3 y``.

    Negative ages, which another machine's clock can give, read ``0 s``.
    """
    seconds = max(ns, 0) // _NS
    for below, unit_seconds, unit in (
        (_MINUTE, 1, "s"),
        (_HOUR, _MINUTE, "m"),
        (_DAY, _HOUR, "h"),
        (100 * _DAY, _DAY, "d"),
        (100 * _WEEK, _WEEK, "w"),
    ):
        if seconds < below:
            return f"{seconds // unit_seconds} {unit}"
    return f"{seconds // _YEAR} y"


def ago(ns: int) -> str:
    """``0.4 s ago`` below ten seconds, where tenths tell whether a run is alive; then as :func:`age`."""
    if ns < 10 * _NS:
        return f"{max(ns, 0) // 100_000_000 / 10:.1f} s ago"
    return f"{age(ns)} ago"


def duration(ns: int) -> str:
    """A span in its two largest units: ``0.4 s``, ``12 s``, ``3 m 12 s``, ``2 h 05 m``, ``5 d 03 h``."""
    if ns < 10 * _NS:
        return f"{max(ns, 0) // 100_000_000 / 10:.1f} s"
    seconds = ns // _NS
    if seconds < _MINUTE:
        return f"{seconds} s"
    if seconds < _HOUR:
        return f"{seconds // _MINUTE} m {seconds % _MINUTE:02d} s"
    if seconds < _DAY:
        return f"{seconds // _HOUR} h {seconds % _HOUR // _MINUTE:02d} m"
    return f"{seconds // _DAY} d {seconds % _DAY // _HOUR:02d} h"


def data_size(size: int) -> str:
    """Bytes in binary units: ``812 B``, ``41.2 MiB``."""
    if size < 1024:
        return f"{size} B"
    value = float(size)
    for unit in ("KiB", "MiB", "GiB", "TiB"):
        value /= 1024
        if value < 1024 or unit == "TiB":
            break
    return f"{value:.1f} {unit}"


# -- texts ------------------------------------------------------------------------------------------

_ESCAPE_SEQUENCE = re.compile(
    r"(?:\x1b\[|\x9b)[0-?]*[ -/]*[@-~]"  # CSI: colours, cursor moves, clear screen
    r"|(?:\x1b[\]PX^_]|[\x9d\x90\x98\x9e\x9f])[^\x07\x1b\x9c]*(?:\x07|\x1b\\|\x9c)?"  # OSC, DCS and kin
    r"|\x1b[ -/]*[0-~]?"
)
_UNSAFE_CATEGORIES = frozenset({"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"})
_MAX_MARKS = 2
"""Combining marks kept on one letter: enough for Vietnamese; a pile of them would climb over other lines."""


def clean(text: str, limit: int = NAME_LIMIT) -> str:
    """User text that is safe to show: one line, no control, escape, bidi or invisible character.

    Line breaks and tabs become a space; whole escape sequences go, not only their first byte. Longer than
    ``limit`` characters is cut and ends in ``…``. The result may be empty.
    """
    kept: list[str] = []
    marks = 0
    # Bounded work for text of any length: what is dropped can at most hide the text behind it.
    for char in _ESCAPE_SEQUENCE.sub("", text[: 8 * limit]):
        if char in "\n\r\t\v\f\x85\u2028\u2029":
            char = " "
        elif unicodedata.category(char) in _UNSAFE_CATEGORIES:
            continue
        marks = marks + 1 if unicodedata.category(char) in ("Mn", "Me") else 0
        if marks > _MAX_MARKS:
            continue
        kept.append(char)
        if len(kept) > limit:
            return "".join(kept[: limit - 1]) + "…"
    return "".join(kept)


def cells(text: str) -> int:
    """Terminal cells that ``text`` takes."""
    return cell_len(text)


def middle_ellipsis(text: str, width: int, ellipsis: str = "…") -> str:
    """``text`` in at most ``width`` cells, its middle replaced: the ends of run names tell them apart."""
    if cell_len(text) <= width:
        return text
    room = width - cell_len(ellipsis)
    if room <= 0:
        return set_cell_size(ellipsis, max(width, 0))
    tail = _last_cells(text, room // 2)
    return _first_cells(text, room - cell_len(tail)) + ellipsis + tail


def _first_cells(text: str, width: int) -> str:
    taken = 0
    for i, char in enumerate(text):
        taken += cell_len(char)
        if taken > width:
            return text[:i]
    return text


def _last_cells(text: str, width: int) -> str:
    taken = 0
    for i in range(len(text) - 1, -1, -1):
        taken += cell_len(text[i])
        if taken > width:
            return text[i + 1 :]
    return text


def left(text: str, width: int) -> str:
    """``text`` in exactly ``width`` cells, flush left, its middle cut when it is longer."""
    text = middle_ellipsis(text, width)
    return text + " " * (width - cell_len(text))


def right(text: str, width: int) -> str:
    """``text`` in exactly ``width`` cells, flush right, its middle cut when it is longer."""
    text = middle_ellipsis(text, width)
    return " " * (width - cell_len(text)) + text


_STAND_INS = str.maketrans(
    {"·": "-", "–": "-", "…": "~", "→": ">", "×": "x", "★": "*", "▸": ">", "▶": ">", "↑": "^"}
)


def sentence(text: str) -> str:
    """``text`` with a capital and a full stop; empty stays empty."""
    return f"{text[0].upper()}{text[1:].rstrip('.')}." if text else ""


def ascii_only(text: str) -> str:
    """``text`` for a terminal that shows ASCII only: our own signs have stand-ins, others become ``?``."""
    return text.translate(_STAND_INS).encode("ascii", "replace").decode("ascii")
