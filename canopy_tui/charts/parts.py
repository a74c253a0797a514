"""What goes into a chart and what comes out of it. A widget gives each (role, tint) its style."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum, StrEnum
from typing import TYPE_CHECKING, NamedTuple

from canopy_tui.charts.palette import Tint
from canopy_tui.format import count, plural

if TYPE_CHECKING:  # numpy: a list of runs works without it
    from wal.pyramid import Series

    from canopy_tui.charts.axis import Axis
    from canopy_tui.charts.glyphs import Glyphs
    from canopy_tui.charts.scale import Scale


class Stroke(Enum):
    """How a line runs, for eyes and terminals that do not see its colour."""

    SOLID = "solid"
    DASHED = "dashed"
    DOTTED = "dotted"


def sample(stroke: Stroke, glyphs: Glyphs) -> str:
    """Five cells of a stroke, for a legend."""
    lit = glyphs.cells[(1 << glyphs.columns) - 1 << (glyphs.rows // 2 * glyphs.columns)]
    pattern = {Stroke.SOLID: "#####", Stroke.DASHED: "## ##", Stroke.DOTTED: "# # #"}[stroke]
    return pattern.replace("#", lit)


@dataclass(frozen=True, slots=True)
class Curve:
    """One line of a chart. Of curves that share a cell the later one gives it its colour; the extremes of all
    stay to be seen in it."""

    series: Series
    tint: Tint = Tint.MAIN
    stroke: Stroke = Stroke.SOLID
    label: str = ""


class MarkKind(StrEnum):
    """What happened at an x: a resume began, a hidden unit was added, or anything else with a label."""

    RESTART = "restart"
    UNIT = "unit"
    EVENT = "event"


@dataclass(frozen=True, slots=True)
class Mark:
    """Something on the x axis, in its units."""

    x: float
    kind: MarkKind
    label: str = ""


@dataclass(frozen=True, slots=True)
class Phase:
    """``low <= x < high``, where something else than usual was trained: the axis is heavy, the cells are
    shaded, and curves without a colour of their own have :attr:`Tint.PHASE`."""

    low: float
    high: float
    label: str = ""


class Role(StrEnum):
    """What a piece of a chart is. ``unshipped…``: made of records that Cassandra has not acknowledged.
    ``CROSSING`` is where a line meets the cursor."""

    BLANK = "blank"
    LINE = "line"
    BAND = "band"
    UNSHIPPED_LINE = "unshipped-line"
    UNSHIPPED_BAND = "unshipped-band"
    AXIS = "axis"
    UNSHIPPED_AXIS = "unshipped-axis"
    GUIDE = "guide"
    LABEL = "label"
    BAD = "bad"
    CLIP = "clip"
    MARK = "mark"
    CURSOR = "cursor"
    CROSSING = "crossing"


class Part(NamedTuple):
    """Neighbouring cells of one look; ``shaded`` in a :class:`Phase`."""

    text: str
    role: Role
    tint: Tint = Tint.MAIN
    shaded: bool = False


Row = tuple[Part, ...]


@dataclass(frozen=True, slots=True)
class Reading:
    """What a curve says at the cursor, from the column there that has points.

    ``points`` counts the finite ones, ``bad`` the others. With one point in all ``low``, ``high`` and
    ``mean`` are its value, whatever it is; without a finite one among several they are NaN. ``x`` is in the
    axis' units, ``first_step`` … ``last_step`` are those of the finite points.
    """

    label: str
    tint: Tint
    x: float
    first_step: int
    last_step: int
    points: int
    bad: int
    low: float
    high: float
    mean: float

    @property
    def exact(self) -> bool:
        """Whether this is one point and not a summary of several."""
        return self.points + self.bad == 1


@dataclass(frozen=True, slots=True)
class Plot:
    """A drawn chart: ``rows`` of parts, each row exactly as wide as asked, and what a title or a footer says
    of it.

    ``points`` are those in the picture, ``of_points`` all that its series have; ``columns`` are the dot
    columns that hold some. ``above`` and ``below`` are (value, step) of the extreme outside the scale, None
    when all fits. ``hidden`` counts the dot columns whose smallest or largest value is neither lit nor
    marked. ``unshipped`` and ``phases`` say whether there is such a place in it. ``readings`` are per curve
    that has one at the cursor, ``cursor_labels`` those of the phase and the marks there. ``notes`` say what
    else is to be known.
    """

    rows: tuple[Row, ...]
    axis: Axis
    scale: Scale | None
    points: int
    of_points: int
    columns: int
    hidden: int
    above: tuple[float, int] | None
    below: tuple[float, int] | None
    n_nan: int
    n_inf: int
    unshipped: bool
    phases: bool = False
    marks: frozenset[MarkKind] = frozenset()
    readings: tuple[Reading, ...] = ()
    cursor_labels: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()

    @property
    def footer(self) -> str:
        """``1,048,576 points → 320 columns, 0 extremes hidden``, and the notes."""
        total = f"{count(self.points)} of {plural(self.of_points, 'point')}"
        points = total if self.of_points > self.points else plural(self.points, "point")
        return ", ".join((f"{points} → {self._columns}", self._hidden, *self.notes))

    @property
    def _columns(self) -> str:
        return plural(self.columns, "column")

    @property
    def _hidden(self) -> str:
        return f"{plural(self.hidden, 'extreme')} hidden"

    def footer_in(self, width: int) -> str:
        """The footer; where ``width`` cells do not hold it, without how many points there are beyond, then
        without what is as it should be, then without the last notes."""
        brief = f"{plural(self.points, 'point')} → {self._columns}"
        whole = [brief, self._hidden]
        least = whole if self.hidden else [brief]
        choices = [self.footer, ", ".join((*whole, *self.notes))]
        choices += [", ".join((*least, *self.notes[:most])) for most in range(len(self.notes), 0, -1)]
        return next((text for text in choices if len(text) <= width), ", ".join(whole))
