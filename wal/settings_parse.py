"""Reading one setting: from what YAML or the environment gave to a checked value of its type.

Every parser takes a :class:`Value` and raises :class:`SettingsError` with a sentence that names the key.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

CONSISTENCY_LEVELS = ("ONE", "LOCAL_ONE", "QUORUM", "LOCAL_QUORUM", "ALL")
MAX_BATCH_ROWS = 200
"""Rows of one unlogged batch: more gains nothing (measured) and holds the coordinator longer."""
MAX_TTL_SECONDS = 630_720_000
"""Cassandra's own limit: 20 years."""

_KEYSPACE = re.compile(r"[a-z][a-z0-9_]{0,47}")


class SettingsError(ValueError):
    """A setting that cannot be used. The message is one sentence that says which and what is allowed."""


class Secret:
    """A text that no repr, log line or ``asdict`` shows. :meth:`reveal` gives it."""

    __slots__ = ("_text",)

    def __init__(self, text: str) -> None:
        self._text = text

    def reveal(self) -> str:
        return self._text

    def __repr__(self) -> str:
        return "Secret('********')"

    __str__ = __repr__

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Secret) and other._text == self._text

    def __hash__(self) -> int:
        return hash(self._text)

    def __deepcopy__(self, memo: object) -> Secret:
        return self


@dataclass(frozen=True, slots=True)
class Value:
    """A raw setting. ``where`` names it in an error; ``is_text`` says that it must be read from a
    string, ``unset`` the variable that a ``${…}`` in it named and nobody set; ``folder`` is what paths are
    relative to."""

    raw: object
    where: str
    folder: Path
    is_text: bool = False
    unset: str | None = None


def shown(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 60 else text[:57] + "…"


def _wrong(value: Value, wanted: str) -> SettingsError:
    return SettingsError(f"{value.where} must be {wanted}, not {shown(value.raw)}.")


def _flag(value: Value) -> bool:
    if isinstance(value.raw, bool):
        return value.raw
    if value.is_text:
        word = str(value.raw).strip().lower()
        if word in ("1", "true", "yes", "on"):
            return True
        if word in ("0", "false", "no", "off"):
            return False
    raise _wrong(value, "true or false")


def _text(value: Value) -> str:
    if isinstance(value.raw, str) and value.raw.strip():
        return value.raw
    raise _wrong(value, "a text")


def _secret(value: Value) -> Secret:
    if isinstance(value.raw, str):
        return Secret(value.raw)
    raise SettingsError(f"{value.where} must be a text; put it in quotes.")  # never shows the value


def _path(value: Value) -> Path:
    path = Path(_text(value)).expanduser()
    return path if path.is_absolute() else value.folder / path


def _hosts(value: Value) -> tuple[str, ...]:
    raw = value.raw.split(",") if isinstance(value.raw, str) else value.raw
    if not isinstance(raw, list) or not all(isinstance(host, str) for host in raw):  # pyright: ignore[reportUnknownVariableType]
        raise _wrong(value, "a list of host names")
    hosts = tuple(host.strip() for host in raw if host.strip())  # pyright: ignore[reportUnknownVariableType]
    for host in hosts:
        if re.search(r"\s|/", host) or re.fullmatch(r"[^:\[\]]+:\d+", host):
            raise SettingsError(f"{value.where} names {host!r}: write the host alone, its port under port.")
    if not hosts:
        raise _wrong(value, "at least one host name")
    return hosts


def _integer(low: int, high: int) -> Callable[[Value], int]:
    def parse(value: Value) -> int:
        raw = value.raw
        if value.is_text and re.fullmatch(r"\s*-?\d{1,18}\s*", str(raw)):
            raw = int(str(raw))
        if not isinstance(raw, int) or isinstance(raw, bool) or not low <= raw <= high:
            raise _wrong(value, f"a whole number from {low} to {high}")
        return raw

    return parse


def _seconds(low: float, high: float) -> Callable[[Value], float]:
    return _number("seconds", low, high)


def _number(unit: str, low: float, high: float) -> Callable[[Value], float]:
    def parse(value: Value) -> float:
        raw = value.raw
        if value.is_text:
            try:
                raw = float(str(raw))
            except ValueError:
                raise _wrong(value, f"a number of {unit}") from None
        if not isinstance(raw, int | float) or isinstance(raw, bool) or not low <= raw <= high:
            raise _wrong(value, f"a number of {unit} from {low:g} to {high:g}")
        return float(raw)

    return parse


def _level(value: Value) -> str:
    name = str(value.raw).strip().upper() if isinstance(value.raw, str) else ""
    if name not in CONSISTENCY_LEVELS:
        raise _wrong(value, f"one of {', '.join(CONSISTENCY_LEVELS)}")
    return name


def _keyspace(value: Value) -> str:
    if isinstance(value.raw, str) and _KEYSPACE.fullmatch(value.raw):
        return value.raw
    raise _wrong(value, "a lower-case name of letters, digits and _ (at most 48, a letter first)")


def parse_keyspace(name: str) -> str:
    """``name`` when it can be a keyspace; raises :class:`SettingsError` (for ``--keyspace NAME``)."""
    return _keyspace(Value(name, "--keyspace", Path()))


def _replication(value: Value) -> int | Mapping[str, int]:
    """``3``, ``{dc1: 3, dc2: 2}``, or as a text ``3`` or ``dc1:3,dc2:2``."""
    raw = value.raw
    factor = _integer(1, 100)
    if value.is_text and ":" in str(raw):
        parts = (part.strip().rpartition(":") for part in str(raw).split(","))
        raw = {name: number for name, _, number in parts}
    if isinstance(raw, dict):
        return {
            str(name): factor(Value(number, f"{value.where}.{name}", value.folder, value.is_text))
            for name, number in raw.items()  # pyright: ignore[reportUnknownVariableType]
        }
    return factor(value)


KEYS: dict[str, Callable[[Value], object]] = {
    "enabled": _flag,
    "contact_points": _hosts,
    "port": _integer(1, 65535),
    "auth_provider.enabled": _flag,
    "auth_provider.username": _text,
    "auth_provider.password": _secret,
    "keyspace": _keyspace,
    "local_dc": _text,
    "pool_size": _integer(1, 10_000),
    "connect_timeout": _seconds(0.1, 600),
    "request_timeout": _seconds(0.1, 600),
    "batch_size": _integer(1, MAX_BATCH_ROWS),
    "flush_interval": _seconds(0.05, 3600),
    "consistency.write": _level,
    "consistency.read": _level,
    "ttl.metrics": _integer(0, MAX_TTL_SECONDS),
    "ttl.topology": _integer(0, MAX_TTL_SECONDS),
    "ttl.runs": _integer(0, MAX_TTL_SECONDS),
    "replication": _replication,
    "prune_after_days": _number("days", 0, 36_500),
    "disk_limit_gb": _number("GB", 0, 1e6),
    "ssl.enabled": _flag,
    "ssl.ca_file": _path,
    "ssl.cert_file": _path,
    "ssl.key_file": _path,
    "ssl.check_hostname": _flag,
    "cloud.secure_connect_bundle": _path,
}


def variables() -> dict[str, str]:
    """The environment variable of each key: the seed's names, and the others by the same pattern."""
    named = {"auth_provider.username": "CASSANDRA_USERNAME", "auth_provider.password": "CASSANDRA_PASSWORD"}
    return {key: named.get(key) or f"CASCOR_CASSANDRA_{key.replace('.', '_').upper()}" for key in KEYS}
