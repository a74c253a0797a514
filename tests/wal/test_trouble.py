"""Every failure of the driver, from the driver's own exceptions, becomes an action and a plain sentence."""

from __future__ import annotations

import ssl
import struct

import cassandra
import pytest
from cassandra import connection, pool, protocol
from cassandra.cluster import NoHostAvailable

from wal.cassandra.trouble import Action, StoreError, Trouble, classify, wrong_data_centre
from wal.settings import Endpoint, Secret, Settings

EXPLICIT = Endpoint(("db.example",), 9042, "settings", "db.example:9042")
MANAGED = Endpoint(("127.0.0.1",), 9042, "managed", "127.0.0.1:9042")
SETTINGS = Settings(username="ada", password=Secret("hunter2"))


def invalid(text: str) -> cassandra.InvalidRequest:
    return cassandra.InvalidRequest(f'Error from server: code=2200 [Invalid query] message="{text}"')


def no_host(*causes: BaseException) -> NoHostAvailable:
    errors = {f"10.0.0.{number}:9042": cause for number, cause in enumerate(causes, 1)}
    return NoHostAvailable("Unable to connect to any servers", errors)


# -- the seed's five errors --------------------------------------------------------------------------


def test_no_host_available_names_the_node_and_how_to_start_it() -> None:
    refused = no_host(
        ConnectionRefusedError(111, "Tried connecting to [...]. Last error: Connection refused")
    )
    trouble = classify(refused, EXPLICIT, SETTINGS)
    assert (trouble.action, trouble.kind) == (Action.RETRY, "unreachable")
    assert trouble.sentence == (
        "Cassandra at db.example:9042 does not answer (NoHostAvailable: connection refused)."
    )
    assert classify(refused, MANAGED, SETTINGS).remedy == "Start it with: canopy cassandra up"


def test_authentication_failed_names_the_user_and_never_the_password() -> None:
    cause = cassandra.AuthenticationFailed(
        "Failed to authenticate to db.example:9042: Error from server: code=0100 [Bad credentials] "
        'message="Provided username ada and/or password are incorrect"'
    )
    trouble = classify(no_host(cause), EXPLICIT, SETTINGS)
    assert (trouble.action, trouble.kind) == (Action.STOP, "authentication")
    assert "refused the user 'ada' (AuthenticationFailed: " in trouble.sentence
    assert "CASSANDRA_PASSWORD" in trouble.remedy
    assert "hunter2" not in str(trouble)
    asked = classify(no_host(cassandra.AuthenticationFailed("Remote end requires authentication.")), EXPLICIT)
    assert "asks for a login, and none is configured" in asked.sentence


@pytest.mark.parametrize("text", ["Keyspace 'cascor' does not exist", "keyspace cascor does not exist"])
def test_a_missing_keyspace_says_how_to_create_it(text: str) -> None:
    trouble = classify(invalid(text), EXPLICIT, SETTINGS)
    assert (trouble.action, trouble.kind) == (Action.STOP, "keyspace")
    assert trouble.sentence == "Keyspace 'cascor' does not exist at db.example:9042."
    assert trouble.remedy.endswith("canopy cassandra schema")


def test_a_client_timeout_is_sent_again_more_slowly() -> None:
    error = cassandra.OperationTimedOut({"10.0.0.1:9042": "Client request timeout."}, "10.0.0.1:9042")
    trouble = classify(error, EXPLICIT, SETTINGS)
    assert (trouble.action, trouble.kind, trouble.slow_down) == (Action.RETRY, "timeout", True)
    assert "request_timeout" in trouble.remedy
    assert "nodetool tpstats" in trouble.remedy


def test_a_write_timeout_is_sent_again_more_slowly() -> None:
    error = cassandra.WriteTimeout(
        "Coordinator node timed out waiting for replica nodes' responses",
        consistency=cassandra.ConsistencyLevel.QUORUM, required_responses=2, received_responses=1,
        write_type=cassandra.WriteType.UNLOGGED_BATCH,
    )  # fmt: skip
    trouble = classify(error, EXPLICIT, SETTINGS)
    assert (trouble.action, trouble.slow_down) == (Action.RETRY, True)
    assert "WriteTimeout: the coordinator timed out waiting for replica nodes" in trouble.sentence
    assert "consistency.write (LOCAL_QUORUM)" in trouble.remedy


STATUS_LINE = 78
"""Cells of the app's second status line on a terminal of 80: what is longer loses its end, the command."""

SEEDS: dict[str, tuple[BaseException, str, str]] = {
    "NoHostAvailable": (
        no_host(ConnectionRefusedError(111, "refused")), "canopy status --check", "canopy cassandra up"
    ),
    "AuthenticationFailed": (
        cassandra.AuthenticationFailed("bad"), "canopy status --check", "canopy status --check"
    ),
    "Keyspace 'cascor' does not exist": (
        invalid("Keyspace 'cascor' does not exist"), "canopy cassandra schema", "canopy cassandra schema"
    ),
    "OperationTimedOut": (
        cassandra.OperationTimedOut({"a": "Client request timeout."}), "nodetool tpstats",
        "canopy cassandra status",
    ),
    "WriteTimeout": (
        cassandra.WriteTimeout("slow", consistency=6, write_type=cassandra.WriteType.SIMPLE),
        "nodetool status", "canopy cassandra status",
    ),
}  # fmt: skip
"""By the seed's word: the driver's exception, the command for a cluster, and for a managed node."""


@pytest.mark.parametrize("word", SEEDS)
def test_each_of_the_seeds_errors_is_one_sentence_with_its_word_and_one_command(word: str) -> None:
    error, command, managed_command = SEEDS[word]
    for endpoint, wanted in ((EXPLICIT, command), (MANAGED, managed_command)):
        trouble = classify(error, endpoint, SETTINGS)
        assert word in trouble.sentence
        assert trouble.sentence.count(". ") == 0
        assert trouble.remedy.endswith(f": {wanted}")
        assert len(trouble.remedy) <= STATUS_LINE
        assert sum(trouble.remedy.count(f"{tool} ") for tool in ("canopy", "nodetool")) == 1


# -- the rest of the table ----------------------------------------------------------------------------

SERVER_ERROR = protocol.ServerError(0, "java.lang.NullPointerException", None)
WRITE_FAILURE = cassandra.WriteFailure("failed", consistency=6, failures=1)

TABLE: list[tuple[BaseException, Action, str, str]] = [
    (no_host(cassandra.OperationTimedOut("Timed out creating connection (2 seconds)")), Action.RETRY,
     "unreachable", "no answer to a connection"),
    (NoHostAvailable("Unable to complete the operation against any hosts", {}), Action.RETRY, "unreachable",
     "no node of it takes requests"),
    (NoHostAvailable("Unable to connect to any servers using keyspace", ["10.0.0.1"]), Action.RETRY,
     "unreachable", "no node of it takes requests"),
    (no_host(connection.ConnectionException("Host has been marked down or removed")), Action.RETRY,
     "unreachable", "marked down"),
    (connection.ConnectionShutdown("Connection to 10.0.0.1:9042 was closed"), Action.RETRY, "unreachable",
     "was closed"),
    (no_host(pool.NoConnectionsAvailable()), Action.RETRY, "overloaded", "Too many requests"),
    (connection.ConnectionBusy("busy"), Action.RETRY, "overloaded", "Too many requests"),
    (no_host(ssl.SSLError("WRONG_VERSION_NUMBER")), Action.STOP, "tls", "do not agree on TLS"),
    (no_host(PermissionError(1, "Tried connecting to [...]. Last error: [SSL: CERTIFICATE_VERIFY_FAILED] "
                             "certificate verify failed: self-signed certificate (_ssl.c:1006)")),
     Action.STOP, "tls", "on TLS (certificate verify failed: self-signed certificate)."),
    (no_host(OSError(8, "Last error: [SSL: UNEXPECTED_EOF_WHILE_READING] EOF occurred (_ssl.c:1006)")),
     Action.RETRY, "unreachable", "EOF occurred"),
    (no_host(connection.ProtocolError("version 72")), Action.STOP, "protocol", "did not speak CQL"),
    (no_host(KeyError(80)), Action.STOP, "protocol", "did not speak CQL"),
    (cassandra.Unauthorized('code=2100 message="User ada has no MODIFY permission on <x>"'), Action.STOP,
     "permission", "has no MODIFY permission"),
    (invalid("unconfigured table training_metrics"), Action.STOP, "schema", "training_metrics"),
    (invalid("table training_metrics does not exist"), Action.STOP, "schema", "training_metrics"),
    (invalid("Undefined column name texts in table cascor.training_metrics"), Action.STOP, "schema", "texts"),
    (invalid("Unknown identifier texts"), Action.STOP, "schema", "texts"),
    (invalid("Batch too large"), Action.SPLIT, "row", "Batch too large"),
    (invalid("Write request failed because disk usage exceeds failure threshold"), Action.SLOW, "disk",
     "its disk is full"),
    (invalid("Provided value ONE is not allowed for Write Consistency Level"), Action.STOP, "consistency",
     "Write Consistency Level"),
    (invalid("Cannot provide custom timestamp too far in the future"), Action.SPLIT, "row", "future"),
    (TypeError("Received an argument of invalid type"), Action.SPLIT, "row", "invalid type"),
    (struct.error("bad char in struct format"), Action.SPLIT, "row", "struct"),
    (OverflowError("int too large"), Action.SPLIT, "row", "too large"),
    (cassandra.Unavailable("no", consistency=6, required_replicas=2, alive_replicas=1), Action.RETRY,
     "unavailable", "2 needed, 1 alive"),
    (cassandra.ReadTimeout("slow", consistency=6), Action.RETRY, "read timeout", "could not read"),
    (cassandra.ReadFailure("failed", consistency=6), Action.RETRY, "read timeout", "could not read"),
    (WRITE_FAILURE, Action.RETRY, "write failure", "failed to take a write"),
    (protocol.OverloadedErrorMessage(0x1001, "Too many in flight", None), Action.RETRY, "overloaded",
     "overloaded"),
    (protocol.IsBootstrappingErrorMessage(0x1002, "bootstrapping", None), Action.RETRY, "overloaded",
     "still starting"),
    (SERVER_ERROR, Action.RETRY, "server error", "NullPointerException"),
    (protocol.ErrorMessage(0x9999, "rate limited", None), Action.SLOW, "unknown", "rate limited"),
    (cassandra.DriverException("ID mismatch while trying to reprepare"), Action.REBUILD, "connection",
     "anew"),
    (cassandra.DriverException("Cluster is already shut down"), Action.REBUILD, "connection", "anew"),
    (AssertionError("Got different query ID in response"), Action.REBUILD, "connection", "anew"),
    (cassandra.UnresolvableContactPoints({}), Action.RETRY, "unreachable", "cannot be resolved"),
    (cassandra.DriverException("Unable to connect to the metadata service at https://x"), Action.SLOW,
     "unreachable", "Astra database is asleep"),
    (RuntimeError("what is this"), Action.SLOW, "unknown", "what is this"),
]  # fmt: skip


@pytest.mark.parametrize(
    ("error", "action", "kind", "said"), TABLE, ids=[f"{type(row[0]).__name__}-{row[3]}" for row in TABLE]
)
def test_the_table_of_errors(error: BaseException, action: Action, kind: str, said: str) -> None:
    trouble = classify(error, EXPLICIT, SETTINGS, rows=100)
    assert (trouble.action, trouble.kind) == (action, kind)
    assert said in trouble.sentence
    assert trouble.sentence.endswith(".")
    assert "\n" not in str(trouble)
    assert "Traceback" not in str(trouble)


def test_one_bad_row_is_put_aside_and_named() -> None:
    trouble = classify(invalid("Key length of 70000 is longer than maximum"), EXPLICIT, SETTINGS, rows=1)
    assert trouble.action is Action.PARK
    assert "rejected a record: Key length of 70000" in trouble.sentence
    assert "local log" in trouble.remedy


def test_a_failure_that_comes_again_and_again_is_the_rows_own() -> None:
    assert classify(WRITE_FAILURE, rows=8, attempt=3).action is Action.RETRY
    assert classify(WRITE_FAILURE, rows=8, attempt=4).action is Action.SPLIT
    assert classify(WRITE_FAILURE, rows=1, attempt=4).action is Action.PARK
    assert classify(SERVER_ERROR, rows=1, attempt=9).action is Action.RETRY
    assert classify(SERVER_ERROR, rows=1, attempt=10).action is Action.PARK


def test_of_several_hosts_the_cause_that_somebody_must_mend_is_told() -> None:
    error = no_host(ConnectionRefusedError(111, "refused"), cassandra.AuthenticationFailed("bad"))
    assert classify(error, EXPLICIT, SETTINGS).kind == "authentication"


def test_a_wrong_data_centre_names_the_ones_there_are() -> None:
    trouble = wrong_data_centre(EXPLICIT, "dc9", {"dc2", "dc1"})
    assert trouble.sentence.endswith("no node in the data centre 'dc9'; it has: dc1, dc2.")
    assert "local_dc" in trouble.remedy


def test_a_store_error_keeps_its_trouble() -> None:
    error = StoreError(Trouble(Action.STOP, "x", "It is so.", "Do that."))
    assert str(error) == "It is so. Do that."
    assert classify(error) is error.trouble


def test_text_from_a_server_is_one_short_line() -> None:
    trouble = classify(invalid("line one\nline two " + "x" * 5000), EXPLICIT, SETTINGS)
    assert len(str(trouble)) < 500
    assert "\n" not in str(trouble)
