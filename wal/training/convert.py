"""What a user passes to ``log()``, as the names and the packed body of a record. Standard library only.

Nothing raises: what cannot be a number or a text is left out, counted, and named once on stderr.
"""

from __future__ import annotations

import datetime
import operator
import time
from collections.abc import Callable, Mapping
from hashlib import blake2b
from operator import itemgetter
from typing import Any, NamedTuple, SupportsIndex, cast

from wal.record import MAX_EXACT_INT, key_order, pack_texts, packer
from wal.segments import notice
from wal.segments.plain import clean_text, text_of

MAX_DEPTH = 8
"""Levels of nested dictionaries that are flattened with "/"."""

MAX_NAME = 512
"""Characters of a metric's name; a longer one is cut and ends in a digest of the whole."""

MAX_TEXT_BYTES = 64 << 10
"""UTF-8 bytes of one text: a metrics store is no place for files."""

MAX_SHAPES = 1024
"""Key sets remembered for the fast path; a user who makes names up as they go must not fill the memory."""

MAX_NAMED_KEYS = 20
"""Keys that are named on stderr when their value is left out; further ones are only counted."""

SLOW_ITEM_SECONDS = 1e-3
SLOW_ITEM_CALLS = 50
"""A ``.item()`` that waits for a GPU costs more than everything else here: said when the mean shows it."""

_INT64 = 1 << 63

Packed = tuple[tuple[str, ...], bytes]
"""Names in key order, body as in :mod:`wal.record`."""


class _Shape(NamedTuple):
    """A dictionary's key tuple seen before: its names in order, and how to take and pack its values."""

    names: tuple[str, ...]
    pick: Callable[[dict[str, Any]], tuple[Any, ...]]
    pack: Callable[..., bytes]


class Converter:
    """Packs the data of one run's ``log()`` calls. ``left_out`` counts values that could not be kept."""

    def __init__(self) -> None:
        self.left_out = 0
        self._shapes: dict[tuple[object, ...], _Shape] = {}
        self._floats: set[type] = {float, bool}
        self._numbers: set[type] = {float, bool, int}
        self._item_calls = 0
        self._item_seconds = 0.0

    def pack(self, data: object) -> Packed | None:
        """Names and body of a record; None when there is nothing to keep."""
        if type(data) is dict:
            plain = cast("dict[str, Any]", data)
            shape = self._shapes.get(tuple(plain))
            if shape is not None:
                values = shape.pick(plain)
                kinds = {*map(type, values)}
                if kinds <= self._floats or (kinds <= self._numbers and _exact(values)):
                    return shape.names, shape.pack(*values)
        if not isinstance(data, Mapping):
            self._leave_out("data", data, "log() takes a dictionary of names and numbers")
            return None
        return self._convert(cast("Mapping[object, object]", data))

    def _convert(self, data: Mapping[object, object]) -> Packed | None:
        values: dict[str, float] = {}
        texts: dict[str, str] = {}
        self._flatten(data, "", 1, values, texts)
        if not values and not texts:
            return None
        names = key_order(values)
        body = packer(len(names)).pack(*[values[name] for name in names])
        if texts:
            return names, body + pack_texts(texts)
        if type(data) is dict:
            self._remember((*data,), (*values,), names)
        return names, body

    def _remember(self, keys: tuple[object, ...], kept: tuple[str, ...], names: tuple[str, ...]) -> None:
        if keys != kept or any(type(key) is not str for key in keys):
            return  # something was flattened, renamed or left out
        if len(self._shapes) >= MAX_SHAPES:
            self._shapes.clear()
        self._shapes[keys] = _Shape(names, _picker(names), packer(len(names)).pack)

    def _flatten(
        self,
        data: Mapping[object, object],
        prefix: str,
        depth: int,
        values: dict[str, float],
        texts: dict[str, str],
    ) -> None:
        for key, value in data.items():
            name = prefix + (key if type(key) is str else self._name_of(key))
            try:
                if isinstance(value, Mapping):
                    self._flatten_inner(cast("Mapping[object, object]", value), name, depth, values, texts)
                elif value is not None:
                    self._put(self._free(self._checked(name), values, texts), value, values, texts)
            except Exception:  # noqa: BLE001 - a user's object may raise anything; the other keys are kept
                self._leave_out(name, value, "it cannot be read")

    def _flatten_inner(
        self,
        data: Mapping[object, object],
        name: str,
        depth: int,
        values: dict[str, float],
        texts: dict[str, str],
    ) -> None:
        if depth >= MAX_DEPTH:
            self._leave_out(name, data, f"it is nested deeper than {MAX_DEPTH} levels")
        else:
            self._flatten(data, f"{name}/", depth + 1, values, texts)

    def _free(self, name: str, values: dict[str, float], texts: dict[str, str]) -> str:
        """``name``, with what an earlier key of the same call put there taken away."""
        if name in values or name in texts:
            notice.once(f"clash {name}", f"two keys of one log() call are {name!r:.80}: the last one counts")
            values.pop(name, None)
            texts.pop(name, None)
        return name

    def _name_of(self, key: object) -> str:
        if not isinstance(key, str):
            notice.once(f"key {type(key)}", f"log() takes names: the key {key!r:.80} is used as its text")
        return text_of(key)

    def _checked(self, name: str) -> str:
        if len(name) <= MAX_NAME and name and name.isascii():
            return name
        name = clean_text(name)
        if not name:
            notice.once("name empty", "log() got an empty name: it is kept as '(unnamed)'")
            return "(unnamed)"
        if len(name) > MAX_NAME:
            notice.once("name long", f"log() got a name of {len(name)} characters: it is cut to {MAX_NAME}")
            digest = blake2b(name.encode(), digest_size=8).hexdigest()
            name = f"{name[: MAX_NAME - len(digest) - 1]}…{digest}"
        return name

    def _put(self, name: str, value: object, values: dict[str, float], texts: dict[str, str]) -> None:
        """Keep one value, as what it is: a float, an exact integer or a text."""
        if isinstance(value, float):
            self._floats.add(type(value))  # struct packs any float (numpy.float64 is one) bit by bit
            self._numbers.add(type(value))
            values[name] = float(value)
        elif isinstance(value, int):
            _put_integer(name, int(value), values, texts)
        elif isinstance(value, str):
            texts[name] = self._text(name, str(value))
        elif isinstance(value, datetime.date | datetime.time):
            texts[name] = value.isoformat()
        else:
            scalar = self._scalar(value)
            if scalar is None:
                self._leave_out(name, value, "it is neither a number nor a text")
            else:
                self._put(name, scalar, values, texts)

    def _scalar(self, value: object) -> float | int | str | datetime.date | None:
        """The Python scalar of a 0-d numpy, torch, jax or tensorflow value, a Decimal or a Fraction."""
        if getattr(value, "ndim", 0):
            return None
        item = getattr(value, "item", None)
        if item is None and hasattr(value, "numpy"):
            item = getattr(cast("Any", value).numpy(), "item", None)
        if callable(item):
            started = time.perf_counter()
            scalar = item()
            self._count_item(time.perf_counter() - started)
        else:
            scalar = float(cast("Any", value)) if hasattr(value, "__float__") else None
        return scalar if isinstance(scalar, float | int | str | datetime.date) else None

    def _count_item(self, seconds: float) -> None:
        self._item_calls += 1
        self._item_seconds += seconds
        mean = self._item_seconds / self._item_calls
        if self._item_calls >= SLOW_ITEM_CALLS and mean > SLOW_ITEM_SECONDS:
            notice.once(
                "slow item",
                f"reading logged tensors takes {mean * 1e3:.1f} ms each, which is waiting for their device: "
                "log less often, or numbers that are on the host already",
            )

    def _text(self, name: str, text: str) -> str:
        text = clean_text(text)
        if len(text) > MAX_TEXT_BYTES // 4 and len(encoded := text.encode()) > MAX_TEXT_BYTES:
            notice.once(f"text {name}", f"the text {name!r:.80} is cut to {MAX_TEXT_BYTES >> 10} KiB")
            text = encoded[: MAX_TEXT_BYTES - 3].decode(errors="ignore") + "…"
        return text

    def _leave_out(self, name: str, value: object, why: str) -> None:
        self.left_out += 1
        if self.left_out <= MAX_NAMED_KEYS:
            notice.once(f"left out {name}", f"{name!r:.80} ({type(value).__name__}) is not logged: {why}")


def _picker(names: tuple[str, ...]) -> Callable[[dict[str, Any]], tuple[Any, ...]]:
    """Takes the values of ``names`` out of a dictionary, always as a tuple."""
    if len(names) == 1:
        (name,) = names
        return lambda data: (data[name],)
    return itemgetter(*names)


def _exact(values: tuple[Any, ...]) -> bool:
    return all(-MAX_EXACT_INT <= value <= MAX_EXACT_INT for value in values if type(value) is int)


def _put_integer(name: str, value: int, values: dict[str, float], texts: dict[str, str]) -> None:
    """An integer beyond 2^53 keeps its decimal beside its double (infinite where even that is too small)."""
    try:
        values[name] = float(value)
    except OverflowError:
        values[name] = float("inf") if value > 0 else float("-inf")
    if not -MAX_EXACT_INT <= value <= MAX_EXACT_INT:
        try:
            texts[name] = str(value)
        except ValueError:  # beyond Python's limit of 4,300 digits
            texts[name] = hex(value)[:MAX_TEXT_BYTES]


def whole_number(value: object) -> int | None:
    """``value`` as a step or time: any integer, numpy's included, or an integral float; else None."""
    try:
        if isinstance(value, str | bytes):
            return None
        if isinstance(value, SupportsIndex) and not hasattr(value, "is_floating_point"):
            number = operator.index(value)
        else:
            as_float = float(cast("Any", value))  # torch has __index__ on every tensor
            number = int(as_float)
            if number != as_float:
                return None
    except Exception:  # noqa: BLE001 - whatever a user passes as a step
        return None
    return number if -_INT64 <= number < _INT64 else None


def nanoseconds(value: object) -> int | None:
    """``value`` as nanoseconds since the epoch: an integer, or a datetime; else None."""
    if isinstance(value, datetime.datetime):
        try:
            value = int(value.timestamp() * 1e6) * 1000  # after the year 2262: more than SQLite's integers
        except (OverflowError, OSError, ValueError):
            return None
    return whole_number(value)
