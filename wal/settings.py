"""Where Cassandra is and how to speak to it: one YAML file and the environment, made into one typed object.

The environment wins over the file. A key or variable that is not known is an error that names the nearest
known one, because a misspelt setting that is silently ignored costs an evening.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from wal.environment import CANOPY_VARIABLES, nearest, not_known, unknown_variables
from wal.settings_parse import KEYS, Secret, SettingsError, Value, parse_keyspace, shown, variables

__all__ = [
    "Consistency", "Endpoint", "Secret", "Settings", "SettingsError", "Tls", "Ttl", "check_variables",
    "find_file", "load", "parse_keyspace", "resolve",
]  # fmt: skip

_VARIABLE_PREFIXES = ("CANOPY_", "CASCOR_CASSANDRA_")
_REFERENCE = re.compile(r"\$\{([A-Za-z_][A-Za-z0-9_]*)(?::([^}]*))?\}")
KEYSPACE = re.compile(r"[a-z][a-z0-9_]{0,47}")


@dataclass(frozen=True, slots=True)
class Consistency:
    """Consistency levels by name. LOCAL_QUORUM also suits one node, and is what Astra accepts for writes."""

    write: str = "LOCAL_QUORUM"
    read: str = "LOCAL_QUORUM"


@dataclass(frozen=True, slots=True)
class Ttl:
    """Seconds that each kind of row is kept, 0 for ever. They become the tables' defaults."""

    metrics: int = 0
    topology: int = 0
    runs: int = 0


@dataclass(frozen=True, slots=True)
class Tls:
    """Encryption to the node. Files are PEM; ``ca_file`` None means the system's authorities."""

    enabled: bool = False
    ca_file: Path | None = None
    cert_file: Path | None = None
    key_file: Path | None = None
    check_hostname: bool = True


@dataclass(frozen=True, slots=True)
class Settings:
    """The seed's keys, and what a real cluster needs besides. Times in seconds.

    ``enabled`` is None when nobody said: then a managed node may be used. ``explicit`` is True when the file
    or the environment names a Cassandra or switches it on. ``replication`` is a factor for the node's own
    data centre, a factor by data centre, or None (one node: 1). ``prune_after_days``: what Cassandra
    provably has leaves this machine after that, 0 for never. ``disk_limit_gb``: the size of the log, in units
    of 10^9 bytes, from which it is warned while records in it are not shipped, 0 for none. ``notes`` are
    remarks worth showing once.
    """

    enabled: bool | None = None
    contact_points: tuple[str, ...] = ("localhost",)
    port: int = 9042
    username: str | None = None
    password: Secret | None = None
    keyspace: str = "cascor"
    local_dc: str | None = None
    pool_size: int | None = None
    connect_timeout: float = 10.0
    request_timeout: float = 20.0
    batch_size: int = 100
    flush_interval: float = 0.5
    consistency: Consistency = Consistency()
    ttl: Ttl = Ttl()
    replication: int | Mapping[str, int] | None = None
    prune_after_days: float = 0.0
    disk_limit_gb: float = 10.0
    tls: Tls = Tls()
    secure_connect_bundle: Path | None = None
    explicit: bool = False
    origin: str = "defaults"
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Endpoint:
    """One Cassandra to connect to, and who named it. ``label`` is what a status line shows."""

    contact_points: tuple[str, ...]
    port: int
    origin: Literal["settings", "managed"]
    label: str


def resolve(settings: Settings, env: Mapping[str, str] = os.environ) -> Endpoint | None:
    """The Cassandra to use: what the settings name, else the managed node, else None (the log alone)."""
    if settings.enabled is False:
        return None
    if settings.explicit:
        if settings.secure_connect_bundle is not None:
            return Endpoint((), settings.port, "settings", settings.secure_connect_bundle.name)
        more = len(settings.contact_points) - 1
        label = f"{settings.contact_points[0]}:{settings.port}" + (f" +{more}" if more else "")
        return Endpoint(settings.contact_points, settings.port, "settings", label)
    name = env.get("CANOPY_NODE") or "default"
    if name == "none":
        return None
    from wal.cassandra.noderecord import managed

    record = managed(name)
    if record is None or not record.port or record.state not in ("starting", "up"):
        return None
    return Endpoint((record.host,), record.port, "managed", f"{record.host}:{record.port}")


# -- loading ----------------------------------------------------------------------------------------


def load(env: Mapping[str, str] = os.environ, cwd: Path | None = None) -> Settings:
    """The settings of the first file found and the environment.

    Files: ``$CANOPY_CONFIG``, else ``conf/cassandra_config.yaml`` or ``conf/app_config.yaml`` below ``cwd``,
    else ``$XDG_CONFIG_HOME/canopy/cassandra_config.yaml``. Raises :class:`SettingsError`.
    """
    check_variables(env)
    values: dict[str, Value] = {}
    origin = "defaults"
    path = find_file(env, cwd or Path.cwd())
    if path is not None:
        values = _flatten(_read_yaml(path), path, env)
        origin = str(path)
    named = {variable: key for key, variable in variables().items() if env.get(variable, "") != ""}
    for variable, key in named.items():
        values[key] = Value(env[variable], variable, cwd or Path.cwd(), is_text=True)
    if named:
        origin = f"{origin} and the environment" if path is not None else "the environment"
    return _build(values, origin)


def check_variables(env: Mapping[str, str]) -> None:
    """Raise :class:`SettingsError` for a ``CANOPY_*`` or ``CASCOR_CASSANDRA_*`` variable nobody reads."""
    known = CANOPY_VARIABLES | set(variables().values())
    unknown = unknown_variables(env, known, _VARIABLE_PREFIXES)
    if unknown:
        raise SettingsError(not_known(unknown[0], known))


def find_file(env: Mapping[str, str], cwd: Path) -> Path | None:
    """The settings file that :func:`load` reads. Raises when ``$CANOPY_CONFIG`` names none."""
    named = env.get("CANOPY_CONFIG")
    if named:
        path = Path(named).expanduser()
        path = path if path.is_absolute() else cwd / path
        if not path.is_file():
            raise SettingsError(f"CANOPY_CONFIG names {path}, which is not a file.")
        return path
    home = env.get("XDG_CONFIG_HOME") or str(Path.home() / ".config")
    candidates = (
        cwd / "conf" / "cassandra_config.yaml",
        cwd / "conf" / "app_config.yaml",
        Path(home) / "canopy" / "cassandra_config.yaml",
    )
    return next((path for path in candidates if path.is_file()), None)


def _read_yaml(path: Path) -> dict[object, object]:
    import yaml  # 15 ms, and most machines have no settings file

    try:
        document = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        raise SettingsError(f"the settings file {path} cannot be read ({error}).") from None
    except yaml.YAMLError as error:
        where = getattr(error, "problem_mark", None)
        line = f" at line {where.line + 1}" if where is not None else ""
        problem = getattr(error, "problem", None) or "it cannot be parsed"
        raise SettingsError(f"the settings file {path} is not YAML{line}: {problem}.") from None
    root = _mapping(document, str(path))
    if "backend" in root:  # an app_config.yaml holds other programs' sections too: they are not ours to judge
        return _mapping(_mapping(root["backend"], "backend").get("cassandra"), "backend.cassandra")
    if path.name != "app_config.yaml":
        for key in root:
            if key != "cassandra":
                raise SettingsError(
                    f"{path}: the top-level key {key!r} is not known; all settings stand below 'cassandra:'."
                )
    return _mapping(root.get("cassandra"), "cassandra")


def _mapping(value: object, where: str) -> dict[object, object]:
    if value is None:
        return {}
    if not isinstance(value, dict):
        raise SettingsError(f"{where} must hold keys and values, not {shown(value)}.")
    return value  # pyright: ignore[reportUnknownVariableType]


def _flatten(tree: Mapping[object, object], path: Path, env: Mapping[str, str]) -> dict[str, Value]:
    """Dotted keys with their raw values, ``${VAR}`` and ``${VAR:default}`` put in."""
    sections = {key.partition(".")[0] for key in KEYS if "." in key}
    flat: dict[str, Value] = {}
    for name, value in tree.items():
        if name in sections:
            for inner, inner_value in _mapping(value, f"{path}: {name}").items():
                flat[f"{name}.{inner}"] = _substitute(inner_value, f"{name}.{inner}", path, env)
        else:
            flat[str(name)] = _substitute(value, str(name), path, env)
    for key in flat:
        if key not in KEYS:
            raise SettingsError(f"{path}: the key {key!r} is not known{nearest(key, KEYS)}")
    return {key: value for key, value in flat.items() if value.raw is not None}


def _substitute(value: object, key: str, path: Path, env: Mapping[str, str]) -> Value:
    where = f"{path}: {key}"
    if isinstance(value, list):
        items = [_substitute(item, key, path, env) for item in value]  # pyright: ignore[reportUnknownVariableType]
        unset = next((item.unset for item in items if item.unset), None)
        return Value([item.raw for item in items], where, path.parent, unset=unset)
    if not isinstance(value, str) or not _REFERENCE.search(value):
        return Value(value, where, path.parent)
    missing = [match[1] for match in _REFERENCE.finditer(value) if not env.get(match[1]) and match[2] is None]
    text = _REFERENCE.sub(lambda match: env.get(match[1]) or match[2] or "", value)
    return Value(text, where, path.parent, is_text=True, unset=missing[0] if missing else None)


def _build(values: Mapping[str, Value], origin: str) -> Settings:
    parsed: dict[str, object] = {}
    enabled = (
        KEYS["enabled"](values["enabled"]) if "enabled" in values and not values["enabled"].unset else None
    )
    for key, value in values.items():
        if value.unset is not None:
            if enabled is False:  # the seed's own example: switched off, its login not given
                continue
            raise SettingsError(f"{value.where} needs the variable {value.unset}, which is not set.")
        parsed[key] = KEYS[key](value)

    def section(name: str) -> dict[str, object]:
        prefix = f"{name}."
        return {key.removeprefix(prefix): item for key, item in parsed.items() if key.startswith(prefix)}

    plain = {key: item for key, item in parsed.items() if "." not in key}
    login = section("auth_provider")
    if login.get("enabled") is False:
        login = {}
    elif login and ("username" not in login or "password" not in login) and enabled is not False:
        raise SettingsError(
            "auth_provider needs both a username and a password: set them in the file or as "
            "CASSANDRA_USERNAME and CASSANDRA_PASSWORD."
        )
    bundle = section("cloud").get("secure_connect_bundle")
    if bundle is not None and "contact_points" in plain:
        raise SettingsError("cloud.secure_connect_bundle names the nodes itself: leave contact_points out.")
    tls = section("ssl")
    tls.setdefault("enabled", bool(tls))
    notes = ()
    if "pool_size" in plain:
        notes = (
            "pool_size has no effect: since protocol version 3 one connection a node carries all requests.",
        )
    return Settings(
        **plain,  # pyright: ignore[reportArgumentType]
        username=login.get("username"),  # pyright: ignore[reportArgumentType]
        password=login.get("password"),  # pyright: ignore[reportArgumentType]
        consistency=Consistency(**section("consistency")),  # pyright: ignore[reportArgumentType]
        ttl=Ttl(**section("ttl")),  # pyright: ignore[reportArgumentType]
        tls=Tls(**tls),  # pyright: ignore[reportArgumentType]
        secure_connect_bundle=bundle,  # pyright: ignore[reportArgumentType]
        explicit=enabled is True or "contact_points" in plain or bundle is not None,
        origin=origin,
        notes=notes,
    )
