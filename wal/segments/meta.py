"""What a segment says about itself: the run, the stream, the seal and the end. Standard library only.

Each of these is one row of a segment's ``meta`` table, its value JSON. Unknown keys inside a value are
ignored, so that a later version of the same format may add some.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from types import MappingProxyType
from typing import Any, NamedTuple, Protocol
from uuid import UUID

from wal.segments.plain import clean


class LogError(Exception):
    """The log cannot be started. The message is one sentence that says what happened and what to do."""


class CorruptSegment(ValueError):
    """A segment that cannot be read. The message names the file and says what is wrong."""


class PrunedSegment(Exception):
    """Log records were asked for that were pruned: of their segment only its :class:`Receipt` is left. It is
    no damage, and nobody may take it for an empty range. The message names the file and where they are."""


UNSOUND = (ValueError, KeyError, TypeError, AttributeError, OverflowError, RecursionError)
"""What reading JSON raises that says something else than we write: no number, no map, nested without end."""


class RunInfo(NamedTuple):
    """What the user said about a run. ``config`` is JSON-like, ``metrics`` maps a metric's name to its
    ``{"goal": "min" | "max" | None, "step_metric": str | None}``. ``version`` grows with each change."""

    run_id: UUID
    project: str
    name: str
    user_id: str | None = None
    group: str = ""
    job_type: str = ""
    tags: tuple[str, ...] = ()
    notes: str = ""
    config: Mapping[str, object] = MappingProxyType({})
    metrics: Mapping[str, Mapping[str, str | None]] = MappingProxyType({})
    version: int = 1


class StreamInfo(NamedTuple):
    """One writer process' lifetime in a run.

    ``start_ticks`` is the process' start in clock ticks since boot (0 where that cannot be known), ``after``
    the stream that a resume goes on from, ``parent`` the stream of the process that forked or spawned this
    one within the same run: such a worker's end is not the run's end.
    """

    stream_id: UUID
    started_ns: int
    host: str
    boot_id: str
    pid: int
    start_ticks: int
    rank: int
    after: UUID | None
    parent: UUID | None
    mode: str
    cwd: str
    sqlite: str


class Started(Protocol):
    """A stream, as far as it says when it began."""

    @property
    def stream_id(self) -> UUID: ...
    @property
    def started_ns(self) -> int: ...
    @property
    def after(self) -> UUID | None: ...


def starts_of(streams: Iterable[Started]) -> dict[UUID, int]:
    """When each of a run's streams began, ns since the epoch: one that goes on from another began after it,
    whatever the clocks of the two said."""
    known = {stream.stream_id: stream for stream in streams}
    starts: dict[UUID, int] = {}
    for stream in known.values():
        chain: dict[UUID, Started] = {}
        one: Started | None = stream
        while one is not None and one.stream_id not in starts and one.stream_id not in chain:
            chain[one.stream_id] = one
            one = known.get(one.after) if one.after is not None else None
        for one in reversed(chain.values()):
            before = starts.get(one.after) if one.after is not None else None
            starts[one.stream_id] = one.started_ns if before is None else max(one.started_ns, before + 1)
    return starts


class Seal(NamedTuple):
    """Written once a segment takes no more records. ``digest`` is 32 hexadecimal digits of
    :func:`wal.record.digest`, ``dropped`` the calls that the segment's gap records stand for."""

    last_seq: int
    count: int  # pyright: ignore[reportIncompatibleMethodOverride] - hides the count() of tuples
    digest: str
    min_step: int
    max_step: int
    dropped: int


class End(NamedTuple):
    """How a stream ended: in its last segment only. ``state`` is ``"done"`` or ``"failed"``."""

    state: str
    exit_code: int
    ended_ns: int
    last_seq: int


class Receipt(NamedTuple):
    """What a segment says whose log records were pruned: they are in the Cassandra named ``destination``
    (:func:`wal.cassandra.place.identity`), with the timestamps ``base_us`` + seq, µs. ``last_step`` is of the
    segment's newest ``log()`` call, None without one."""

    destination: str
    base_us: int
    last_step: int | None
    pruned_ns: int


class SegmentMeta(NamedTuple):
    """Everything but the records. ``seal`` and ``end`` are None while the segment is open, ``receipt`` is as
    long as it was not pruned."""

    number: int
    first_seq: int
    run: RunInfo
    stream: StreamInfo
    seal: Seal | None
    end: End | None
    receipt: Receipt | None = None


class Limits(NamedTuple):
    """When a segment is full, and how much is kept in memory while the disk takes nothing."""

    records: int = 8_000
    """Records per segment: sealing one takes about 0.2 s of background work."""
    wal_bytes: int = 16 << 20
    """Size of a live ``-wal``: what a reader must index when it opens a crashed segment."""
    age_seconds: float = 3600.0
    """A slow run still gets sealed, digested files every hour."""
    spill_bytes: int = 64 << 20
    """Calls kept in memory while they cannot be committed."""
    tick_seconds: float = 1.0
    """Period of the background thread: bounds what a power loss can take."""
    stop_seconds: float = 20.0
    """How long the end of a stream waits for a disk that hangs: less than the 30 s that a scheduler leaves
    between SIGTERM and SIGKILL."""


# -- JSON -------------------------------------------------------------------------------------------


def _dump(value: Mapping[str, object]) -> str:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))


def dump_run(run: RunInfo) -> str:
    """The ``run`` row's value."""
    return _dump(
        {
            "run_id": str(run.run_id), "project": clean(run.project), "name": clean(run.name),
            "user_id": clean(run.user_id), "group": clean(run.group), "job_type": clean(run.job_type),
            "tags": clean(run.tags), "notes": clean(run.notes), "config": clean(run.config),
            "metrics": clean(run.metrics), "version": run.version,
        }
    )  # fmt: skip


def dump_stream(stream: StreamInfo) -> str:
    """The ``stream`` row's value."""
    return _dump(
        {
            "stream_id": str(stream.stream_id), "started_ns": stream.started_ns, "host": clean(stream.host),
            "boot_id": stream.boot_id, "pid": stream.pid, "start_ticks": stream.start_ticks,
            "rank": stream.rank, "after": str(stream.after) if stream.after else None,
            "parent": str(stream.parent) if stream.parent else None, "mode": stream.mode,
            "cwd": clean(stream.cwd), "sqlite": stream.sqlite,
        }
    )  # fmt: skip


def dump_segment(number: int, first_seq: int) -> str:
    """The ``segment`` row's value: with it a pre-made file becomes part of the stream."""
    return _dump({"number": number, "first_seq": first_seq})


def dump_seal(seal: Seal) -> str:
    """The ``seal`` row's value."""
    return _dump(seal._asdict())


def dump_end(end: End) -> str:
    """The ``end`` row's value."""
    return _dump(end._asdict())


def dump_receipt(receipt: Receipt) -> str:
    """The ``receipt`` row's value."""
    return _dump(receipt._asdict())


def load_meta(rows: Mapping[str, str]) -> SegmentMeta:
    """The meta of a segment from its rows. Raises one of :data:`UNSOUND` when it cannot be one."""
    segment, run, stream = (_load(rows[key]) for key in ("segment", "run", "stream"))
    if "receipt" in rows and "seal" not in rows:
        raise ValueError("a receipt of what was never sealed")
    return SegmentMeta(
        number=int(segment["number"]),
        first_seq=int(segment["first_seq"]),
        run=RunInfo(
            run_id=UUID(run["run_id"]), project=str(run["project"]), name=str(run["name"]),
            user_id=run.get("user_id"), group=str(run.get("group", "")),
            job_type=str(run.get("job_type", "")), tags=tuple(map(str, run.get("tags", ()))),
            notes=str(run.get("notes", "")), config=dict(run.get("config", {})),
            metrics=dict(run.get("metrics", {})), version=int(run.get("version", 1)),
        ),
        stream=StreamInfo(
            stream_id=UUID(stream["stream_id"]), started_ns=int(stream["started_ns"]),
            host=str(stream["host"]), boot_id=str(stream["boot_id"]), pid=int(stream["pid"]),
            start_ticks=int(stream["start_ticks"]), rank=int(stream["rank"]),
            after=_uuid(stream.get("after")), parent=_uuid(stream.get("parent")),
            mode=str(stream.get("mode", "")), cwd=str(stream.get("cwd", "")),
            sqlite=str(stream.get("sqlite", "")),
        ),
        seal=_load_seal(rows.get("seal")),
        end=_load_end(rows.get("end")),
        receipt=_load_receipt(rows.get("receipt")),
    )  # fmt: skip


def _load(text: str) -> dict[str, Any]:
    value = json.loads(text)
    if not isinstance(value, dict):
        raise TypeError("not a JSON object")
    return value


def _uuid(text: str | None) -> UUID | None:
    return UUID(text) if text else None


def _load_seal(text: str | None) -> Seal | None:
    if text is None:
        return None
    value = _load(text)
    numbers = {name: int(value[name]) for name in Seal._fields if name != "digest"}
    return Seal(digest=str(value["digest"]), **numbers)


def _load_end(text: str | None) -> End | None:
    if text is None:
        return None
    value = _load(text)
    numbers = {name: int(value[name]) for name in End._fields if name != "state"}
    return End(state=str(value["state"]), **numbers)


def _load_receipt(text: str | None) -> Receipt | None:
    if text is None:
        return None
    value = _load(text)
    step = value["last_step"]
    return Receipt(
        destination=str(value["destination"]), base_us=int(value["base_us"]),
        last_step=None if step is None else int(step), pruned_ns=int(value["pruned_ns"]),
    )  # fmt: skip
