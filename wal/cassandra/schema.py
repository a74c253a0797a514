"""The one place that runs DDL: ``canopy cassandra schema``, the demo and the node call :func:`create`.

Two clients that create the same table at once can leave two tables of one name behind, and lose the rows of
one of them later; so nothing that ships or reads ever creates one: they only :func:`check`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from wal.cassandra.session import Session
from wal.cassandra.tables import SCHEMA_VERSION, TABLES, Table
from wal.cassandra.trouble import Action, StoreError, Trouble, classify, keyspace_missing
from wal.settings import Settings

_DDL_TIMEOUT_S = 60.0
"""A node on a busy laptop takes seconds per table; agreement of a cluster comes on top."""
_DEFAULT_REPLICATION = 3
"""On several nodes, when the settings do not say."""


class SchemaMissing(StoreError):
    """The keyspace or its tables are not there."""


class SchemaNewer(StoreError):
    """The tables were made by a newer Canopy."""


class SchemaOlder(StoreError):
    """The tables were made by an older Canopy and are not brought up to date yet."""


class SchemaMismatch(StoreError):
    """Tables of the same names and another shape are there; ``differences`` says how, by table."""

    def __init__(self, trouble: Trouble, differences: Mapping[str, str]) -> None:
        super().__init__(trouble)
        self.differences = differences


def check(session: Session, keyspace: str) -> None:
    """Raise :class:`SchemaMissing`, :class:`SchemaOlder`, :class:`SchemaNewer` or :class:`SchemaMismatch`
    unless all is there."""
    found = _columns(session, keyspace)
    if not found and not _keyspace_exists(session, keyspace):
        raise SchemaMissing(keyspace_missing(session.endpoint, keyspace))
    version = _usable_version(session, keyspace, found)
    if version is not None and version < SCHEMA_VERSION:
        raise _older(keyspace, version)
    missing = [table.name for table in TABLES if table.name not in found]
    if missing or version is None:
        what = f"lacks {', '.join(missing)}" if missing else "is not complete"
        raise SchemaMissing(_trouble("schema", f"The keyspace {keyspace} {what}.",
                                     "Create the tables with: canopy cassandra schema"))  # fmt: skip


def create(session: Session, settings: Settings) -> list[str]:
    """Make the keyspace and the tables as far as they are missing, and bring those of an older version up to
    date; returns a line for each thing done. What was cut off in the middle is completed by the next call.

    Nothing is changed when a table of another shape is in the way (:class:`SchemaMismatch`) or the tables
    are newer (:class:`SchemaNewer`). Retention is the tables' default TTL, so it is set here too.
    Raises :class:`StoreError`.
    """
    keyspace = settings.keyspace
    found = _columns(session, keyspace)
    version = _usable_version(session, keyspace, found)
    done: list[str] = []
    if not _keyspace_exists(session, keyspace):
        _ddl(session, _keyspace_statement(session, settings))
        done.append(f"keyspace {keyspace} created")
    retention = _retention(session, keyspace)
    for table, name, kind in _lacking(found, version):
        _ddl(session, f"ALTER TABLE {keyspace}.{table.name} ADD {name} {kind}")
        done.append(f"table {table.name}: column {name} added")
    for table in TABLES:
        ttl_s = getattr(settings.ttl, table.kept) if table.kept else 0
        if table.name not in found:
            _ddl(session, table.ddl(keyspace, ttl_s))
            done.append(f"table {table.name} created")
        elif retention.get(table.name, 0) != ttl_s:
            _ddl(session, f"ALTER TABLE {keyspace}.{table.name} WITH default_time_to_live = {ttl_s}")
            done.append(f"table {table.name}: new rows are kept {f'{ttl_s} s' if ttl_s else 'for ever'}")
    if version != SCHEMA_VERSION:  # last: a store of this version has all of it
        session.write(
            f"INSERT INTO {keyspace}.schema_meta (k, v) VALUES ('version', ?)", [str(SCHEMA_VERSION)]
        )
        if version is not None:
            done.append(f"schema {version} brought up to {SCHEMA_VERSION}")
    return done


def drop(session: Session, keyspace: str) -> None:
    """Drop a keyspace with everything in it: the demo's ``--clean`` and tests. Raises :class:`StoreError`."""
    _ddl(session, f"DROP KEYSPACE IF EXISTS {keyspace}")


def _ddl(session: Session, statement: str) -> None:
    """Run one statement, then wait until all nodes agree on the schema: two at once corrupt it."""
    try:
        session.driver.execute(statement, timeout=_DDL_TIMEOUT_S, execution_profile="write")
    except Exception as error:
        raise StoreError(classify(error, session.endpoint, session.settings)) from error
    # The driver itself waits for agreement after DDL; it only says so in this attribute when it gave up.
    control = session.cluster.control_connection
    if control is not None and not control.wait_for_schema_agreement(wait_time=_DDL_TIMEOUT_S):
        raise StoreError(_trouble("schema", "The nodes of the cluster do not agree on the schema.",
                                  "See which node differs: nodetool describecluster"))  # fmt: skip


# -- what is there ----------------------------------------------------------------------------------


def _keyspace_exists(session: Session, keyspace: str) -> bool:
    rows = session.read(
        "SELECT keyspace_name FROM system_schema.keyspaces WHERE keyspace_name = ?", [keyspace]
    )
    return bool(rows)


def _columns(session: Session, keyspace: str) -> dict[str, dict[str, tuple[Any, ...]]]:
    """By table and column: (type, kind, position, order)."""
    rows = session.read(
        "SELECT table_name, column_name, type, kind, position, clustering_order "
        "FROM system_schema.columns WHERE keyspace_name = ?",
        [keyspace],
    )
    found: dict[str, dict[str, tuple[Any, ...]]] = {}
    for table, column, *shape in rows:
        found.setdefault(table, {})[column] = tuple(shape)
    return found


def _retention(session: Session, keyspace: str) -> dict[str, int]:
    rows = session.read(
        "SELECT table_name, default_time_to_live FROM system_schema.tables WHERE keyspace_name = ?",
        [keyspace],
    )
    return dict(rows)


def _version(session: Session, keyspace: str, found: dict[str, dict[str, tuple[Any, ...]]]) -> int | None:
    if "schema_meta" not in found:
        return None
    rows = session.read(f"SELECT v FROM {keyspace}.schema_meta WHERE k = 'version'")
    return int(rows[0][0]) if rows and str(rows[0][0]).isdigit() else None


# -- comparing --------------------------------------------------------------------------------------


def _usable_version(
    session: Session, keyspace: str, found: dict[str, dict[str, tuple[Any, ...]]]
) -> int | None:
    """The version of what is there, None when it states none. Raises SchemaNewer and SchemaMismatch."""
    meta = next(table for table in TABLES if table.name == "schema_meta")
    sound = meta.name not in found or _difference(meta, found[meta.name], None) is None
    version = _version(session, keyspace, found) if sound else None
    if version is not None and version > SCHEMA_VERSION:
        raise _newer(keyspace, version)
    differing = _differences(found, version)
    if differing:
        raise _mismatch(keyspace, differing)
    return version


def _differences(found: dict[str, dict[str, tuple[Any, ...]]], version: int | None) -> dict[str, str]:
    """What differs, by table; tables that are not there do not differ, further columns do not count."""
    reasons = {
        table.name: _difference(table, found[table.name], version) for table in TABLES if table.name in found
    }
    return {name: reason for name, reason in reasons.items() if reason is not None}


def _lacking(
    found: dict[str, dict[str, tuple[Any, ...]]], version: int | None
) -> Iterator[tuple[Table, str, str]]:
    """(table, column, type) of the columns that tables of an older version lack."""
    for table in TABLES:
        there = found.get(table.name, {})
        for name, kind in table.columns if there else ():
            if name not in there and _comes_later(table, name, version):
                yield table, name, kind


def _comes_later(table: Table, column: str, version: int | None) -> bool:
    """Whether tables of this version lack the column rightly; ones that state no version may be of any."""
    return table.later.get(column, 0) > (version or 0)


def _difference(table: Table, there: dict[str, tuple[Any, ...]], version: int | None) -> str | None:
    key = _key_of(there)
    wanted = (table.partition, table.clustering)
    if key != wanted:
        return f"its key is {_key_text(*key)}, not {_key_text(*wanted)}"
    for name, kind in table.columns:
        if name not in there:
            if _comes_later(table, name, version):
                continue
            return f"it has no column {name}"
        if there[name][0] != kind:
            return f"its column {name} is {there[name][0]}, not {kind}"
    return None


def _key_of(there: dict[str, tuple[Any, ...]]) -> tuple[tuple[str, ...], tuple[tuple[str, bool], ...]]:
    def of(kind: str) -> list[str]:
        return sorted((name for name in there if there[name][1] == kind), key=lambda name: there[name][2])

    return tuple(of("partition_key")), tuple((name, there[name][3] == "desc") for name in of("clustering"))


def _key_text(partition: Sequence[str], clustering: Sequence[tuple[str, bool]]) -> str:
    parts = [f"({', '.join(partition)})", *(f"{name} DESC" if down else name for name, down in clustering)]
    return f"({', '.join(parts)})"


def _mismatch(keyspace: str, differing: dict[str, str]) -> SchemaMismatch:
    sentence = f"The keyspace {keyspace} holds tables of another shape: {', '.join(differing)}."
    remedy = "Use another keyspace: canopy cassandra schema --keyspace NAME"
    return SchemaMismatch(_trouble("schema mismatch", sentence, remedy), differing)


def _older(keyspace: str, version: int) -> SchemaOlder:
    sentence = (
        f"The tables in the keyspace {keyspace} were made by an older Canopy "
        f"(schema {version}, this one needs {SCHEMA_VERSION})."
    )
    return SchemaOlder(_trouble("schema older", sentence, "Bring them up to date: canopy cassandra schema"))


def _newer(keyspace: str, version: int) -> SchemaNewer:
    sentence = (
        f"The tables in the keyspace {keyspace} were written by a newer Canopy "
        f"(schema {version}, this one knows {SCHEMA_VERSION})."
    )
    return SchemaNewer(_trouble("schema newer", sentence, "Upgrade Canopy: pip install -U canopy-tui"))


def _trouble(kind: str, sentence: str, remedy: str) -> Trouble:
    return Trouble(Action.STOP, kind, sentence, remedy)


# -- replication ------------------------------------------------------------------------------------


def _keyspace_statement(session: Session, settings: Settings) -> str:
    """CREATE KEYSPACE with the server's own data centre names: 4.0 and later refuse any other."""
    if session.settings.secure_connect_bundle is not None:
        sentence = (
            f"The keyspace {settings.keyspace} does not exist, and Astra makes keyspaces in its console only."
        )
        raise SchemaMissing(_trouble("keyspace", sentence, "Add it there, then run this again."))
    nodes = _nodes_by_data_centre(session)
    own = session.read("SELECT data_center FROM system.local")[0][0]
    wanted = session.settings.replication if session.endpoint.origin == "managed" else settings.replication
    if wanted is None:
        count = sum(nodes.values())
        if count == 1:
            return _create_keyspace(settings.keyspace, "'class': 'SimpleStrategy', 'replication_factor': 1")
        wanted = min(_DEFAULT_REPLICATION, nodes[own])
    factors = {own: wanted} if isinstance(wanted, int) else dict(wanted)
    for name, factor in factors.items():
        if factor > nodes.get(name, 0):
            there = ", ".join(f"{dc} with {count}" for dc, count in sorted(nodes.items()))
            sentence = (
                f"Replication {factor} in the data centre {name!r} needs as many nodes; there is {there}."
            )
            raise StoreError(_trouble("replication", sentence, "Change replication in the settings."))
    listed = ", ".join(f"'{name}': {factor}" for name, factor in factors.items())
    return _create_keyspace(settings.keyspace, f"'class': 'NetworkTopologyStrategy', {listed}")


def _create_keyspace(keyspace: str, replication: str) -> str:
    return f"CREATE KEYSPACE IF NOT EXISTS {keyspace} WITH replication = {{{replication}}}"


def _nodes_by_data_centre(session: Session) -> dict[str, int]:
    rows = session.read("SELECT data_center FROM system.local") + session.read(
        "SELECT data_center FROM system.peers"
    )
    counts: dict[str, int] = {}
    for (name,) in rows:
        counts[name] = counts.get(name, 0) + 1
    return counts
