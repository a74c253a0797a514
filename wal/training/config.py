"""A run's configuration and summary: dictionaries whose changes are kept. Standard library only."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, MutableMapping
from typing import Any

from wal.segments.plain import as_mapping, clean_text, text_of


def config_dict(config: object) -> dict[str, Any]:
    """The configuration that a user passed, whatever of the known kinds it is. Raises TypeError else."""
    if config is None:
        return {}
    mapping = as_mapping(config)
    if mapping is None:
        kind = type(config).__name__
        raise TypeError(
            f"config is a {kind}: pass a dictionary, a Namespace, a dataclass or a pydantic model"
        )
    return {text_of(key): value for key, value in mapping.items()}


class Config(MutableMapping[str, Any]):
    """The configuration of a run, by key and by attribute. ``changed`` is called after each change.

    Values are given back as they were set; what is stored of them is JSON (see
    :func:`wal.segments.plain.clean`).
    """

    _values: dict[str, Any]
    _changed: Callable[[], None]

    def __init__(self, values: Mapping[str, Any], changed: Callable[[], None]) -> None:
        object.__setattr__(self, "_values", dict(values))
        object.__setattr__(self, "_changed", changed)

    def __getitem__(self, key: str) -> Any:
        return self._values[key]

    def __setitem__(self, key: str, value: Any) -> None:
        self._values[text_of(key)] = value
        self._changed()

    def __delitem__(self, key: str) -> None:
        del self._values[key]
        self._changed()

    def __iter__(self) -> Iterator[str]:
        return iter(self._values)

    def __len__(self) -> int:
        return len(self._values)

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)  # copy and pickle ask for such names before there are any values
        try:
            return self._values[name]
        except KeyError:
            raise AttributeError(f"the run's config has no {name!r}") from None

    def __setattr__(self, name: str, value: Any) -> None:
        self[name] = value

    def __delattr__(self, name: str) -> None:
        try:
            del self[name]
        except KeyError:
            raise AttributeError(f"the run's config has no {name!r}") from None

    def __repr__(self) -> str:
        return repr(self._values)

    def update(self, other: object = None, /, *, allow_val_change: bool | None = None, **more: Any) -> None:
        """Set many keys at once. ``allow_val_change`` is for scripts written for W&B: it always is."""
        del allow_val_change
        self._values.update(config_dict(other) | more)
        self._changed()

    def setdefaults(self, other: object) -> None:
        """Set the keys that are not set yet."""
        for key, value in config_dict(other).items():
            self._values.setdefault(key, value)
        self._changed()

    def as_dict(self) -> dict[str, Any]:
        """A copy as a plain dictionary."""
        return dict(self._values)


class Summary(MutableMapping[str, Any]):
    """What a run amounts to, by key: each change is a record of the run. ``record`` writes one."""

    def __init__(self, record: Callable[[Mapping[str, Any]], object]) -> None:
        self._values: dict[str, Any] = {}
        self._record = record

    def __getitem__(self, key: str) -> Any:
        return self._values[key]

    def __setitem__(self, key: str, value: Any) -> None:
        self.update({key: value})

    def __delitem__(self, key: str) -> None:
        """Forget the key here; records that were written stay."""
        del self._values[key]

    def __iter__(self) -> Iterator[str]:
        return iter(self._values)

    def __len__(self) -> int:
        return len(self._values)

    def __repr__(self) -> str:
        return repr(self._values)

    def update(self, other: object = None, /, **more: Any) -> None:
        """Set many keys with one record."""
        values = config_dict(other) | more
        self._values.update(values)
        if values:
            self._record({clean_text(key): value for key, value in values.items()})
