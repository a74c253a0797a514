"""Whatever a user hands over as plain JSON-like data. Nothing here raises. Standard library only."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any, cast

MAX_DEPTH = 16
"""A configuration that contains itself must end somewhere."""

MAX_ARRAY = 1_000_000
"""Numbers of an array that are written out; a larger one is named by its text."""

_INT64 = 1 << 63


def clean(value: object, depth: int = 0) -> object:
    """``value`` as JSON-like plain data, whatever it is: what JSON cannot say becomes its ``str``.

    NaN and infinities become strings, because other JSON readers refuse them; tuples, sets and arrays become
    lists; what :func:`as_mapping` knows becomes an object.
    """
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, int):
        return int(value) if -_INT64 <= value < _INT64 else text_of(value)
    if isinstance(value, float):
        return float(value) if math.isfinite(value) else str(float(value))
    if isinstance(value, str):
        return clean_text(str(value))
    if depth >= MAX_DEPTH:
        return text_of(value)
    mapping = as_mapping(value)
    if mapping is not None:
        return {text_of(key): clean(item, depth + 1) for key, item in mapping.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [clean(item, depth + 1) for item in cast("list[object]", value)]
    tolist = getattr(value, "tolist", None)  # numpy and torch: scalars and arrays
    if callable(tolist) and _small(value):
        listed = _attempt(tolist)
        if isinstance(listed, bool | int | float | str | list):
            return clean(listed, depth + 1)
    return text_of(value)


def as_mapping(value: object) -> Mapping[object, object] | None:
    """``value`` as a mapping: a dict, dataclass, ``argparse.Namespace``, pydantic model or named tuple.

    None for anything else, and for one whose own method fails.
    """
    if isinstance(value, Mapping):
        return cast("Mapping[object, object]", value)
    if isinstance(value, type):
        return None
    fields = getattr(type(value), "__dataclass_fields__", None)
    if isinstance(fields, dict):
        return {name: getattr(value, name, None) for name in cast("dict[str, object]", fields)}
    if type(value).__name__ in ("Namespace", "SimpleNamespace"):
        return cast("Mapping[object, object]", vars(value))
    for method in ("model_dump", "_asdict", "to_dict", "dict"):
        dump = getattr(value, method, None)
        dumped = _attempt(dump) if callable(dump) else None
        if isinstance(dumped, Mapping):
            return cast("Mapping[object, object]", dumped)
    return None


def text_of(value: object) -> str:
    """``str(value)`` as valid Unicode, or the type's name where even that fails."""
    text = value if isinstance(value, str) else _attempt(lambda: str(value))
    return clean_text(text) if isinstance(text, str) else f"<{type(value).__name__}>"


def clean_text(text: str) -> str:
    """``text`` as valid Unicode: surrogate pairs are joined, lone surrogates become U+FFFD."""
    if text.isascii():
        return text
    try:
        text.encode()
    except UnicodeEncodeError:
        return text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")
    return text


def _small(value: object) -> bool:
    shape = _attempt(lambda: tuple(cast("Any", value).shape))
    if not isinstance(shape, tuple):
        return False
    try:
        return math.prod(cast("tuple[int, ...]", shape)) <= MAX_ARRAY
    except TypeError:
        return False


def _attempt(call: Callable[[], object]) -> object:
    try:
        return call()
    except Exception:  # noqa: BLE001 - a user's object may raise anything, and training must not see it
        return None
