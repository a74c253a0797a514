"""The preview of the highlighted run: where it stands beside the list, and what it says. Pure.

It never takes a column from the list: where both do not fit side by side, it lies below.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum
from itertools import zip_longest
from typing import NamedTuple

from canopy_tui import format as fmt
from canopy_tui.charts.glyphs import Glyphs
from canopy_tui.inspector import Line, config_lines, fact_lines, facts, metric_lines
from canopy_tui.listing import Piece, run_name
from canopy_tui.runhead import flow
from wal.source import MetricRow, RunRow

FROM_COLUMNS = 120
"""Columns of the terminal from which there is a preview."""

FROM_LINES = 20
"""Lines of the terminal from which it may lie below the list, which keeps half of them."""

LIST_COLUMNS = 110
"""Columns that the list needs to show all that it has: a preview beside it gets what is left."""

BESIDE_COLUMNS, BESIDE_SHARE = 56, 0.36
"""Columns of a preview beside the list: at least so many, and of a wide terminal this share."""

BELOW_SHARE, BELOW_LINES = 0.375, (9, 20)
"""Lines of a preview below the list: this share of the terminal, from 9 (a readable chart) to 20."""

CHART_SHARE = 0.36
"""Of the height of a preview beside the list; the facts need the rest."""

LEAST_CHART_LINES = 6

AIRY_FROM = 12
"""Lines from which the head of a preview below the list has an empty line under it."""

GAP = 3
"""Cells between the columns of a preview below the list."""

METRICS_SHOWN = 12

IN_THE_HEAD = ("problem", "state", "records", "started", "project", "host", "streams")
"""Facts in the head of a preview below the list, the most wanted first. The list says the others already."""

ID = "id "

AT_THE_SIDE = frozenset({"group", "job", "notes"})
"""Facts that the head of a preview below the list has no room for."""


class Place(Enum):
    NONE = "none"
    BELOW = "below"
    BESIDE = "beside"


class PreviewBox(NamedTuple):
    """Where the preview stands; the width of one beside the list, the height of one below it."""

    place: Place
    size: int = 0


def preview_box(width: int, height: int) -> PreviewBox:
    """The preview's place in a terminal of ``width`` × ``height`` cells."""
    if width >= LIST_COLUMNS + BESIDE_COLUMNS:
        return PreviewBox(
            Place.BESIDE, min(width - LIST_COLUMNS, max(int(width * BESIDE_SHARE), BESIDE_COLUMNS))
        )
    if width >= FROM_COLUMNS and height >= FROM_LINES:
        least, most = BELOW_LINES
        return PreviewBox(Place.BELOW, min(max(int(height * BELOW_SHARE), least), most))
    return PreviewBox(Place.NONE)


def chart_size(place: Place, width: int, height: int) -> tuple[int, int]:
    """Columns and lines of the curve in a preview of ``width`` × ``height`` cells."""
    if place is Place.BESIDE:
        return width, max(int(height * CHART_SHARE), LEAST_CHART_LINES)
    return _columns(width)[0], max(height - _head_lines(height) - 1, 1)


@dataclass(frozen=True, slots=True)
class PreviewContent:
    """What is known of the highlighted run. ``chart`` are the lines of its main metric's curve, empty until
    they have been read; ``problem`` is why they could not be."""

    row: RunRow
    main: str
    metrics: Sequence[MetricRow]
    config: Mapping[str, object] = field(default_factory=dict[str, object])
    exit_code: int | None = None
    chart: Sequence[Line] = ()
    problem: str = ""


def preview_lines(
    shown: PreviewContent, place: Place, width: int, height: int, now_ns: int, glyphs: Glyphs, unicode: bool
) -> list[Line]:
    """The lines of the preview, at most ``height`` of them."""
    chart_width, chart_height = chart_size(place, width, height)
    chart = _chart(shown, chart_width, chart_height, unicode)
    if place is Place.BESIDE:
        lines: list[Line] = [_name(shown.row, width, unicode), []]
        lines += [*chart, []] if chart else []
        lines += [*fact_lines(shown.row, now_ns, width, unicode, shown.exit_code), []]
        lines += [*_metrics(shown, width, glyphs, unicode), []] if shown.metrics else []
        lines += _config(shown, width, unicode)
        return lines[:height]
    _, metrics_width, config_width = _columns(width)
    columns = [
        (chart_width, chart),
        (metrics_width, _metrics(shown, metrics_width, glyphs, unicode) if shown.metrics else []),
        (config_width, _side(shown, now_ns, config_width, height - _head_lines(height), unicode)),
    ]
    head: list[Line] = [_head(shown, now_ns, width, unicode), []]
    return [*head[: _head_lines(height)], *_side_by_side(columns)][:height]


def _columns(width: int) -> tuple[int, int, int]:
    """Cells of the curve, of the metrics and of the config below the list."""
    room = width - 2 * GAP
    config = min(max(int(room * 0.22), 20), 44)
    metrics = min(max(int(room * 0.33), 34), 60)
    return max(room - config - metrics, 1), metrics, config


def _head_lines(height: int) -> int:
    return 2 if height >= AIRY_FROM else 1


def _side_by_side(columns: Sequence[tuple[int, Sequence[Line]]]) -> list[Line]:
    lines: list[Line] = []
    for parts in zip_longest(*(lines for _, lines in columns), fillvalue=()):
        joined: Line = []
        for (width, _), part in zip(columns, parts, strict=True):
            taken = sum(fmt.cells(piece.text) for piece in part)
            joined += [*part, Piece(" " * (max(width - taken, 0) + GAP))]
        lines.append(joined)
    return lines


# -- parts ------------------------------------------------------------------------------------------


def _name(row: RunRow, width: int, unicode: bool) -> Line:
    name = run_name(row)
    return [Piece(fmt.middle_ellipsis(name, width, "…" if unicode else "~"), "accent")]


def _head(shown: PreviewContent, now_ns: int, width: int, unicode: bool) -> Line:
    """The name and the facts that the row of the list does not say, as many as one line holds."""
    items = [tuple(_name(shown.row, width // 3, unicode))]
    known = {fact[0]: fact for fact in facts(shown.row, now_ns, unicode, shown.exit_code)}
    for name, value, tone in (known[name] for name in IN_THE_HEAD if name in known):
        label = () if name == "state" else (Piece(f"{name} ", "muted"),)
        items.append((*label, Piece(fmt.middle_ellipsis(value, width // 2, "…" if unicode else "~"), tone)))
    return flow(items, width, GAP)[0]


def _chart(shown: PreviewContent, width: int, height: int, unicode: bool) -> list[Line]:
    """The name of the main metric and its curve, or the room for it."""
    if shown.main not in {metric.name for metric in shown.metrics}:
        return []
    ellipsis = "…" if unicode else "~"
    title = [Piece(fmt.middle_ellipsis(fmt.clean(shown.main), width, ellipsis), "muted")]
    curve = list(shown.chart)
    if not curve and shown.problem:
        curve = [[Piece(fmt.middle_ellipsis(fmt.clean(shown.problem), width, ellipsis), "muted")]]
    return [title, *curve[:height], *([] for _ in range(height - len(curve)))]


def _metrics(shown: PreviewContent, width: int, glyphs: Glyphs, unicode: bool) -> list[Line]:
    return metric_lines(shown.row, shown.metrics[:METRICS_SHOWN], width, glyphs, unicode)


def _config(shown: PreviewContent, width: int, unicode: bool) -> list[Line]:
    if not shown.config:
        return []
    return [[Piece("config", "muted")], *config_lines(shown.config, width, unicode)]


def _side(shown: PreviewContent, now_ns: int, width: int, height: int, unicode: bool) -> list[Line]:
    """The config, and the facts that are long or rare; the id whole where there is room: it is there to be
    copied."""
    lines = _config(shown, width, unicode)
    lines += [[]] if lines else []
    lines += fact_lines(shown.row, now_ns, width, unicode, only=AT_THE_SIDE)
    whole = _id(shown.row, width)
    if len(lines) + len(whole) > height:
        return [*lines, *fact_lines(shown.row, now_ns, width, unicode, only={"id"})]
    return [*lines, *whole]


def _id(row: RunRow, width: int) -> list[Line]:
    """The id in as many lines as it takes."""
    text, room = str(row.run_id), max(width - len(ID), 1)
    starts = range(0, len(text), room)
    return [
        [Piece(" " * len(ID) if at else ID, "muted"), Piece(text[at : at + room], "muted")] for at in starts
    ]
