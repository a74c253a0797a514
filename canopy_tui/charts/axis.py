"""The x axis: which dot column an x lies in, and back."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
from wal.pyramid import STEP, Columns, XAxis, column_edges, value_edges

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Xs = NDArray[np.int64] | NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Axis:
    """Places ``low`` … ``high`` (both included, in the units of ``x``) on ``width`` dot columns.

    With more steps than dot columns, dot column ``i`` holds what column ``i`` of a series asked for with this
    range and width does; with fewer, the steps are spread over the whole width.
    """

    low: float
    high: float
    width: int
    x: XAxis = STEP
    _edges: Xs = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        if self.x.kind == "metric":
            edges: Xs = value_edges(self.low, max(self.high, self.low), self.width)
        else:
            edges = column_edges(int(self.low), max(int(self.high), int(self.low)), self.width)
        object.__setattr__(self, "_edges", edges)

    def dots(self, x: NDArray[Any]) -> NDArray[np.int64]:
        """Dot column of each x; below 0 or from ``width`` on outside the axis."""
        return self._spread(np.searchsorted(self._edges, x, side="right") - 1)

    def dot(self, x: float) -> int:
        """The dot column of one x, of the nearest end for an x outside the axis."""
        at = np.array([x]) if self.x.kind == "metric" else np.array([int(x)], dtype=np.int64)
        return min(max(int(self.dots(at)[0]), 0), self.width - 1)

    def dots_of(self, columns: Columns) -> NDArray[np.int64]:
        """Dot column of each column: by their order when they are this axis' own, else by their middles."""
        edges, own = columns.edges, self._edges
        if len(edges) == len(own):
            shift = max(abs(float(edges[0]) - float(own[0])), abs(float(edges[-1]) - float(own[-1])))
            if shift * len(columns) <= float(own[-1]) - float(own[0]):
                return self._spread(np.arange(len(columns)))
        return self.dots(_middles(edges[:-1], edges[1:]))

    def xs(self, dots: NDArray[np.int64]) -> Xs:
        """The x in the middle of each dot column, a whole one where the axis counts."""
        count = len(self._edges) - 1
        place = np.clip(dots, 0, self.width - 1)
        if count < self.width:
            place = np.rint(place * (count - 1) / max(self.width - 1, 1)).astype(np.int64)
        return _middles(self._edges[place], self._edges[place + 1])

    def x_at(self, dot: int) -> float:
        """The x in the middle of one dot column."""
        return self.xs(np.array([dot]))[0].item()

    def _spread(self, place: NDArray[np.int64]) -> NDArray[np.int64]:
        count = len(self._edges) - 1
        place = np.where(place >= count, self.width, place)
        if count == self.width:
            return place
        spread = np.rint(place * (self.width - 1) / max(count - 1, 1)).astype(np.int64)
        return np.where(place >= self.width, self.width, np.where(place < 0, -1, spread))


def _middles(low: NDArray[Any], high: NDArray[Any]) -> NDArray[Any]:
    """Between two edges, in whole numbers where they are; their sum could overflow."""
    if low.dtype == np.float64:
        return low / 2 + high / 2
    return (low >> 1) + (high >> 1) + (low & high & 1)
