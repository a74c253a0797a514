"""The nodes of the cluster: which the driver sees, and how fast each answers."""

from __future__ import annotations

import threading
import time
from typing import Any

from cassandra.cluster import ResponseFuture

from wal.cassandra.session import Session
from wal.reading.storage import NodeState

ANSWER_S = 1.0
"""A node that takes longer for one row of its own is shown without a latency."""

_ASK = "SELECT release_version FROM system.local"


def nodes(session: Session) -> tuple[NodeState, ...]:
    """Every node that the driver knows, by data centre and address; all are asked at once.

    Answers within :data:`ANSWER_S`. A node of another data centre is not connected to, so it has no latency.
    """
    hosts: list[Any] = list(session.cluster.metadata.all_hosts())  # pyright: ignore[reportOptionalMemberAccess]
    hosts.sort(key=_place)
    asked = [_Question(session, host) for host in hosts]
    deadline = time.monotonic() + ANSWER_S
    return tuple(
        NodeState(
            address=str(host.endpoint),
            state={True: "up", False: "down"}.get(host.is_up, "unknown"),
            datacenter=host.datacenter or "",
            version=host.release_version or "",
            latency_ms=question.latency_ms(deadline),
        )
        for host, question in zip(hosts, asked, strict=True)
    )


def _place(host: Any) -> tuple[str, str]:
    return host.datacenter or "", str(host.endpoint)


class _Question:
    """One small read that only this host may answer."""

    def __init__(self, session: Session, host: Any) -> None:
        self._done = threading.Event()
        self._answered_at: float | None = None
        self._asked_at = time.monotonic()
        if host.is_up is False:
            self._done.set()
            return
        try:
            future: ResponseFuture = session.driver.execute_async(
                _ASK, execution_profile="read", host=host, timeout=ANSWER_S
            )
        except Exception:  # noqa: BLE001 - no connection to it: the driver says so in many ways
            self._done.set()
            return
        future.add_callbacks(self._answered, self._failed)

    def _answered(self, _rows: object) -> None:
        self._answered_at = time.monotonic()
        self._done.set()

    def _failed(self, _error: object) -> None:
        self._done.set()

    def latency_ms(self, deadline: float) -> float | None:
        """Milliseconds that it took, waited for until ``deadline`` (monotonic); None without an answer."""
        self._done.wait(max(deadline - time.monotonic(), 0.0))
        return None if self._answered_at is None else (self._answered_at - self._asked_at) * 1000
