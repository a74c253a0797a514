"""Where the records are: what of each stream is committed, on disk, delivered and verified, what the syncer
and the nodes say, and one verdict over it all. Frozen values; :mod:`wal.reading.storagelook` reads them.

Standard library only.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from uuid import UUID

from wal.source import Connection, RunState, StoreStatus


class Verdict(StrEnum):
    """How it stands with the delivery of everything together."""

    NOTHING = "nothing logged"
    VERIFIED = "verified"
    """All records are in Cassandra, and were read back and compared."""
    DELIVERED = "delivered"
    """All records are acknowledged; not all of them were read back."""
    CATCHING_UP = "catching up"
    STARTING = "starting"
    UNATTENDED = "no syncer"
    """Records wait, Cassandra may well answer, and nobody ships them."""
    OFFLINE = "offline"
    PARKED = "parked"
    """Cassandra answers, and will not take them until somebody mends something."""
    LOCAL_ONLY = "local only"
    REJECTED = "rejected"
    """Everything else is delivered, some records were refused for good."""
    DAMAGED = "damaged"
    """Everything else is delivered, some records cannot be read here."""


@dataclass(frozen=True, slots=True)
class StreamStorage:
    """One stream. Counts are records of it and, as a stream's seqs have no hole, the newest seq that is
    ``committed``, ``durable`` (would survive a loss of power) and ``verified`` as well.

    ``acknowledged`` does not count the ``rejected``; ``waiting`` are on their way. ``durable`` None: not
    known, as of another machine's stream. ``lag_s``: age of the oldest record that waits, by its ts.
    ``lane`` is ``"live"``, ``"backlog"`` or empty, ``rate`` records/s that are delivered now, ``eta_s`` how
    long ``waiting`` takes at that rate. ``ships`` is False for ``mode="offline"``, ``local`` for another
    machine's. ``problem`` is a sentence, of a part that cannot be read or the newest refusal.
    """

    run_id: UUID
    stream_id: UUID
    project: str
    name: str
    rank: int
    host: str
    state: RunState
    local: bool
    ships: bool
    committed: int
    durable: int | None
    acknowledged: int
    verified: int
    waiting: int
    rejected: int
    lag_s: float | None = None
    lane: str = ""
    rate: float = 0.0
    eta_s: float | None = None
    disk_bytes: int | None = None
    problem: str = ""


@dataclass(frozen=True, slots=True)
class NodeState:
    """One node as the driver sees it. ``state`` is ``"up"``, ``"down"`` or ``"unknown"``; ``latency_ms`` of
    one small read that it answered itself, None when it did not."""

    address: str
    state: str
    datacenter: str
    version: str
    latency_ms: float | None


@dataclass(frozen=True, slots=True)
class LastError:
    """What went wrong last: one sentence and what to do. ``mended_ns`` is when the syncer got on again, 0
    while it has not."""

    at_ns: int
    sentence: str
    remedy: str
    mended_ns: int = 0


@dataclass(frozen=True, slots=True)
class SyncerState:
    """What the syncer said last, at ``said_ns`` (0: never). ``pid`` is of the one that runs, None for none.

    ``next_retry_ns`` is when it asks a server again that it leaves alone, 0 when it does not wait.
    """

    pid: int | None = None
    version: str = ""
    said_ns: int = 0
    connection: Connection | None = None
    detail: str = ""
    remedy: str = ""
    since_ns: int = 0
    endpoint: str = ""
    keyspace: str = ""
    rate: float = 0.0
    next_retry_ns: int = 0
    last_error: LastError | None = None
    problems: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Totals:
    """Over all streams, listed or not. ``kept_local`` are records of streams that are not to be shipped; no
    other number but ``streams`` counts them."""

    streams: int = 0
    committed: int = 0
    acknowledged: int = 0
    verified: int = 0
    waiting: int = 0
    rejected: int = 0
    kept_local: int = 0


@dataclass(frozen=True, slots=True)
class DiskState:
    """``used_bytes`` of the streams that the report is about, ``free_bytes`` where the log lies."""

    used_bytes: int
    free_bytes: int | None


@dataclass(frozen=True, slots=True)
class StorageReport:
    """All of it, of one moment. ``streams`` are those that are open, wait, or have a problem, the ones that
    lack most first; ``unlisted`` counts the others. ``reason`` and ``remedy`` go with the verdict."""

    taken_ns: int
    log_dir: Path
    verdict: Verdict
    reason: str
    remedy: str
    since_ns: int
    totals: Totals
    lag_s: float | None
    rate: float
    eta_s: float | None
    streams: tuple[StreamStorage, ...]
    unlisted: int
    syncer: SyncerState
    store: StoreStatus
    nodes: tuple[NodeState, ...]
    disk: DiskState


def total(streams: Sequence[StreamStorage]) -> Totals:
    """The sums over streams."""
    shipped = [stream for stream in streams if stream.ships]
    return Totals(
        streams=len(streams),
        committed=sum(stream.committed for stream in shipped),
        acknowledged=sum(stream.acknowledged for stream in shipped),
        verified=sum(stream.verified for stream in shipped),
        waiting=sum(stream.waiting for stream in shipped),
        rejected=sum(stream.rejected for stream in shipped),
        kept_local=sum(stream.committed for stream in streams if not stream.ships),
    )


@dataclass(frozen=True, slots=True)
class Judgement:
    """A verdict, why, what to do, and since when it is so (ns; 0 where that is not known)."""

    verdict: Verdict
    reason: str = ""
    remedy: str = ""
    since_ns: int = 0


def judge(streams: Sequence[StreamStorage], syncer: SyncerState, store: StoreStatus) -> Judgement:
    """The verdict. Who ships is believed before who reads: the syncer, while one runs."""
    totals = total(streams)
    if not totals.streams:
        return Judgement(Verdict.NOTHING)
    if not totals.waiting:
        return _judge_delivered(streams, totals)
    runs = syncer.pid is not None and syncer.connection is not None
    connection = syncer.connection if runs else store.connection
    said = syncer if runs else store
    # Who looks only now does not know since when; the last syncer may have said the same.
    since_ns = syncer.since_ns if syncer.connection is connection else said.since_ns
    match connection:
        case Connection.LOCAL_ONLY:
            return Judgement(Verdict.LOCAL_ONLY, said.detail, said.remedy)
        case Connection.OFFLINE:
            return Judgement(Verdict.OFFLINE, said.detail, said.remedy, since_ns)
        case Connection.TROUBLE:
            return Judgement(Verdict.PARKED, said.detail, said.remedy, since_ns)
        case Connection.STARTING if runs:
            return Judgement(Verdict.STARTING, said.detail, said.remedy)
        case _:
            return _judge_under_way(streams, runs)


def _judge_delivered(streams: Sequence[StreamStorage], totals: Totals) -> Judgement:
    if totals.rejected:
        reason = next((stream.problem for stream in streams if stream.rejected), "")
        return Judgement(Verdict.REJECTED, reason, "See them: canopy rejected list")
    if not totals.committed:
        return Judgement(Verdict.LOCAL_ONLY, "", "Ship it: canopy sync --once")
    if totals.verified >= totals.committed:
        return Judgement(Verdict.VERIFIED)
    return Judgement(Verdict.DELIVERED, "", "Prove it: canopy verify --all")


def _judge_under_way(streams: Sequence[StreamStorage], runs: bool) -> Judgement:
    waiting = [stream for stream in streams if stream.ships and stream.waiting]
    if all(stream.problem and not stream.rejected for stream in waiting):
        return Judgement(Verdict.DAMAGED, waiting[0].problem)
    if not runs:
        return Judgement(Verdict.UNATTENDED, "", "Ship them: canopy sync --once")
    return Judgement(Verdict.CATCHING_UP)
