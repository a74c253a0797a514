"""The config keys in which runs differ, as a table: a row a key, a column a run. Pure."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from canopy_tui import format as fmt
from canopy_tui.listing import Piece

Line = list[Piece]

LONGEST_KEY = 32
LONGEST_VALUE = 24
LEAST_VALUE = 6
GAP = 2

KEPT_BEFORE = 4
"""Characters of what long values share that are kept before their first difference."""


@dataclass(frozen=True, slots=True)
class Difference:
    """A key, its parts joined by dots, and what each run has for it: None where it is not set."""

    key: str
    values: tuple[str | None, ...]


def differences(configs: Sequence[Mapping[str, object]]) -> list[Difference]:
    """The keys that do not have the same value in all configs, by name. ``1`` and ``1.0`` are the same;
    ``1``, ``"1"``, ``true`` and a key that is not set are not."""
    flat = [dict(_leaves(config)) for config in configs]
    found: list[Difference] = []
    for key in sorted({key for one in flat for key in one}):
        values = [one.get(key, _NOT_SET) for one in flat]
        if len({_identity(value) for value in values}) > 1:
            found.append(Difference(key, tuple(_texts(values))))
    return found


_NOT_SET = object()


def _leaves(config: Mapping[str, object], prefix: str = "") -> list[tuple[str, object]]:
    pairs: list[tuple[str, object]] = []
    for key, value in config.items():
        name = f"{prefix}{key}"
        if isinstance(value, Mapping) and value:
            pairs += _leaves(value, f"{name}.")  # pyright: ignore[reportUnknownArgumentType]
        else:
            pairs.append((name, value))
    return pairs


def _identity(value: object) -> str:
    """A text that equal values share."""
    if value is _NOT_SET:
        return ""
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    return json.dumps(value, sort_keys=True, ensure_ascii=False, default=str)


def _texts(values: Sequence[object]) -> list[str | None]:
    """As a user wrote them; strings in quotes where something else would read the same."""
    others = {_identity(value) for value in values if not isinstance(value, str) and value is not _NOT_SET}
    texts: list[str | None] = []
    for value in values:
        if value is _NOT_SET:
            texts.append(None)
        elif isinstance(value, str) and value not in others:
            texts.append(value)
        else:
            texts.append(json.dumps(value, ensure_ascii=False, default=str))
    return texts


@dataclass(frozen=True, slots=True)
class Column:
    """A run: its name, and the tone that it has on the chart."""

    name: str
    tone: str


def table_lines(
    found: Sequence[Difference], columns: Sequence[Column], width: int, first: int, unicode: bool
) -> tuple[list[Line], int]:
    """A heading and a line a key for the runs from ``first`` on, and how many of them there is room for.

    The first run is always there, to be compared with; what is the same as its is muted.
    """
    ellipsis, nothing = ("…", "–") if unicode else ("~", "-")
    texts = [[nothing if one is None else fmt.clean(one, 400) for one in row.values] for row in found]
    longest = max((fmt.cells(fmt.clean(row.key)) for row in found), default=0)
    key_width = min(longest, LONGEST_KEY, max(width // 3, LEAST_VALUE))
    widths = [_column_width(column, [row[at] for row in texts]) for at, column in enumerate(columns)]
    shown = [0] if columns else []
    room = width - key_width - (GAP + widths[0] if columns else 0)
    for at in range(max(first, 1), len(columns)):
        room -= GAP + widths[at]
        if room < 0 and len(shown) > 1:
            break
        shown.append(at)
    if room < 0 and len(shown) == 2:  # two columns share what there is: one alone compares nothing
        half = max((width - key_width) // 2 - GAP, LEAST_VALUE)
        widths = [min(one, half) for one in widths]
    heading: Line = [Piece(" " * key_width)]
    for at in shown:
        heading += _cell(fmt.clean(columns[at].name), widths[at], columns[at].tone, ellipsis)
    lines = [heading]
    for row, values in zip(found, texts, strict=True):
        line: Line = [
            Piece(fmt.left(fmt.middle_ellipsis(fmt.clean(row.key), key_width, ellipsis), key_width), "muted")
        ]
        short = apart([values[at] for at in shown], [widths[at] for at in shown], ellipsis)
        for at, text in zip(shown, short, strict=True):
            same = at != 0 and row.values[at] == row.values[0]
            line += _cell(text, widths[at], "muted" if same or row.values[at] is None else "", ellipsis)
        lines.append(line)
    return lines, len(shown)


def _column_width(column: Column, texts: Sequence[str]) -> int:
    longest = max(fmt.cells(text) for text in (fmt.clean(column.name), *texts))
    return min(max(longest, LEAST_VALUE), LONGEST_VALUE)


def _cell(text: str, width: int, tone: str, ellipsis: str) -> Line:
    return [Piece(" " * GAP), Piece(fmt.left(fmt.middle_ellipsis(text, width, ellipsis), width), tone)]


def apart(texts: Sequence[str], widths: Sequence[int], ellipsis: str) -> list[str]:
    """Texts from shortly before their first difference on, where one is too long to be shown whole: the
    middle, which is left out otherwise, might be all that differs."""
    if all(fmt.cells(text) <= width for text, width in zip(texts, widths, strict=True)):
        return list(texts)
    shared = next((at for at, here in enumerate(zip(*texts, strict=False)) if len(set(here)) > 1), 0)
    cut = shared - KEPT_BEFORE
    return [ellipsis + text[cut:] for text in texts] if cut > 1 else list(texts)
