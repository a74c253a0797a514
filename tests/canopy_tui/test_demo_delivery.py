"""The demo's proof on a real Cassandra: trained, shipped, read back, compared; and what a difference does."""

from __future__ import annotations

import math
import re
from pathlib import Path
from uuid import UUID

import pytest

from canopy_tui.demo.afterwards import run_ids
from canopy_tui.demo.crew import Crew, DemoError
from canopy_tui.demo.place import OUTPUT, Place
from canopy_tui.demo.plain import deliver, verify
from canopy_tui.demo.plan import Fate, Training
from canopy_tui.demo.proof import NotDelivered, prove
from canopy_tui.demo.server import Verbs
from wal.cassandra.session import connect
from wal.cassandra.store import connect_store
from wal.local import LocalSource
from wal.settings import Settings, resolve

TINY = ("--units", "2", "--pool", "3", "--output-epochs", "4", "--candidate-epochs", "5")
RECORDS = (4 + 2 * 9) + 2
"""Of a tiny run: its epochs and two topologies; the resumed one has as many in its two streams."""


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return Place(tmp_path / "demo", configured=True)


@pytest.fixture
def environment(place: Place, keyspace5: Settings) -> dict[str, str]:
    """The demo's environment with this test's keyspace, as a user would configure it."""
    return {
        **place.environment(),
        "CASCOR_CASSANDRA_CONTACT_POINTS": keyspace5.contact_points[0],
        "CASCOR_CASSANDRA_PORT": str(keyspace5.port),
        "CASCOR_CASSANDRA_KEYSPACE": keyspace5.keyspace,
        "CANOPY_SYNC": "0",
    }


@pytest.fixture
def runs(place: Place, environment: dict[str, str]) -> set[UUID]:
    """Two tiny runs in the log, one of them resumed."""
    crew = Crew(place.log_dir / OUTPUT, environment, "test")
    crew.run(
        [
            Training("tests", "plain", TINY),
            Training("tests", "resumed", TINY, Fate.IS_RESUMED, at_unit=1),
        ],
        at_once=2,
    )
    return run_ids(place.log_dir)


def execute(settings: Settings, statement: str, *parameters: object) -> list[tuple[object, ...]]:
    endpoint = resolve(settings, {})
    assert endpoint is not None
    session = connect(endpoint, settings)
    try:
        return session.read(statement.format(settings.keyspace), parameters)
    finally:
        session.close()


def test_what_was_trained_is_delivered_and_proven(
    place: Place, environment: dict[str, str], runs: set[UUID]
) -> None:
    said: list[str] = []
    proofs = deliver(place.log_dir, runs, environment, Verbs(environment, said.append), said.append)
    assert {proof.run_id for proof in proofs} == runs
    assert all(proof.log == proof.cassandra for proof in proofs)
    text = "\n".join(said)
    assert said[-1] == f"{2 * RECORDS} records delivered and verified"
    for proof in proofs:
        assert str(place.log_dir / str(proof.run_id)) in text
        assert text.count(f"{proof.log.digest:032x}") == 2, "a digest of each side"
    assert re.search(r"server +Cassandra 5\.0\.\d+ at 127\.", text)
    assert f"keyspace {environment['CASCOR_CASSANDRA_KEYSPACE']}" in text
    assert re.search(r"done +plain .*\n|done +resumed .*\n", text), "the run table"
    assert re.search(r"\+-{10,}", text), "a chart's axis"


def test_a_value_that_was_changed_in_cassandra_is_found(
    place: Place, environment: dict[str, str], runs: set[UUID], keyspace5: Settings
) -> None:
    said: list[str] = []
    deliver(place.log_dir, runs, environment, Verbs(environment, said.append), said.append)
    assert verify(place.log_dir, runs, environment, said.append)
    run_id, stream, chunk, seq, values = execute(
        keyspace5, "SELECT run_id, stream, chunk, seq, values FROM {}.training_metrics LIMIT 1"
    )[0]
    changed = dict(values)  # type: ignore[call-overload]
    changed["val/loss"] = math.nextafter(changed["val/loss"], math.inf)  # one bit
    execute(
        keyspace5,
        "UPDATE {}.training_metrics SET values = ? WHERE run_id = ? AND stream = ? AND chunk = ? AND seq = ?",
        changed,
        run_id,
        stream,
        chunk,
        seq,
    )
    with pytest.raises(NotDelivered, match=f"{run_id}: record {seq} is not what was logged"):
        verify(place.log_dir, runs, environment, said.append)


def test_a_record_that_is_missing_is_found(
    place: Place, environment: dict[str, str], runs: set[UUID], keyspace5: Settings
) -> None:
    deliver(place.log_dir, runs, environment, Verbs(environment, print), lambda _text: None)
    run_id, stream = execute(keyspace5, "SELECT run_id, stream FROM {}.training_metrics LIMIT 1")[0]
    execute(
        keyspace5,
        "DELETE FROM {}.training_metrics WHERE run_id = ? AND stream = ? AND chunk = 0 AND seq = 3",
        run_id,
        stream,
    )
    log, store = LocalSource(place.log_dir), connect_store(environment)
    assert store is not None
    try:
        with pytest.raises(NotDelivered, match="record 3 is missing from Cassandra"):
            prove(UUID(str(run_id)), log, store)
    finally:
        log.close()
        store.close(wait=True)


def test_nothing_shipped_is_not_delivered(place: Place, environment: dict[str, str], runs: set[UUID]) -> None:
    with pytest.raises(NotDelivered, match="is missing from Cassandra"):
        verify(place.log_dir, runs, environment, lambda _text: None)


def test_no_cassandra_is_said_in_a_sentence(
    place: Place, environment: dict[str, str], runs: set[UUID]
) -> None:
    with pytest.raises(DemoError, match="no Cassandra to read back from"):
        verify(place.log_dir, runs, {**environment, "CASCOR_CASSANDRA_ENABLED": "0"}, lambda _text: None)
