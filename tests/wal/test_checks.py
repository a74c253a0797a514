"""What a user can get wrong, looked at without a node: each wrong thing is named with its remedy."""

from __future__ import annotations

from pathlib import Path

import pytest
from helpers.logs import write_run
from helpers.nodes import settings_for

from wal.cassandra.checks import check_cassandra, check_driver, judge_consistency
from wal.cassandra.handshake import free_port
from wal.cassandra.server import Node
from wal.cassandra.session import connect
from wal.link import Target
from wal.reading.checks import (
    Grade,
    check_log_directory,
    check_settings,
    check_sqlite,
    check_syncer,
    check_target,
    find_target,
    local_checks,
)
from wal.settings import Endpoint, Secret, Settings, resolve
from wal.source import Connection


def mounted(tmp_path: Path, kind: str) -> Path:
    """A list of mounts that has everything on a file system of this type."""
    mounts = tmp_path / "mountinfo"
    mounts.write_text(f"22 1 8:1 / / rw - {kind} /dev/x rw\n")
    return mounts


@pytest.mark.parametrize(
    ("kind", "grade", "words"),
    [("ext4", Grade.OK, "local disk (ext4)"), ("nfs4", Grade.BAD, "network file system (nfs4)"),
     ("tmpfs", Grade.NOTE, "lost at a reboot")],
)  # fmt: skip
def test_the_file_system_of_the_log(tmp_path: Path, kind: str, grade: Grade, words: str) -> None:
    check = check_log_directory(tmp_path / "not" / "there" / "yet", mounted(tmp_path, kind))
    assert (check.grade, words in check.sentence) == (grade, True)
    assert ("CANOPY_DIR" in check.remedy) == (grade is not Grade.OK)


def test_a_log_directory_that_cannot_be(tmp_path: Path) -> None:
    (tmp_path / "log").write_text("a file")
    check = check_log_directory(tmp_path / "log")
    assert (check.grade, check.remedy) == (Grade.BAD, "Choose another: CANOPY_DIR")
    assert max(one.grade for one in local_checks(tmp_path)) < Grade.BAD


@pytest.mark.parametrize(
    ("version", "grade", "loses"),
    [("3.36.0", Grade.BAD, False), ("3.40.1", Grade.OK, True), ("3.44.6", Grade.OK, False),
     ("3.45.0", Grade.OK, True), ("3.50.7", Grade.OK, False), ("3.51.2", Grade.OK, True),
     ("3.51.3", Grade.OK, False), ("3.53.0", Grade.OK, False)],
)  # fmt: skip
def test_the_versions_of_sqlite(version: str, grade: Grade, loses: bool) -> None:
    check = check_sqlite(version)
    assert (check.grade, "loses rows" in check.sentence) == (grade, loses)


def test_settings_and_where_they_lead(tmp_path: Path) -> None:
    env = {"XDG_CONFIG_HOME": str(tmp_path), "CANOPY_NODE": "none"}
    plain = find_target(env, tmp_path)
    assert check_settings(plain).grade is Grade.OK
    nowhere = check_target(plain)
    assert nowhere is not None
    assert (nowhere.grade, nowhere.remedy) == (Grade.OK, "To have one: canopy cassandra up")
    broken = check_settings(find_target(env | {"CASCOR_CASSANDRA_PROT": "1"}, tmp_path))
    assert broken.grade is Grade.BAD
    assert "did you mean CASCOR_CASSANDRA_PORT" in broken.sentence
    pool = check_settings(find_target(env | {"CASCOR_CASSANDRA_POOL_SIZE": "4"}, tmp_path))
    assert (pool.grade, "pool_size has no effect" in pool.sentence) == (Grade.NOTE, True)
    stopped = Target(Settings(), None, Connection.OFFLINE, "the managed node is stopped", "Start it: x")
    check = check_target(stopped)
    assert check is not None
    assert (check.grade, check.sentence, check.remedy) == (
        Grade.BAD, "The managed node is stopped.", "Start it: x"
    )  # fmt: skip


def test_no_syncer_is_fine(tmp_path: Path) -> None:
    write_run(tmp_path, [{"loss": 1.0}])
    assert check_syncer(tmp_path, connects=True).grade is Grade.OK


def test_the_driver_here_is_a_quick_one() -> None:
    check = check_driver()
    assert (check.grade, "event loop libev, compiled, with LZ4" in check.sentence) == (Grade.OK, True)


def test_nothing_listens_there() -> None:
    endpoint = Endpoint(("127.0.0.1",), free_port("127.0.0.1", 0), "settings", "127.0.0.1:1")
    (check,) = check_cassandra(endpoint, Settings())
    assert check.grade is Grade.BAD
    assert "NoHostAvailable: 127.0.0.1:" in check.sentence
    assert "refuses connections" in check.sentence
    (nobody,) = check_cassandra(Endpoint(("no-host.invalid",), 9042, "settings", "x"), Settings())
    assert "is a name that nobody knows" in nobody.sentence


SIMPLE = {"class": "org.apache.cassandra.locator.SimpleStrategy"}
BY_DC = {"class": "org.apache.cassandra.locator.NetworkTopologyStrategy"}

CONSISTENCY = {
    "one node": (SIMPLE | {"replication_factor": "1"}, 1, "LOCAL_QUORUM", "LOCAL_QUORUM", Grade.OK, "stops"),
    "three nodes": (BY_DC | {"dc1": "3"}, 3, "LOCAL_QUORUM", "LOCAL_QUORUM", Grade.OK, "with 1 of them down"),
    "one down": (BY_DC | {"dc1": "3"}, 2, "LOCAL_QUORUM", "LOCAL_QUORUM", Grade.OK, "with 1 of them down"),
    "two down": (BY_DC | {"dc1": "3"}, 1, "LOCAL_QUORUM", "ONE", Grade.BAD, "needs 2 of 3 replicas; nodes"),
    "too many replicas": (BY_DC | {"dc1": "3"}, 1, "TWO", "ONE", Grade.BAD, "TWO needs 2 of 3 replicas"),
    "another data centre": (BY_DC | {"dc2": "3"}, 3, "ONE", "ONE", Grade.BAD, "no replica in the data"),
    "one copy of each": (BY_DC | {"dc1": "1"}, 3, "ONE", "ONE", Grade.NOTE, "takes its rows along"),
    "weak": (BY_DC | {"dc1": "3"}, 3, "ONE", "ONE", Grade.NOTE, "may not be read yet"),
    "written by all": (BY_DC | {"dc1": "3"}, 3, "ALL", "ONE", Grade.OK, "stops while a replica is down"),
}  # fmt: skip


@pytest.mark.parametrize("case", CONSISTENCY)
def test_consistency_against_replication(case: str) -> None:
    replication, up, write, read, grade, words = CONSISTENCY[case]
    check = judge_consistency(replication, "dc1", up, write, read)
    assert (check.grade, words in check.sentence) == (grade, True), check
    assert bool(check.remedy) == (grade is not Grade.OK)


# -- on a real node -------------------------------------------------------------------------------------


def by_name(settings: Settings) -> dict[str, tuple[Grade, str, str]]:
    endpoint = resolve(settings, {})
    assert endpoint is not None
    return {c.name: (c.grade, c.sentence, c.remedy) for c in check_cassandra(endpoint, settings)}


def test_a_node_with_its_tables(keyspace: Settings) -> None:
    found = by_name(keyspace)
    assert [grade for grade, _, _ in found.values()] == [Grade.OK] * 4
    assert list(found) == ["contact points", "login", "consistency", "keyspace"]
    assert "data centre datacenter1" in found["login"][1]
    assert "replication 1 in datacenter1" in found["consistency"][1]


def test_a_node_without_the_keyspace(cassandra5: Node) -> None:
    grade, sentence, remedy = by_name(settings_for(cassandra5))["keyspace"]
    assert (grade, "does not exist" in sentence) == (Grade.BAD, True)
    assert remedy.endswith("canopy cassandra schema")


def test_a_wrong_password_is_named_without_it(cassandra_login: Node) -> None:
    settings = settings_for(cassandra_login, username="cassandra", password=Secret("hunter2"))
    grade, sentence, _ = by_name(settings)["login"]
    assert (grade, "AuthenticationFailed" in sentence, "hunter2" in sentence) == (Grade.BAD, True, False)


def test_more_replicas_than_nodes(cassandra5: Node) -> None:
    settings = settings_for(cassandra5)
    endpoint = resolve(settings, {})
    assert endpoint is not None
    session = connect(endpoint, settings)
    try:
        session.driver.execute(
            f"CREATE KEYSPACE {settings.keyspace} WITH replication = "
            "{'class': 'NetworkTopologyStrategy', 'datacenter1': 3}"
        )
    finally:
        session.close()
    grade, sentence, _ = by_name(settings)["consistency"]
    assert (grade, "LOCAL_QUORUM needs 2 of 3 replicas; nodes of datacenter1 that are up: 1" in sentence) == (
        Grade.BAD,
        True,
    )
