"""Where the charts of a run stand: one, one above a list, or a grid, by the room there is. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import NamedTuple

GRID_FROM = (118, 24)
"""Width and height from which a grid is readable: two charts of 58 cells, two rows of 11."""

THREE_COLUMNS_FROM = 180
LIST_FROM_WIDTH = 64
"""Below this a list of metrics would have no room for its sparklines: the chart stands alone."""

CHART_HEIGHT = 11
"""A chart of fewer lines shows shape but no values."""

LEAST_CHART_HEIGHT = 8
LIST_SHARE = 0.4
"""Of the height, at most, for the list under the chart."""

GAP_COLUMNS = 2


class Box(NamedTuple):
    x: int
    y: int
    width: int
    height: int


class Kind(Enum):
    ONE = "one"
    LIST = "list"
    GRID = "grid"


@dataclass(frozen=True, slots=True)
class Layout:
    """The boxes of the charts, all of one size, row by row; ``rows`` is the list's box, if there is one."""

    kind: Kind
    boxes: tuple[Box, ...]
    columns: int = 1
    rows: Box | None = None

    @property
    def footer(self) -> bool:
        """Whether a chart has room for its footer."""
        return self.kind is not Kind.GRID and self.boxes[0].height > LEAST_CHART_HEIGHT + 2


def chart_layout(width: int, height: int, charts: int, full: bool = False, *, metrics: int = 0) -> Layout:
    """The layout of so many charts in ``width`` × ``height`` cells; ``full`` asks for one alone. ``metrics``
    are the lines of a list, which are more than the charts where some share one."""
    one = Layout(Kind.ONE, (Box(0, 0, max(width, 1), max(height, 1)),))
    if full or charts <= 1 or width < LIST_FROM_WIDTH:
        return one
    if width >= GRID_FROM[0] and height >= GRID_FROM[1]:
        return _grid(width, height, charts)
    listed = min(max(metrics, charts), max(int(height * LIST_SHARE) - 1, 2)) + 1
    chart = height - listed
    if chart < LEAST_CHART_HEIGHT:
        return one
    return Layout(Kind.LIST, (Box(0, 0, width, chart),), rows=Box(0, chart, width, listed))


def _grid(width: int, height: int, charts: int) -> Layout:
    columns = min(3 if width >= THREE_COLUMNS_FROM else 2, charts)
    rows = max(min(height // CHART_HEIGHT, -(-charts // columns)), 1)
    box_width = (width - GAP_COLUMNS * (columns - 1)) // columns
    box_height = height // rows
    top = min(height - rows * box_height, 1)  # a spare line is air under the tabs
    boxes = tuple(
        Box(column * (box_width + GAP_COLUMNS), top + row * box_height, box_width, box_height)
        for row in range(rows)
        for column in range(columns)
    )
    return Layout(Kind.GRID, boxes, columns)
