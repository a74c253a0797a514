"""The schema: made once, recognised again, never forced upon tables of another shape."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest
from helpers.nodes import settings_for
from helpers.seedtables import SEED_TABLES, make_keyspace

from wal.cassandra import schema
from wal.cassandra.session import Session, connect
from wal.cassandra.store import open_store
from wal.cassandra.tables import SCHEMA_VERSION, TABLES
from wal.cassandra.trouble import Action, StoreError
from wal.settings import Settings, Ttl, resolve


def opened(settings: Settings) -> Session:
    endpoint = resolve(settings, {})
    assert endpoint is not None
    return connect(endpoint, settings)


@pytest.fixture(scope="module")
def made(cassandra: Any) -> Iterator[tuple[Session, Settings, list[str]]]:
    """A keyspace with our schema on each server in turn, and what making it said. Leave it as it was."""
    settings = settings_for(cassandra)
    session = opened(settings)
    yield session, settings, schema.create(session, settings)
    schema.drop(session, settings.keyspace)
    session.close()


@pytest.fixture
def settings(cassandra5: Any) -> Settings:
    """A keyspace that does not exist yet."""
    return settings_for(cassandra5)


@pytest.fixture
def session(settings: Settings) -> Iterator[Session]:
    session = opened(settings)
    yield session
    schema.drop(session, settings.keyspace)
    session.close()


def described(session: Session, keyspace: str) -> list[tuple[Any, ...]]:
    """Everything that DDL could have changed."""
    columns = session.read(
        "SELECT table_name, column_name, type, kind, position, clustering_order "
        "FROM system_schema.columns WHERE keyspace_name = ?",
        [keyspace],
    )
    tables = session.read(
        "SELECT table_name, id, default_time_to_live FROM system_schema.tables WHERE keyspace_name = ?",
        [keyspace],
    )
    return sorted(map(repr, columns + tables))


def replication_of(session: Session, keyspace: str) -> dict[str, str]:
    [(found,)] = session.read(
        "SELECT replication FROM system_schema.keyspaces WHERE keyspace_name = ?", [keyspace]
    )
    return {key: value.rpartition(".")[2] for key, value in found.items()}


# -- making it ---------------------------------------------------------------------------------------


def test_create_makes_everything_once(made: tuple[Session, Settings, list[str]]) -> None:
    session, settings, done = made
    assert done == [
        f"keyspace {settings.keyspace} created",
        *(f"table {table.name} created" for table in TABLES),
    ]
    schema.check(session, settings.keyspace)
    before = described(session, settings.keyspace)
    assert schema.create(session, settings) == []
    assert described(session, settings.keyspace) == before
    assert replication_of(session, settings.keyspace) == {
        "class": "SimpleStrategy",
        "replication_factor": "1",
    }


def test_a_part_that_is_missing_is_made(made: tuple[Session, Settings, list[str]]) -> None:
    session, settings, _ = made
    session.driver.execute(f"DROP TABLE {settings.keyspace}.run_segments")
    with pytest.raises(schema.SchemaMissing, match=r"lacks run_segments\. .* canopy cassandra schema"):
        schema.check(session, settings.keyspace)
    assert schema.create(session, settings) == ["table run_segments created"]
    schema.check(session, settings.keyspace)


def test_further_columns_do_not_matter(made: tuple[Session, Settings, list[str]]) -> None:
    session, settings, _ = made
    session.driver.execute(f"ALTER TABLE {settings.keyspace}.training_runs ADD my_own_remark text")
    schema.check(session, settings.keyspace)


def test_retention_is_the_tables_default_and_can_change(made: tuple[Session, Settings, list[str]]) -> None:
    session, settings, _ = made
    thirty_days, ninety_days = 2592000, 7776000

    def retention() -> dict[str, int]:
        return dict(
            session.read(
                "SELECT table_name, default_time_to_live FROM system_schema.tables WHERE keyspace_name = ?",
                [settings.keyspace],
            )
        )

    done = schema.create(session, replace(settings, ttl=Ttl(metrics=thirty_days, topology=ninety_days)))
    assert "table training_metrics: new rows are kept 2592000 s" in done
    kept = retention()
    assert kept["training_metrics"] == thirty_days
    assert kept["network_topology"] == kept["topology_bodies"] == ninety_days
    assert kept["training_runs"] == kept["runs_by_week"] == 0
    done = schema.create(session, settings)
    assert "table training_metrics: new rows are kept for ever" in done
    assert set(retention().values()) == {0}


def test_retention_is_in_the_tables_from_the_start() -> None:
    statements = {table.name: table.ddl("ks", 7) for table in TABLES}
    assert statements["training_metrics"].endswith("AND default_time_to_live = 7")
    assert statements["training_runs"].endswith("WITH default_time_to_live = 7")


def test_a_keyspace_made_by_somebody_else_is_used(session: Session, settings: Settings) -> None:
    make_keyspace(session, settings.keyspace)
    with pytest.raises(schema.SchemaMissing, match="lacks training_metrics"):
        schema.check(session, settings.keyspace)
    assert schema.create(session, settings)[0] == "table training_metrics created"


def test_replication_is_by_the_servers_own_data_centre(session: Session, settings: Settings) -> None:
    schema.create(session, replace(settings, replication=1))
    assert replication_of(session, settings.keyspace) == {
        "class": "NetworkTopologyStrategy",
        "datacenter1": "1",
    }


@pytest.mark.parametrize("replication", [3, {"datacenter1": 1, "datacenter2": 2}])
def test_more_replicas_than_nodes_are_refused(session: Session, settings: Settings, replication: Any) -> None:
    with pytest.raises(StoreError, match="there is datacenter1 with 1"):
        schema.create(session, replace(settings, replication=replication))
    with pytest.raises(schema.SchemaMissing):
        schema.check(session, settings.keyspace)


# -- what is in the way --------------------------------------------------------------------------------


def test_tables_of_the_seeds_own_shape_are_left_alone(cassandra: Any) -> None:
    settings = settings_for(cassandra)
    session = opened(settings)
    make_keyspace(session, settings.keyspace, *SEED_TABLES)
    before = described(session, settings.keyspace)
    for act in (lambda: schema.create(session, settings), lambda: schema.check(session, settings.keyspace)):
        with pytest.raises(schema.SchemaMismatch) as caught:
            act()
        error = caught.value
        assert error.trouble.action is Action.STOP
        assert str(error) == (
            f"The keyspace {settings.keyspace} holds tables of another shape: training_metrics, "
            "network_topology, training_runs. Use another keyspace: canopy cassandra schema --keyspace NAME"
        )
        assert error.differences["training_metrics"] == (
            "its key is ((run_id), timestamp DESC), not ((run_id, stream, chunk), seq)"
        )
        assert error.differences["training_runs"] == "it has no column project"
    assert described(session, settings.keyspace) == before
    with pytest.raises(schema.SchemaMismatch):
        open_store(session.endpoint, settings)
    schema.drop(session, settings.keyspace)
    session.close()


@pytest.mark.parametrize(
    ("table", "said"),
    [
        (
            "training_metrics (run_id uuid, stream uuid, chunk int, seq bigint, "
            "PRIMARY KEY ((run_id, chunk, stream), seq))",
            "training_metrics: its key is ((run_id, chunk, stream), seq)",
        ),
        (
            "run_weeks (scope text, week int, PRIMARY KEY ((scope), week))",
            "run_weeks: its key is ((scope), week), not ((scope), week DESC)",
        ),
        (
            "run_weeks (scope text, week bigint, PRIMARY KEY ((scope), week)) "
            "WITH CLUSTERING ORDER BY (week DESC)",
            "run_weeks: its column week is bigint, not int",
        ),
        ("schema_meta (k text PRIMARY KEY, w text)", "schema_meta: it has no column v"),
    ],
)
def test_any_difference_is_named(session: Session, settings: Settings, table: str, said: str) -> None:
    make_keyspace(session, settings.keyspace, table)
    before = described(session, settings.keyspace)
    with pytest.raises(schema.SchemaMismatch) as caught:
        schema.create(session, settings)
    assert said in "".join(f"{table}: {how}" for table, how in caught.value.differences.items())
    assert described(session, settings.keyspace) == before


def test_a_newer_schema_asks_for_an_upgrade_whatever_its_tables_are(
    session: Session, settings: Settings
) -> None:
    meta, metrics = "schema_meta (k text PRIMARY KEY, v text)", "training_metrics (future int PRIMARY KEY)"
    make_keyspace(session, settings.keyspace, meta, metrics)
    newer = str(SCHEMA_VERSION + 1)
    session.write(f"INSERT INTO {settings.keyspace}.schema_meta (k, v) VALUES ('version', ?)", [newer])
    with pytest.raises(schema.SchemaNewer, match=r"written by a newer Canopy .* Upgrade") as caught:
        schema.create(session, settings)
    assert caught.value.trouble.action is Action.STOP
    with pytest.raises(schema.SchemaNewer):
        open_store(session.endpoint, settings)


# -- an older version ----------------------------------------------------------------------------------

VERSION_1_STREAM_COLUMNS = (
    "run_id uuid, stream uuid, rank int, host text, pid int, after_stream uuid, base_us bigint, "
    "started_ns bigint, ended_ns bigint, status text, exit_code int, heartbeat timestamp, last_ts bigint, "
    "records bigint, first_step bigint, last_step bigint, acknowledged frozen<list<bigint>>"
)


def make_version_1(session: Session, keyspace: str) -> tuple[uuid.UUID, uuid.UUID]:
    """The tables as the first version made them, with one stream in them; its ids come back."""
    make_keyspace(
        session, keyspace, f"run_streams ({VERSION_1_STREAM_COLUMNS}, PRIMARY KEY ((run_id), stream))"
    )
    for table in TABLES:
        if table.name not in ("run_streams", "metric_pages"):
            session.driver.execute(table.ddl(keyspace))
    session.write(f"INSERT INTO {keyspace}.schema_meta (k, v) VALUES ('version', '1')")
    ids = uuid.uuid4(), uuid.uuid4()
    session.write(f"INSERT INTO {keyspace}.run_streams (run_id, stream, records) VALUES (?, ?, 7)", ids)
    return ids


def test_tables_of_version_1_are_brought_up_to_date(cassandra: Any) -> None:
    settings = settings_for(cassandra)
    session = opened(settings)
    ids = make_version_1(session, settings.keyspace)
    before = described(session, settings.keyspace)
    with pytest.raises(schema.SchemaOlder) as caught:
        open_store(session.endpoint, settings)
    assert str(caught.value) == (
        f"The tables in the keyspace {settings.keyspace} were made by an older Canopy (schema 1, this one "
        f"needs {SCHEMA_VERSION}). Bring them up to date: canopy cassandra schema"
    )
    assert caught.value.trouble.action is Action.STOP
    assert described(session, settings.keyspace) == before
    added = ("paged_shift", "paged_seq", "coarse_seq", "late_seq")
    assert schema.create(session, settings) == [
        *(f"table run_streams: column {name} added" for name in added),
        "table metric_pages created",
        f"schema 1 brought up to {SCHEMA_VERSION}",
    ]
    open_store(session.endpoint, settings).close()
    rows = session.read(f"SELECT run_id, stream, records, paged_seq FROM {settings.keyspace}.run_streams")
    assert [tuple(row) for row in rows] == [(*ids, 7, None)]
    assert schema.create(session, settings) == []
    schema.drop(session, settings.keyspace)
    session.close()


def test_a_migration_that_was_cut_off_is_completed(session: Session, settings: Settings) -> None:
    make_version_1(session, settings.keyspace)
    session.driver.execute(f"ALTER TABLE {settings.keyspace}.run_streams ADD paged_seq bigint")
    with pytest.raises(schema.SchemaOlder):
        schema.check(session, settings.keyspace)
    done = schema.create(session, settings)
    assert "table run_streams: column paged_seq added" not in done
    assert "table run_streams: column late_seq added" in done
    schema.check(session, settings.keyspace)


def test_a_column_that_version_2_lacks_is_another_shape(session: Session, settings: Settings) -> None:
    schema.create(session, settings)
    session.driver.execute(f"ALTER TABLE {settings.keyspace}.run_streams DROP paged_seq")
    with pytest.raises(schema.SchemaMismatch) as caught:
        schema.create(session, settings)
    assert caught.value.differences == {"run_streams": "it has no column paged_seq"}


def test_a_missing_keyspace_says_how_to_make_it(session: Session, settings: Settings) -> None:
    with pytest.raises(schema.SchemaMissing) as caught:
        open_store(session.endpoint, settings)
    assert f"Keyspace '{settings.keyspace}' does not exist" in str(caught.value)
    assert "canopy cassandra schema" in str(caught.value)
    assert caught.value.trouble.action is Action.STOP
