"""What the status line says in the seconds between a node's start and its tables."""

from __future__ import annotations

import time
from dataclasses import replace
from pathlib import Path

from helpers.nodes import settings_for
from helpers.reading import wait_for
from helpers.waiting import eventually

from wal.cassandra.noderecord import NodeRecord
from wal.cassandra.server import Node
from wal.link import Target
from wal.merged import MergedSource
from wal.settings import Endpoint
from wal.source import Connection

HOUR_NS = 3600 * 10**9


def managed_target(node: Node, started_ns: int) -> Target:
    """A node that ``canopy cassandra up`` started, with a keyspace that nobody has made."""
    host, port = node.endpoint
    label = f"{host}:{port}"
    record = NodeRecord("demo", "up", host, port, "5.0", "", "", started_ns=started_ns)
    return Target(
        replace(settings_for(node), explicit=False), Endpoint((host,), port, "managed", label), node=record
    )


def test_tables_that_are_being_made_are_no_trouble(tmp_path: Path, cassandra5: Node) -> None:
    target = managed_target(cassandra5, time.time_ns())
    source = MergedSource(tmp_path, find=lambda: target)
    try:
        status = eventually(source.status, lambda status: status.detail == "making its tables")
        assert status.connection is Connection.STARTING
        assert not status.remedy
    finally:
        source.close()


def test_tables_that_nobody_makes_are(tmp_path: Path, cassandra5: Node) -> None:
    target = managed_target(cassandra5, time.time_ns() - HOUR_NS)
    source = MergedSource(tmp_path, find=lambda: target)
    try:
        status = wait_for(source, Connection.TROUBLE)
        assert "canopy cassandra schema" in status.remedy
    finally:
        source.close()
