"""The run list as cells: which columns fit, what each says, in which order the runs come. Pure.

The screen and ``canopy ls`` draw the same cells, so they never tell different stories. Nothing here imports
numpy or textual: ``ls`` must be quick.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from canopy_tui import format as fmt
from canopy_tui.filtering import duration_ns, last_sign_ns, sync_word
from wal.reading.goals import main_metric
from wal.source import MetricRow, RunRow, RunState

TONES = ("strong", "muted", "faint", "guide", "bad", "curve", "band", "waiting", "waiting-band", "accent")
"""What a piece of text is, for whoever gives it a colour. ``bad`` is kept for failed, crashed and NaN;
``waiting`` for what Cassandra has not acknowledged."""


class Piece(NamedTuple):
    """Some text of one tone: ``""`` or one of :data:`TONES`."""

    text: str
    tone: str = ""


Cell = tuple[Piece, ...]

STATE_GLYPHS = {
    RunState.RUNNING: ("●", "*"),
    RunState.DONE: ("✓", "+"),
    RunState.FAILED: ("✗", "x"),
    RunState.CRASHED: ("‡", "!"),
    RunState.STALE: ("◌", "~"),
}
"""Glyph, and its stand-in where only ASCII arrives."""

BAD_STATES = frozenset({RunState.FAILED, RunState.CRASHED})
_STATE_ORDER = {state: place for place, state in enumerate(RunState)}

SEVERAL_METRICS = "main metric"
"""The sparkline's heading while the listed projects have different main metrics; its end, where that is all
that fits."""


# -- what the list is about -------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Listing:
    """The runs to be shown and what holds for all of them."""

    rows: tuple[RunRow, ...] = ()
    main_metrics: Mapping[str, str] = field(default_factory=dict[str, str])
    """Main metric by project; a project whose runs logged nothing yet has none."""

    several_projects: bool = False
    several_hosts: bool = False

    @classmethod
    def of(cls, rows: Sequence[RunRow], chosen: Mapping[str, str] | None = None) -> Listing:
        """The listing of all runs; ``chosen`` are the main metrics that the user chose."""
        names: dict[str, dict[str, int]] = {}
        for row in rows:  # newest first: the order in which the latest runs log decides
            known = names.setdefault(row.project, {})
            for place, name in enumerate(row.metrics):
                known.setdefault(name, place)
        mains: dict[str, str] = {}
        for project, places in names.items():
            main = main_metric(sorted(places, key=places.__getitem__), (chosen or {}).get(project))
            if main is not None:
                mains[project] = main
        return cls(
            tuple(rows), mains,
            several_projects=len(names) > 1,
            several_hosts=len({row.host for row in rows if row.host}) > 1,
        )  # fmt: skip

    def metric_names(self, project: str) -> list[str]:
        """Every metric that a run of the project logged, in the order of first logging."""
        places: dict[str, int] = {}
        for row in self.rows:
            if row.project == project:
                for place, name in enumerate(row.metrics):
                    places.setdefault(name, place)
        return sorted(places, key=lambda name: (places[name], name))

    def narrow(self, rows: Sequence[RunRow]) -> Listing:
        """The same listing of fewer runs: columns that would say one thing only are not needed any more."""
        projects = {row.project for row in rows}
        return Listing(
            tuple(rows),
            {project: main for project, main in self.main_metrics.items() if project in projects},
            several_projects=len(projects) > 1,
            several_hosts=len({row.host for row in rows if row.host}) > 1,
        )

    def main_of(self, row: RunRow) -> MetricRow | None:
        """The run's own values of its project's main metric."""
        return row.metrics.get(self.main_metrics.get(row.project, ""))

    def heading(self, width: int) -> str:
        """The name of the main metric where the listed runs share one."""
        mains = set(self.main_metrics.values())
        if not mains:
            return ""
        several = SEVERAL_METRICS if width >= len(SEVERAL_METRICS) else SEVERAL_METRICS.split()[-1]
        return fmt.clean(mains.pop()) if len(mains) == 1 else several


# -- columns ----------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Column:
    """A column of the list: ``width`` cells after a gap of ``gap``."""

    key: str
    title: str
    width: int
    gap: int = 1
    right: bool = False


class _Spec(NamedTuple):
    """How a column may be sized: least, wished and largest width; those of low ``rank`` go first."""

    title: str
    least: int
    wished: int
    largest: int
    rank: int
    gap: int = 1
    right: bool = False


_SPECS = {
    "state": _Spec("state", 9, 9, 9, 99, gap=0),
    "project": _Spec("project", 9, 12, 20, 4),
    "host": _Spec("host", 8, 12, 20, 1),
    "name": _Spec("name", 14, 20, 40, 99),
    "spark": _Spec("", 8, 14, 32, 8),
    "last": _Spec("last", 7, 7, 7, 9, right=True),
    "best": _Spec("best", 7, 7, 7, 7, right=True),
    "step": _Spec("step", 6, 6, 6, 6, right=True),
    "duration": _Spec("duration", 9, 9, 9, 3, gap=2, right=True),
    "age": _Spec("age", 4, 4, 4, 98, right=True),
    "sync": _Spec("sync", 5, 5, 5, 5, right=True),
    "tags": _Spec("tags", 12, 14, 28, 2, gap=2),
}

MORE_COLUMNS_FROM = 108
"""Duration and tags are shown from this width on, which a terminal of 110 columns has: below it they would
cost the names."""

_GROWTH = (("name", "wished"), ("spark", "wished"), ("project", "wished"), ("host", "wished"),
           ("tags", "wished"), ("name", "largest"), ("spark", "largest"), ("tags", "largest"),
           ("project", "largest"), ("host", "largest"))  # fmt: skip
"""Who takes the cells that are left, in turn."""


def columns_for(width: int, listing: Listing) -> tuple[Column, ...]:
    """The columns that fit in ``width`` cells, in order."""
    keys = [key for key in _SPECS if _is_wanted(key, width, listing)]
    while _total(keys) > width and len(keys) > 2:
        keys.remove(min(keys, key=lambda key: _SPECS[key].rank))
    widths = {key: _SPECS[key].least for key in keys}
    free = max(width - _total(keys), 0)
    for key, aim in _GROWTH:
        if key in widths:
            wanted = _SPECS[key].wished if aim == "wished" else _SPECS[key].largest
            taken = min(max(wanted - widths[key], 0), free)
            widths[key] += taken
            free -= taken
    heading = listing.heading(widths.get("spark", 0))
    return tuple(
        Column(key, heading if key == "spark" else spec.title, widths[key], spec.gap, spec.right)
        for key, spec in ((key, _SPECS[key]) for key in keys)
    )


def _is_wanted(key: str, width: int, listing: Listing) -> bool:
    if key == "project":
        return listing.several_projects
    if key == "host":
        return listing.several_hosts
    if key in ("duration", "tags"):
        return width >= MORE_COLUMNS_FROM
    return True


def _total(keys: Sequence[str]) -> int:
    return sum(_SPECS[key].least + _SPECS[key].gap for key in keys)


# -- order ------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Order:
    """By what the runs are sorted. ``start``, newest first, is how a source gives them."""

    key: str = "start"
    descending: bool = True


SORT_KEYS = {
    "start": "start",
    "state": "state",
    "project": "project",
    "host": "host",
    "name": "name",
    "last": "last value",
    "best": "best value",
    "step": "step",
    "duration": "duration",
    "age": "age",
    "sync": "records to ship",
    "tags": "tags",
}
"""Every key that can be sorted by, with the words of the sort menu."""

_DESCENDING_FIRST = frozenset({"start", "step", "duration", "sync"})

_Value = float | str | tuple[str, ...] | None


def natural_order(key: str, listing: Listing) -> Order:
    """The order that a key is first sorted in: the best values, the most steps, the youngest on top."""
    if key in ("last", "best"):
        goals = {metric.goal for row in listing.rows if (metric := listing.main_of(row)) is not None}
        return Order(key, descending=goals == {"max"})
    return Order(key, key in _DESCENDING_FIRST)


def sort_rows(rows: Sequence[RunRow], order: Order, listing: Listing, now_ns: int) -> list[RunRow]:
    """The rows in that order. Runs without a value, and NaN, come last whichever way the order goes."""
    value_of = _sort_value(order.key, listing, now_ns)
    valued: list[tuple[_Value, RunRow]] = []
    rest: list[RunRow] = []
    for row in rows:
        value = value_of(row)
        if value is None or value == "" or value == () or value != value:
            rest.append(row)
        else:
            valued.append((value, row))
    valued.sort(key=lambda pair: pair[0], reverse=order.descending)  # pyright: ignore[reportArgumentType, reportCallIssue]
    return [row for _, row in valued] + rest


def _sort_value(key: str, listing: Listing, now_ns: int) -> Callable[[RunRow], _Value]:
    def last(row: RunRow) -> float | None:
        metric = listing.main_of(row)
        return None if metric is None else metric.summary.last

    def best(row: RunRow) -> float | None:
        metric = listing.main_of(row)
        found = None if metric is None else metric.best
        return None if found is None else found[0]

    values: dict[str, Callable[[RunRow], _Value]] = {
        "start": lambda row: row.started_ns,
        "state": lambda row: _STATE_ORDER[row.state],
        "project": lambda row: row.project.casefold(),
        "host": lambda row: row.host.casefold(),
        "name": lambda row: row.name.casefold(),
        "last": last,
        "best": best,
        "step": lambda row: row.step,
        "duration": lambda row: duration_ns(row, now_ns),
        "age": lambda row: now_ns - last_sign_ns(row),
        "sync": lambda row: row.unshipped,
        "tags": lambda row: tuple(tag.casefold() for tag in row.tags),
    }
    return values[key]


# -- cells ------------------------------------------------------------------------------------------

Sparkline = Callable[[MetricRow, RunRow, int], Cell]
"""Draws a metric of a run in so many cells."""


def run_name(row: RunRow) -> str:
    """The run's name, fit to be shown; the end of its id where it has none that could be seen."""
    return fmt.clean(row.name).strip() or row.run_id.hex[-8:]


def state_text(state: RunState, unicode: bool) -> str:
    """``● running``, or ``* running`` where only ASCII arrives."""
    return f"{STATE_GLYPHS[state][0 if unicode else 1]} {state.value}"


def sync_text(row: RunRow, unicode: bool) -> str:
    """``✓``, ``↑3.1k`` records on the way, or ``local``."""
    word = sync_word(row)
    if word == "waiting":
        return f"{'↑' if unicode else '^'}{short_count(row.unshipped)}"
    return word if word == "local" else "✓" if unicode else "ok"


def short_count(n: int) -> str:
    """A count in at most four cells: ``88``, ``3.1k``, ``12k``, ``1.2M``."""
    value = float(n)
    for unit in ("", "k", "M", "G", "T"):
        if unit and value < 9.95:
            return f"{value:.1f}{unit}"
        if value < 999.5:
            return f"{value:.0f}{unit}"
        value /= 1000
    return "lots"


def is_bad(value: float) -> bool:
    """Whether a value deserves colour: NaN and the infinities."""
    return not math.isfinite(value)


def cell(
    column: Column, row: RunRow, listing: Listing, now_ns: int, sparkline: Sparkline, unicode: bool
) -> Cell:
    """What ``column`` says of ``row``, in exactly its width."""
    match column.key:
        case "spark":
            metric = listing.main_of(row)
            return (Piece(" " * column.width),) if metric is None else sparkline(metric, row, column.width)
        case "last" | "best":
            return (_fit(*_value(column, listing.main_of(row)), column, unicode),)
        case _:
            return (_fit(*_words(column, row, now_ns, unicode), column, unicode),)


def _words(column: Column, row: RunRow, now_ns: int, unicode: bool) -> tuple[str, str]:
    """Text and tone of a column that is about the run itself."""
    match column.key:
        case "state":
            return state_text(row.state, unicode), "bad" if row.state in BAD_STATES else ""
        case "name":
            return run_name(row), "" if row.name.strip() else "muted"
        case "step":
            return fmt.count(row.step, column.width) if row.records else "", ""
        case "sync":
            return sync_text(row, unicode), "" if sync_word(row) == "waiting" else "muted"
        case "duration":
            return fmt.duration(duration_ns(row, now_ns)), "muted"
        case "age":
            return fmt.age(now_ns - last_sign_ns(row)), "muted"
        case "project":
            return fmt.clean(row.project), "muted"
        case "host":
            return fmt.clean(row.host), "muted"
        case _:
            return fmt.clean(" ".join(row.tags)), "muted"


def _value(column: Column, metric: MetricRow | None) -> tuple[str, str]:
    """Text and tone of the last or best value; a metric without a goal has no best."""
    if metric is None:
        return "", ""
    if column.key == "last":
        value = metric.summary.last
    elif metric.best is None:
        return "-", "muted"
    else:
        value = metric.best[0]
    return fmt.number(value, column.width), "bad" if is_bad(value) else ""


def _fit(text: str, tone: str, column: Column, unicode: bool) -> Piece:
    if not unicode:
        text = fmt.ascii_only(text)
    if not text.isascii() or len(text) > column.width:
        text = fmt.middle_ellipsis(text, column.width, "…" if unicode else "~")
        pad = " " * (column.width - fmt.cells(text))
        return Piece(pad + text if column.right else text + pad, tone)
    return Piece(text.rjust(column.width) if column.right else text.ljust(column.width), tone)


def title_cell(column: Column, order: Order, unicode: bool) -> Cell:
    """A column's heading; that of the sort column carries the arrow and the accent."""
    if column.key != order.key:
        return (_fit(column.title, "muted", column, unicode),)
    arrow = ("▾" if order.descending else "▴") if unicode else ("v" if order.descending else "^")
    gap = " " if fmt.cells(column.title) + 2 <= column.width else ""
    title = fmt.middle_ellipsis(column.title, column.width - len(gap) - 1, "…" if unicode else "~")
    return (_fit(f"{title}{gap}{arrow}", "accent", column, unicode),)


def row_of(columns: Iterable[Column], cells: Iterable[Cell]) -> list[Piece]:
    """The cells of a line with the gaps between their columns."""
    pieces: list[Piece] = []
    for column, cell in zip(columns, cells, strict=True):
        if column.gap:
            pieces.append(Piece(" " * column.gap))
        pieces.extend(cell)
    return pieces
