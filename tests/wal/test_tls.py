"""TLS to a real node, with its login: who is trusted, and for which name."""

from __future__ import annotations

import ssl
from dataclasses import replace
from pathlib import Path

import pytest
from helpers.certificates import Certificate, make_certificate
from helpers.logs import write_run
from helpers.nodes import fresh_keyspace, settings_for
from helpers.scan import in_cassandra, in_log
from helpers.syncing import drain

from wal.cassandra.checks import check_cassandra
from wal.cassandra.server import Node
from wal.cassandra.session import connect
from wal.cassandra.trouble import Action, StoreError, Trouble
from wal.reading.checks import Grade
from wal.settings import Endpoint, Secret, Settings, Tls, resolve

LOGIN = {"username": "cassandra", "password": Secret("cassandra")}


def endpoint_of(settings: Settings) -> Endpoint:
    endpoint = resolve(settings, {})
    assert endpoint is not None
    return endpoint


def trouble_of(settings: Settings) -> Trouble:
    with pytest.raises(StoreError) as error:
        connect(endpoint_of(settings), settings)
    return error.value.trouble


def test_records_are_shipped_with_tls_and_a_login(
    tmp_path: Path, cassandra_login: Node, certificate: Certificate
) -> None:
    write_run(tmp_path, ({"loss": 1.0 / (n + 1)} for n in range(50)))
    tls = Tls(enabled=True, ca_file=certificate.pem)
    with fresh_keyspace(cassandra_login, contact_points=("localhost",), tls=tls, **LOGIN) as settings:
        session = connect(endpoint_of(settings), settings)
        try:
            sockets = [c._socket for holder in session.cluster.get_connection_holders()
                       for c in holder.get_connections()]  # fmt: skip
        finally:
            session.close()
        assert len(sockets) >= 2  # the driver's own connection, and one for requests
        assert all(isinstance(one, ssl.SSLSocket) for one in sockets)
        drain(tmp_path, settings)
        assert in_cassandra(settings).content == in_log(tmp_path)
        checks = check_cassandra(endpoint_of(settings), settings)
        assert [check.grade for check in checks] == [Grade.OK] * 4


def test_a_certificate_for_another_name_is_refused(cassandra_login: Node, certificate: Certificate) -> None:
    tls = Tls(enabled=True, ca_file=certificate.pem)
    settings = settings_for(cassandra_login, contact_points=("127.0.0.1",), tls=tls, **LOGIN)
    trouble = trouble_of(settings)
    assert (trouble.action, trouble.kind) == (Action.STOP, "tls")
    assert "IP address mismatch, certificate is not valid for '127.0.0.1'" in trouble.sentence
    assert "contact_points" in trouble.remedy
    anyone = replace(settings, tls=replace(tls, check_hostname=False))
    connect(endpoint_of(anyone), anyone).close()


def test_a_certificate_that_nobody_vouches_for_is_refused(tmp_path: Path, cassandra_login: Node) -> None:
    other = make_certificate(tmp_path, "localhost")
    for authority in (None, other.pem):
        settings = settings_for(
            cassandra_login, contact_points=("localhost",), tls=Tls(enabled=True, ca_file=authority), **LOGIN
        )
        trouble = trouble_of(settings)
        assert (trouble.action, trouble.kind) == (Action.STOP, "tls")
        assert "self-signed certificate" in trouble.sentence


def test_a_wrong_password_with_tls(cassandra_login: Node, certificate: Certificate) -> None:
    settings = settings_for(
        cassandra_login, contact_points=("localhost",), tls=Tls(enabled=True, ca_file=certificate.pem),
        username="cassandra", password=Secret("hunter2"),
    )  # fmt: skip
    trouble = trouble_of(settings)
    assert trouble.kind == "authentication"
    assert "hunter2" not in str(trouble)


def test_a_node_that_does_not_speak_tls(cassandra5: Node) -> None:
    trouble = trouble_of(settings_for(cassandra5, tls=Tls(enabled=True)))
    assert (trouble.action, trouble.kind) == (Action.STOP, "tls")
