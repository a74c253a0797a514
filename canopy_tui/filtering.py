"""The filter of the run list: a line of text becomes a predicate on runs. Pure.

Terms are separated by spaces and all must hold::

    cascor              the text is in the name, project, host, group, a tag, the state or the id
    state:failed        a field holds the text; state:run is enough
    host=node-3         a field is the text
    loss<0.1            the last value of a metric; also step, records, age, duration, best
    age<2h              times take s, m, h, d, w; counts take k and M
    -tag:old  not old   the opposite of a term
    "two words"         quotes keep spaces, colons and signs together
"""

from __future__ import annotations

import math
import operator
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from difflib import get_close_matches

from wal.source import MetricRow, RunRow, RunState

_NS = 1_000_000_000
_TIME_UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86_400, "w": 7 * 86_400, "": 1}
_COUNT_UNITS = {"": 1.0, "k": 1e3, "K": 1e3, "M": 1e6, "G": 1e9}

_COMPARE: dict[str, Callable[[float, float], bool]] = {
    "<=": operator.le,
    ">=": operator.ge,
    "!=": operator.ne,
    "<": operator.lt,
    ">": operator.gt,
    "=": operator.eq,
}

_PIECE = re.compile(
    r""" "([^"]*)"? | '([^']*)'?                                   # quoted; the end may be still to come
       | (\s*(?:<=|>=|!=|[<>=])(?:\s+(?=[-+.]?\d|nan\b|inf\b))?)  # an operator and the spaces it binds
       | (\s+) | ([^\s"'<>=!]+|!)                                 # spaces; plain text """,
    re.VERBOSE,
)


class FilterError(ValueError):
    """A filter that cannot be understood. The message is a sentence for the person who types it."""


@dataclass(frozen=True, slots=True)
class Context:
    """What a term may need beside the run: the time, and the main metric of each project."""

    now_ns: int
    main_metrics: Mapping[str, str] = field(default_factory=dict[str, str])


Predicate = Callable[[RunRow, Context], bool]


@dataclass(frozen=True, slots=True)
class Filter:
    """A parsed filter. ``metrics`` are the metric names that it compares, so that a screen can say that no
    run logs one of them."""

    text: str = ""
    terms: tuple[Predicate, ...] = ()
    metrics: tuple[str, ...] = ()

    def __bool__(self) -> bool:
        return bool(self.terms)

    def apply(self, rows: Sequence[RunRow], context: Context) -> list[RunRow]:
        """The rows that match, in their order."""
        found = list(rows)
        for term in self.terms:
            found = [row for row in found if term(row, context)]
        return found

    def unknown_metrics(self, rows: Sequence[RunRow]) -> list[str]:
        """Compared names that no run has a metric of."""
        return [name for name in self.metrics if not any(_metrics_named(row, name) for row in rows)]


def parse(text: str) -> Filter:
    """The filter that ``text`` means. Raises :class:`FilterError`."""
    found, problem = parse_typing(text)
    if problem:
        raise FilterError(problem)
    return found


def parse_typing(text: str) -> tuple[Filter, str]:
    """The filter of the terms that can be understood, and what is wrong with the first of the others.

    While a term is being typed it often means nothing yet; the list should not jump for that.
    """
    terms: list[Predicate] = []
    metrics: list[str] = []
    problem = ""
    negate = False
    for token in _tokens(text):
        if token.plain and token.text.lower() == "not" and not token.operator:
            negate = not negate
            continue
        if token.plain and token.text.startswith("-"):
            negate = not negate
            token = token.without_dash()
            if not token.text and not token.operator:
                continue  # a dash whose word is still to be typed
        try:
            term = _term(token, metrics)
        except FilterError as error:
            problem = problem or str(error)
        else:
            terms.append(_opposite(term) if negate else term)
        negate = False
    return Filter(text, tuple(terms), tuple(dict.fromkeys(metrics))), problem


# -- tokens -----------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Token:
    text: str
    operator: str = ""
    value: str = ""
    plain: bool = True
    """False when ``text`` began with a quote: then a dash or a colon in it is only a character."""

    def without_dash(self) -> _Token:
        return replace(self, text=self.text[1:])


def _tokens(text: str) -> list[_Token]:
    """The text cut at spaces. An operator binds what is before it, and a number after it, spaces or not."""
    tokens: list[_Token] = []
    open_token: _Token | None = None
    for match in _PIECE.finditer(text):
        double, single, sign, space, word = match.groups()
        if space is not None:
            tokens += [open_token] if open_token else []
            open_token = None
        elif sign is not None and (open_token is None or not open_token.operator):
            open_token = replace(open_token or _Token(""), operator=sign.strip())
        else:
            quoted = double if double is not None else single
            piece = quoted if quoted is not None else word or (sign or "").strip()
            if open_token is None:
                open_token = _Token(piece, plain=quoted is None)
            elif open_token.operator:
                open_token = replace(open_token, value=open_token.value + piece)
            else:
                open_token = replace(open_token, text=open_token.text + piece)
    return tokens + ([open_token] if open_token else [])


def _opposite(term: Predicate) -> Predicate:
    return lambda row, context: not term(row, context)


# -- terms ------------------------------------------------------------------------------------------

_FIELDS: dict[str, Callable[[RunRow], Sequence[str]]] = {
    "name": lambda row: (row.name,),
    "project": lambda row: (row.project,),
    "host": lambda row: (row.host,),
    "tag": lambda row: row.tags,
    "group": lambda row: (row.group,),
    "job": lambda row: (row.job_type,),
    "notes": lambda row: (row.notes,),
    "id": lambda row: (str(row.run_id), row.run_id.hex),
    "state": lambda row: (row.state.value,),
    "sync": lambda row: (sync_word(row),),
}

_ALIASES = {"tags": "tag", "note": "notes", "job_type": "job", "status": "state", "run": "name"}

_CHOICES = {
    "state": tuple(state.value for state in RunState),
    "sync": ("shipped", "waiting", "local"),
}


def sync_word(row: RunRow) -> str:
    """``shipped``, ``waiting`` (Cassandra knows the run but not all of it) or ``local``."""
    if not row.shipped:
        return "local"
    return "waiting" if row.unshipped else "shipped"


_QUANTITIES: dict[str, tuple[str, Callable[[RunRow, Context], float | None]]] = {
    "step": ("count", lambda row, _: row.step),
    "records": ("count", lambda row, _: row.records),
    "streams": ("count", lambda row, _: row.streams),
    "waiting": ("count", lambda row, _: row.unshipped),
    "age": ("time", lambda row, context: (context.now_ns - last_sign_ns(row)) / _NS),
    "duration": ("time", lambda row, context: duration_ns(row, context.now_ns) / _NS),
    "last": ("number", lambda row, context: _main(row, context, lambda metric: metric.summary.last)),
    "best": ("number", lambda row, context: _main(row, context, _best)),
}


def last_sign_ns(row: RunRow) -> int:
    """When the run was last heard of: its end, else its newest record, else its start."""
    return row.ended_ns or row.last_ts_ns or row.started_ns


def duration_ns(row: RunRow, now_ns: int) -> int:
    """From the start to the end; to now for a run that is running; to its newest record otherwise."""
    end = now_ns if row.state is RunState.RUNNING else last_sign_ns(row)
    return max(end - row.started_ns, 0)


def _term(token: _Token, metrics: list[str]) -> Predicate:
    if token.operator:
        return _comparison(token, metrics)
    name, colon, value = token.text.partition(":")
    if token.plain and colon and name:
        known = _field(name)
        if known is None:
            raise FilterError(_unknown_field(name, token.text))
        return _field_holds(known, value)
    return _free_text(token.text.casefold())


def _field(name: str) -> str | None:
    name = name.casefold()
    name = _ALIASES.get(name, name)
    return name if name in _FIELDS else None


def _unknown_field(name: str, text: str) -> str:
    near = get_close_matches(name.casefold(), [*_FIELDS, *_ALIASES], n=1, cutoff=0.5)
    remedy = f"did you mean {near[0]}:?" if near else f"the fields are {', '.join(_FIELDS)}."
    return f"no field '{name}'; {remedy} To look for the text itself, quote it: \"{text}\""


def _free_text(wanted: str) -> Predicate:
    id_start = wanted.replace("-", "") or "-"

    def holds(row: RunRow, _: Context) -> bool:
        # One text, for ten thousand runs are looked at between two keys; nobody can type what is between.
        texts = (row.name, row.project, row.host, row.group, row.state, *row.tags)
        return wanted in "\n".join(texts).casefold() or row.run_id.hex.startswith(id_start)

    return holds


def _field_holds(name: str, value: str) -> Predicate:
    wanted, read = value.casefold(), _FIELDS[name]
    choices = _CHOICES.get(name)
    if choices and wanted and not any(choice.startswith(wanted) for choice in choices):
        raise FilterError(f"no {name} '{value}'; it is one of {', '.join(choices)}")
    if name == "id" or choices:
        return lambda row, _: any(text.casefold().startswith(wanted) for text in read(row))
    return lambda row, _: any(wanted in text.casefold() for text in read(row))


def _comparison(token: _Token, metrics: list[str]) -> Predicate:
    name, sign, value = token.text, token.operator, token.value
    if not name:
        raise FilterError(f"write what to compare before '{sign}', as in loss<0.1")
    known = _field(name)
    if known is not None:
        if sign not in ("=", "!="):
            raise FilterError(f"{name} is a text: it can be compared by = and != only")
        wanted, read = value.casefold(), _FIELDS[known]
        equal: Predicate = lambda row, _: any(text.casefold() == wanted for text in read(row))  # noqa: E731
        return _opposite(equal) if sign == "!=" else equal
    unit, quantity = _QUANTITIES.get(name.casefold(), ("number", None))
    limit = _number(name, sign, value, unit)
    compare = _nan_aware(sign, limit)
    if quantity is not None:
        return lambda row, context: _compared(quantity(row, context), compare)
    metrics.append(name)
    return lambda row, context: any(
        compare(metric.summary.last)
        for metric in _metrics_named(row, name, context.main_metrics.get(row.project, ""))
    )


def _compared(value: float | None, compare: Callable[[float], bool]) -> bool:
    return value is not None and compare(value)


def _nan_aware(sign: str, limit: float) -> Callable[[float], bool]:
    """``loss=nan`` finds diverged runs, which no IEEE comparison would."""
    compare = _COMPARE[sign]
    if math.isnan(limit):
        return lambda value: math.isnan(value) == (sign != "!=")
    return lambda value: compare(value, limit)


def _number(name: str, sign: str, value: str, unit: str) -> float:
    example = {"time": "2h", "count": "10k", "number": "0.1"}[unit]
    if not value:
        raise FilterError(f"{name}{sign} needs a number, as in {name}{sign}{example}")
    units = _TIME_UNITS if unit == "time" else _COUNT_UNITS
    suffix = value[-1] if value[-1] in units and value.casefold() != "inf" else ""
    try:
        return float(value.removesuffix(suffix) if suffix else value) * units[suffix]
    except ValueError:
        raise FilterError(f"'{value}' is not a number, as in {name}{sign}{example}") from None


def _metrics_named(row: RunRow, name: str, main: str = "") -> list[MetricRow]:
    """The metric of that name, else those whose last part it is: ``loss`` finds ``val/loss``. Where the main
    one is among them it is meant, since its value is the one in the list."""
    # By name first: a source may make a metric's summary only when it is asked for.
    if name in row.metrics:
        return [row.metrics[name]]
    ending = f"/{name}"
    if main in row.metrics and main.endswith(ending):
        return [row.metrics[main]]
    return [row.metrics[full] for full in row.metrics if full.endswith(ending)]


def _main(row: RunRow, context: Context, read: Callable[[MetricRow], float | None]) -> float | None:
    metric = row.metrics.get(context.main_metrics.get(row.project, ""))
    return None if metric is None else read(metric)


def _best(metric: MetricRow) -> float | None:
    best = metric.best
    return None if best is None else best[0]
