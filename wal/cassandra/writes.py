"""Writing the catalogue: small rows that say which runs, streams, segments and metrics there are.

Synchronous; every function raises :class:`wal.cassandra.trouble.StoreError`. Every cell carries the timestamp
that the caller gives (``stamp_us``): base + the newest seq that the row speaks of, so that a replay writes
identical cells and a row that knows more wins. Signs of life are stamped with the server's clock instead,
because they change while no record is logged. What is not known is left unset, never null.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from uuid import UUID

from cassandra.query import UNSET_VALUE

from wal.cassandra.session import Session
from wal.record import key_order, uuid7_milliseconds, week_of
from wal.source import MetricRow, RunRow, StreamRow

CURVES_IN_LIST = 4
"""Curves kept in a row of the run list: the main metric's and the next ones logged. At up to 3.7 KB each, a
list of a hundred runs stays below 2 MB."""

NAMES_IN_LIST = 256
"""Metric names kept in a row of the run list, in the order of first logging."""

METRICS_PER_BATCH = 8
"""Rows of run_metrics in one batch: with their curves they stay below 32 KiB."""

EVERY_RUN = "*"
"""The one scope of run_weeks so far: all projects."""

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)

# Names that the seed's final_loss and final_accuracy are looked up by, the first that the run has.
_LOSS_NAMES = ("val/loss", "val_loss", "validation/loss", "eval/loss", "loss", "train/loss", "train_loss")
_ACCURACY_NAMES = (
    "val/accuracy", "val_accuracy", "val/acc", "val_acc", "eval/accuracy", "accuracy", "acc",
    "train/accuracy", "train_accuracy", "train/acc", "train_acc",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class RunWrite:
    """A run as its leading stream's syncer knows it. ``row.metrics`` are in the order of first logging;
    ``main`` names the one whose curve the list shows. ``config`` and ``summary`` are JSON-like."""

    row: RunRow
    stamp_us: int
    config: Mapping[str, object] = field(default_factory=dict[str, object])
    summary: Mapping[str, object] = field(default_factory=dict[str, object])
    user_id: str | None = None
    exit_code: int | None = None
    main: str | None = None


@dataclass(frozen=True, slots=True)
class SegmentWrite:
    """A sealed or recovered segment: what ``verify`` compares with. ``digest`` is 32 hexadecimal digits."""

    run_id: UUID
    stream_id: UUID
    number: int
    first_seq: int
    last_seq: int
    count: int
    min_step: int
    max_step: int
    digest: str


class CatalogueWriter:
    """The writing half of the catalogue; see :class:`wal.cassandra.store.CassandraStore`."""

    def __init__(self, session: Session) -> None:
        self.session = session
        self.keyspace = session.settings.keyspace
        self._starts_ms: dict[UUID, int] = {}
        self._weeks_written: set[int] = set()

    # -- clocks and identities -----------------------------------------------------------------------

    def clock_us(self) -> int:
        """The server's clock, microseconds since the epoch (of millisecond resolution)."""
        rows = self.session.read("SELECT toUnixTimestamp(now()) FROM system.local")
        return int(rows[0][0]) * 1000

    def stream_base(self, run_id: UUID, stream_id: UUID) -> int | None:
        """The base of a stream's timestamps in microseconds; None when it was never registered."""
        rows = self.session.read(
            f"SELECT base_us FROM {self.keyspace}.run_streams WHERE run_id = ? AND stream = ?",
            [run_id, stream_id],
        )
        return rows[0][0] if rows else None

    def run_start_ms(self, run_id: UUID, started_ns: int) -> int:
        """When a run started, in milliseconds, the same on every machine: from a UUIDv7; else what the first
        machine wrote, else ``started_ns``. It is part of the key of ``runs_by_week``."""
        start_ms = uuid7_milliseconds(run_id) or self._starts_ms.get(run_id)
        if start_ms is None:
            rows = self.session.read(
                f"SELECT start_time FROM {self.keyspace}.training_runs WHERE run_id = ?", [run_id]
            )
            known = rows[0][0] if rows else None
            start_ms = to_milliseconds(known) if known is not None else started_ns // 1_000_000
            self._starts_ms[run_id] = start_ms
        return start_ms

    def deleted_at_us(self, run_id: UUID) -> int | None:
        """When a user deleted the run (microseconds since the epoch); None when nobody did. A syncer asks
        before it sends a run again."""
        rows = self.session.read(
            f"SELECT deleted_at FROM {self.keyspace}.training_runs WHERE run_id = ?", [run_id]
        )
        deleted = rows[0][0] if rows else None
        return to_milliseconds(deleted) * 1000 if deleted is not None else None

    # -- streams -------------------------------------------------------------------------------------

    def register_stream(self, stream: StreamRow, base_us: int) -> None:
        """Say once what never changes of a stream; its cells are stamped ``base_us``."""
        self._insert(
            "run_streams",
            {
                "run_id": stream.run_id, "stream": stream.stream_id, "rank": stream.rank,
                "host": stream.host, "pid": stream.pid, "after_stream": stream.after, "base_us": base_us,
                "started_ns": stream.started_ns,
            },
            base_us,
        )  # fmt: skip

    def write_stream_state(self, stream: StreamRow, stamp_us: int) -> None:
        """What changes as a stream goes on: base + newest seq, and base + last seq + 1 for its end."""
        self._insert(
            "run_streams",
            {
                "run_id": stream.run_id, "stream": stream.stream_id, "status": stream.state.value,
                "exit_code": stream.exit_code, "ended_ns": stream.ended_ns, "last_ts": stream.last_ts_ns,
                "records": stream.records, "first_step": stream.first_step, "last_step": stream.last_step,
            },
            stamp_us,
        )  # fmt: skip

    def beat_stream(
        self, run_id: UUID, stream_id: UUID, acknowledged: Sequence[tuple[int, int]], at_us: int
    ) -> None:
        """A sign of life (the server's clock) and the acknowledged seq ranges. ``at_us`` is the server's
        clock as the caller knows it, growing from call to call."""
        flat = [seq for pair in acknowledged for seq in pair]
        self.session.write(
            f"INSERT INTO {self.keyspace}.run_streams (run_id, stream, heartbeat, acknowledged) "
            "VALUES (?, ?, toTimestamp(now()), ?) USING TIMESTAMP ?",
            [run_id, stream_id, flat, at_us],
        )

    def write_paged(
        self, run_id: UUID, stream_id: UUID, base_us: int, *,
        shift: int, paged_seq: int, coarse_seq: int, late_seq: int,
    ) -> None:  # fmt: skip
        """How far the pages of a stream go here; each cell is stamped base + the seq that it goes to."""
        ids = {"run_id": run_id, "stream": stream_id}
        paged = {"paged_shift": shift, "paged_seq": paged_seq}
        coarse = {"coarse_seq": coarse_seq, "late_seq": late_seq}
        self.session.write_together(
            self._insertion("run_streams", {**ids, **columns}, base_us + seq)
            for columns, seq in ((paged, paged_seq), (coarse, coarse_seq))
        )

    def write_segment(self, segment: SegmentWrite, stamp_us: int) -> None:
        """A sealed segment's manifest."""
        self._insert(
            "run_segments",
            {
                "run_id": segment.run_id, "stream": segment.stream_id, "segment": segment.number,
                "first_seq": segment.first_seq, "last_seq": segment.last_seq, "count": segment.count,
                "min_step": segment.min_step, "max_step": segment.max_step, "digest": segment.digest,
            },
            stamp_us,
        )  # fmt: skip

    def write_metrics(
        self, run_id: UUID, stream_id: UUID, metrics: Sequence[MetricRow], stamp_us: int
    ) -> None:
        """The metrics of one stream: ``summary`` is of it alone, ``order`` the position by first logging."""
        for start in range(0, len(metrics), METRICS_PER_BATCH):
            self.session.write_together(
                self._insertion("run_metrics", _metric_columns(run_id, stream_id, metric), stamp_us)
                for metric in metrics[start : start + METRICS_PER_BATCH]
            )

    # -- runs ----------------------------------------------------------------------------------------

    def write_run(self, run: RunWrite) -> None:
        """The run in ``training_runs`` and in the list. Called by the leading stream's syncer only."""
        row = run.row
        start_ms = self.run_start_ms(row.run_id, row.started_ns)
        week = week_of(start_ms)
        columns = _run_columns(run, start_ms)
        final = {name: metric.summary.last for name, metric in row.metrics.items()}
        self._insert(
            "training_runs",
            {
                **columns, "user_id": run.user_id, "exit_code": run.exit_code,
                "dataset_name": _dataset_name(run.config), "config_json": _json(run.config),
                "summary_json": _json(run.summary), "final_loss": _first(final, _LOSS_NAMES),
                "final_accuracy": _first(final, _ACCURACY_NAMES),
            },
            run.stamp_us,
        )  # fmt: skip
        if (
            week not in self._weeks_written
        ):  # before the row: a list that shows the week finds it empty at worst
            self._insert("run_weeks", {"scope": EVERY_RUN, "week": week}, 0)
            self._weeks_written.add(week)
        self._insert("runs_by_week", {**columns, "week": week, **_listed(run)}, run.stamp_us)

    def beat_run(self, run_id: UUID, started_ns: int, acknowledged: int, at_us: int) -> None:
        """A sign of life of a run, and how many of its records are acknowledged. See :meth:`beat_stream`."""
        start_ms = self.run_start_ms(run_id, started_ns)
        self.session.write(
            f"INSERT INTO {self.keyspace}.training_runs (run_id, heartbeat, acknowledged) "
            "VALUES (?, toTimestamp(now()), ?) USING TIMESTAMP ?",
            [run_id, acknowledged, at_us],
        )
        self.session.write(
            f"INSERT INTO {self.keyspace}.runs_by_week (week, start_time, run_id, heartbeat, acknowledged) "
            "VALUES (?, ?, ?, toTimestamp(now()), ?) USING TIMESTAMP ?",
            [week_of(start_ms), from_milliseconds(start_ms), run_id, acknowledged, at_us],
        )

    def _insert(self, table: str, columns: Mapping[str, object], stamp_us: int) -> None:
        self.session.write(*self._insertion(table, columns, stamp_us))

    def _insertion(
        self, table: str, columns: Mapping[str, object], stamp_us: int
    ) -> tuple[str, list[object]]:
        names, marks = ", ".join(columns), ", ".join("?" * len(columns))
        values = [UNSET_VALUE if value is None else value for value in columns.values()]
        cql = f"INSERT INTO {self.keyspace}.{table} ({names}) VALUES ({marks}) USING TIMESTAMP ?"
        return cql, [*values, stamp_us]


def _metric_columns(run_id: UUID, stream_id: UUID, metric: MetricRow) -> dict[str, object]:
    summary, best = metric.summary, metric.best
    finite = summary.n > summary.non_finite
    return {
        "run_id": run_id, "metric": metric.name, "stream": stream_id, "position": metric.order,
        "goal": metric.goal, "points": summary.n, "last": summary.last, "last_step": summary.last_step,
        "min": summary.min if finite else None, "min_step": summary.min_step if finite else None,
        "max": summary.max if finite else None, "max_step": summary.max_step if finite else None,
        "best": best[0] if best else None, "best_step": best[1] if best else None,
        "summary": summary.pack(),
    }  # fmt: skip


def _run_columns(run: RunWrite, start_ms: int) -> dict[str, object]:
    """The columns that training_runs and runs_by_week share."""
    row = run.row
    ended = from_milliseconds(row.ended_ns // 1_000_000) if row.ended_ns is not None else None
    best = {name: metric.best[0] for name, metric in row.metrics.items() if metric.best is not None}
    return {
        "run_id": row.run_id, "project": row.project, "name": row.name, "status": row.state.value,
        "host": row.host, "start_time": from_milliseconds(start_ms), "end_time": ended,
        "started_ns": row.started_ns, "ended_ns": row.ended_ns, "last_ts": row.last_ts_ns, "step": row.step,
        "records": row.records, "total_steps": row.total_steps, "streams": row.streams,
        "tags": list(row.tags), "notes": row.notes, "run_group": row.group, "job_type": row.job_type,
        "main_metric": run.main, "final": _sorted({n: m.summary.last for n, m in row.metrics.items()}),
        "best": _sorted(best), "revision": run.stamp_us,
    }  # fmt: skip


def _listed(run: RunWrite) -> dict[str, object]:
    """What the list draws: the first curves, all that is needed to show them, and the names of the others."""
    metrics = run.row.metrics
    names = sorted(metrics, key=lambda name: metrics[name].order)
    drawn = key_order(sorted(names, key=lambda name: name != run.main)[:CURVES_IN_LIST])
    return {
        "metrics": names[:NAMES_IN_LIST],
        "goals": {name: goal for name in drawn if (goal := metrics[name].goal) is not None},
        "curves": {name: metrics[name].summary.pack() for name in drawn},
    }


def _sorted(values: Mapping[str, float]) -> dict[str, float]:
    """In UTF-8 order: two frozen maps are one cell only if they are byte-equal."""
    return {name: values[name] for name in key_order(values)}


def _first(values: Mapping[str, float], names: Sequence[str]) -> float | None:
    return next((values[name] for name in names if name in values), None)


def _dataset_name(config: Mapping[str, object]) -> str | None:
    """The seed's column: what the config calls the data set, under the names in common use."""
    for key in ("dataset_name", "dataset", "data"):
        value = config.get(key)
        if isinstance(value, Mapping):
            value = value.get("name")  # pyright: ignore[reportUnknownMemberType]
        if isinstance(value, str):
            return value
    return None


def _json(value: Mapping[str, object]) -> str:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))


def to_milliseconds(moment: datetime) -> int:
    """A timestamp column as milliseconds: the driver gives naive datetimes that mean UTC."""
    return (moment.replace(tzinfo=UTC) - _EPOCH) // timedelta(milliseconds=1)


def from_milliseconds(milliseconds: int) -> datetime:
    """Milliseconds as what the driver writes into a timestamp column, exactly."""
    return _EPOCH + timedelta(milliseconds=milliseconds)
