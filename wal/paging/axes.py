"""What a chart asks for: a metric, a width, an x axis and a range of it. Standard library only."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True, slots=True)
class XAxis:
    """What runs from left to right.

    ``step`` counts steps; ``time`` microseconds since the epoch; ``relative`` microseconds since the run's
    start; ``metric`` is the value of another metric of the same stream, named by ``metric``.
    """

    kind: Literal["step", "time", "relative", "metric"] = "step"
    metric: str = ""


STEP = XAxis()


@dataclass(frozen=True, slots=True)
class Ask:
    """One chart of one metric: at most ``columns`` columns over ``range``, the first and the last x shown,
    both included, in the axis' units; None is all there is.

    With ``ghosts`` the part of a stream that a resume superseded comes too, as a series of its own.
    """

    metric: str
    columns: int
    x: XAxis = STEP
    range: tuple[float, float] | None = None
    ghosts: bool = False
