"""A link that is bad for hours, and one that is away for longer than the driver would try by default."""

from __future__ import annotations

from itertools import islice
from pathlib import Path

import pytest
from helpers.syncing import connect, target_of

from faults.longoutage import drop_every_minute, long_outage
from faults.proxy import Mode
from wal.cassandra.server import Node
from wal.cassandra.store import CassandraStore
from wal.link import Target
from wal.settings import Settings
from wal.source import Connection

MINUTES = 15
"""`make faults` has three hours of it."""

DRIVER_ATTEMPTS = 64
"""After which the driver's default schedule ends, and with it the connection, for ever."""


def test_shipping_gets_on_over_a_link_that_drops_every_minute(
    tmp_path: Path, keyspace5: Settings, cassandra5: Node
) -> None:
    with long_outage(tmp_path / "log", keyspace5, cassandra5) as outage:
        drop_every_minute(outage, MINUTES)


def test_an_outage_longer_than_the_drivers_schedule(
    tmp_path: Path, keyspace5: Settings, cassandra5: Node, monkeypatch: pytest.MonkeyPatch
) -> None:
    with long_outage(tmp_path / "log", keyspace5, cassandra5) as outage:
        outage.step_until(lambda _: outage.syncer.stored > 0)
        outage.proxy.switch(Mode.REFUSE)
        stored, attempts = outage.syncer.stored, 0

        def counted(target: Target) -> CassandraStore:
            nonlocal attempts
            attempts += 1
            return connect(target)

        monkeypatch.setattr(outage.syncer.link, "_connect", counted)
        outage.step_until(lambda _: attempts > DRIVER_ATTEMPTS)
        assert outage.syncer.link.connection is Connection.OFFLINE
        outage.proxy.switch(Mode.FORWARD)
        outage.step_until(lambda _: outage.syncer.stored > stored)


def test_the_drivers_schedule_has_no_end(keyspace5: Settings) -> None:
    store = connect(target_of(keyspace5))
    try:
        schedule = store.session.cluster.reconnection_policy.new_schedule()
        delays = list(islice(schedule, 100 * DRIVER_ATTEMPTS))
    finally:
        store.close()
    assert len(delays) == 100 * DRIVER_ATTEMPTS
    assert max(delays) <= 20.0, "a server that is back is found within 20 s"
