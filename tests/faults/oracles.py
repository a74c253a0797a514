"""The oracles: everything that a keyspace holds, read by the driver alone, against what was logged.

:func:`scan` reads the tables whole with a session of its own; nothing of the product's reading is in the way.
Each oracle takes what was logged and the scan, and says in lines what is wrong: none, if all is well.
"""

from __future__ import annotations

from calendar import timegm
from collections import Counter, defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any
from uuid import UUID

from cassandra import ConsistencyLevel
from cassandra.cluster import EXEC_PROFILE_DEFAULT, Cluster, ExecutionProfile
from cassandra.policies import WhiteListRoundRobinPolicy
from helpers.streampages import recomputed

from faults.records import content
from faults.truth import Key, Truth

KIND_LOG = 1
CHUNK_RECORDS, CHUNK_PAGES = 1024, 256
WEEK_S = 7 * 24 * 3600
SCAN_SECONDS = 60
TOLD = 5
"""Findings of an oracle that are told; the others are counted."""

_CELLS = ("kind", "step", "ts", "values", "texts")
_TABLES = {
    "training_metrics": "run_id, stream, chunk, seq, kind, step, ts, values, texts, "
    + ", ".join(f"writetime({cell}) AS stamp_{cell}" for cell in _CELLS),
    "metric_pages": "run_id, stream, metric, level, chunk, page, newest, body, writetime(newest) AS stamp, "
    "writetime(body) AS stamp_body",
    "run_streams": "run_id, stream, base_us, writetime(base_us) AS stamp, records, status, acknowledged, "
    "paged_seq",
    "run_segments": "run_id, stream, segment, first_seq, last_seq, count",
    "run_metrics": "run_id, stream, metric, points",
    "training_runs": "run_id, start_time, records, acknowledged, streams",
    "runs_by_week": "run_id, week, start_time, records, acknowledged, streams",
    "run_weeks": "scope, week",
}  # fmt: skip


@dataclass(frozen=True)
class Scan:
    """The rows of every table, by its name."""

    tables: Mapping[str, Sequence[Any]] = field(default_factory=dict[str, Sequence[Any]])

    def __getitem__(self, table: str) -> Sequence[Any]:
        return self.tables[table]

    def only(self, run_id: UUID) -> Scan:
        """The rows of one run, and those of no run."""
        return replace(
            self,
            tables={
                name: [row for row in rows if getattr(row, "run_id", run_id) == run_id]
                for name, rows in self.tables.items()
            },
        )

    @cached_property
    def rows(self) -> dict[Key, list[Any]]:
        """The records' rows by (run, stream, seq)."""
        found: defaultdict[Key, list[Any]] = defaultdict(list)
        for row in self["training_metrics"]:
            found[row.run_id, row.stream, row.seq].append(row)
        return found

    @cached_property
    def bases(self) -> dict[UUID, int]:
        """What the timestamps of each stream count from, µs."""
        return {row.stream: row.base_us for row in self["run_streams"]}


class Direct:
    """A session of the driver's own at one node, past every proxy. Close it."""

    def __init__(self, endpoint: tuple[str, int]) -> None:
        host, port = endpoint
        profile = ExecutionProfile(
            WhiteListRoundRobinPolicy([host]), consistency_level=ConsistencyLevel.QUORUM,
            request_timeout=SCAN_SECONDS,
        )  # fmt: skip
        self._cluster = Cluster(
            [host], port, execution_profiles={EXEC_PROFILE_DEFAULT: profile}, protocol_version=5,
            connect_timeout=SCAN_SECONDS,
        )  # fmt: skip
        self._session = self._cluster.connect()

    def execute(self, cql: str, *values: object) -> list[Any]:
        """All rows of a statement whose placeholders are ``?``."""
        return list(self._session.execute(self._session.prepare(cql), values))

    def scan(self, keyspace: str) -> Scan:
        """Every table whole."""
        return Scan(
            {name: self.execute(f"SELECT {what} FROM {keyspace}.{name}") for name, what in _TABLES.items()}
        )

    def close(self) -> None:
        self._cluster.shutdown()

    def __enter__(self) -> Direct:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


# -- the oracles -----------------------------------------------------------------------------------------


def lost(truths: Sequence[Truth], scan: Scan) -> list[str]:
    """Every committed record has a row."""
    return [
        f"record {key} has no row" for truth in truths for key, _ in truth.records() if key not in scan.rows
    ]


def doubled(truths: Sequence[Truth], scan: Scan) -> list[str]:
    """No record has two rows, no row lies in another partition than its own, and none is of no record."""
    known = {key for truth in truths for key, _ in truth.records()}
    found = [f"record {key} has {len(rows)} rows" for key, rows in scan.rows.items() if len(rows) > 1]
    found += [f"row {key} is of no record" for key in scan.rows if key not in known]
    return found + [
        f"row {key} lies in chunk {row.chunk}"
        for key, rows in scan.rows.items()
        for row in rows
        if row.chunk != key[2] // CHUNK_RECORDS
    ]


def changed(truths: Sequence[Truth], scan: Scan) -> list[str]:
    """Every row is what was logged, to the bit."""
    return [
        f"row {key} is not what was logged"
        for truth in truths
        for key, logged in truth.records()
        for row in scan.rows.get(key, ())
        if content(row.step, row.ts, row.values or {}, row.texts or {}) != logged.content
        or row.kind != KIND_LOG
    ]


def misstamped(truths: Sequence[Truth], scan: Scan) -> list[str]:
    """Every cell of a record is stamped base + seq, of a page base + its newest seq, of the base itself
    base."""
    found = [
        f"base of {row.stream} is stamped {row.stamp}"
        for row in scan["run_streams"]
        if row.stamp != row.base_us
    ]
    for truth in truths:
        base = scan.bases.get(truth.stream_id)
        if base is None:
            found.append(f"stream {truth.stream_id} has no base")
            continue
        for key, _ in truth.records():
            for row in scan.rows.get(key, ()):
                stamps = {getattr(row, f"stamp_{cell}") for cell in _CELLS} - {None}
                if stamps != {base + key[2]}:
                    found.append(f"row {key} is stamped {stamps}, not {base + key[2]}")
    return found + [
        f"page {_page_key(row)} of {row.stream} is stamped {row.stamp}, {row.stamp_body}"
        for row in scan["metric_pages"]
        if {row.stamp, row.stamp_body} != {scan.bases.get(row.stream, 0) + row.newest}
    ]


def mispaged(truths: Sequence[Truth], scan: Scan) -> list[str]:
    """The pages are those that a recomputation from the log gives, byte for byte, each in its partition."""
    there: defaultdict[UUID, dict[tuple[str, int, int], tuple[int, bytes]]] = defaultdict(dict)
    found: list[str] = []
    for row in scan["metric_pages"]:
        if row.chunk != row.page // CHUNK_PAGES or _page_key(row) in there[row.stream]:
            found.append(f"page {_page_key(row)} of {row.stream} lies in chunk {row.chunk}")
        there[row.stream][_page_key(row)] = (row.newest, bytes(row.body))
    for truth in truths:
        have, should = there.pop(truth.stream_id, {}), recomputed(truth.directory)
        found += [
            f"page {key} of {truth.stream_id} is {'lacking' if key not in have else 'another'}"
            for key in should.keys() | have.keys()
            if should.get(key) != have.get(key)
        ]
    return found + [f"pages of {stream}, which nobody wrote" for stream in there]


def _page_key(row: Any) -> tuple[str, int, int]:
    return row.metric, row.level, row.page


def mislisted(truths: Sequence[Truth], scan: Scan) -> list[str]:
    """The list shows each run once, in its week, and that week is among the weeks."""
    runs = {truth.run_id for truth in truths}
    weeks = {row.week for row in scan["run_weeks"]}
    found: list[str] = []
    for table in ("runs_by_week", "training_runs"):
        times = Counter(row.run_id for row in scan[table])
        wrong = [run for run in runs | times.keys() if times[run] != (run in runs)]
        found += [f"run {run} is in {table} {times[run]} times" for run in wrong]
    for row in scan["runs_by_week"]:
        if row.week not in weeks or row.week != timegm(row.start_time.timetuple()) // WEEK_S:
            found.append(f"run {row.run_id} is listed in week {row.week}")
    return found


def miscounted(truths: Sequence[Truth], scan: Scan) -> list[str]:
    """Streams, segments, metrics and runs state as many records as there are, all acknowledged and paged."""
    streams = {row.stream: row for row in scan["run_streams"]}
    found = [
        f"stream {stream} is of no writer"
        for stream in streams.keys() - {truth.stream_id for truth in truths}
    ]
    of_run: Counter[UUID] = Counter()
    writers: Counter[UUID] = Counter()
    for truth in truths:
        of_run[truth.run_id] += truth.committed
        writers[truth.run_id] += 1
        found += _miscounted_stream(truth, streams.get(truth.stream_id), scan)
    for table in ("training_runs", "runs_by_week"):
        for row in scan[table]:
            stated = (row.records, row.acknowledged, row.streams)
            if stated != (of_run[row.run_id], of_run[row.run_id], writers[row.run_id]):
                found.append(f"{table} states {stated} of run {row.run_id}, not {of_run[row.run_id]}")
    return found


def _miscounted_stream(truth: Truth, stated: Any, scan: Scan) -> list[str]:
    count = truth.committed
    if stated is None:
        return [f"stream {truth.stream_id} is not stated"]
    found: list[str] = []
    if (stated.records, list(stated.acknowledged or ()), stated.paged_seq) != (count, [1, count], count):
        found.append(f"{stated} is said of {count} records")
    if stated.status == "running":
        found.append(f"stream {truth.stream_id} is still said to run")
    segments = [row for row in scan["run_segments"] if row.stream == truth.stream_id]
    seqs = [seq for row in segments for seq in range(row.first_seq, row.last_seq + 1)]
    if sorted(seqs) != list(range(1, count + 1)) or sum(row.count for row in segments) != count:
        found.append(f"the segments of {truth.stream_id} state {segments}")
    points = Counter(name for _, logged in truth.records() for name in logged.values)
    metrics = {row.metric: row.points for row in scan["run_metrics"] if row.stream == truth.stream_id}
    if metrics != points:
        found.append(f"the metrics of {truth.stream_id} state {metrics}, not {dict(points)}")
    return found


ORACLES: tuple[Callable[[Sequence[Truth], Scan], list[str]], ...] = (
    lost, doubled, changed, misstamped, mispaged, mislisted, miscounted,
)  # fmt: skip


def judge(truths: Sequence[Truth], scan: Scan) -> dict[str, list[str]]:
    """What each oracle finds, by its name; empty when all is well."""
    return {oracle.__name__: found for oracle in ORACLES if (found := oracle(truths, scan))}


def told(findings: Mapping[str, Sequence[str]]) -> str:
    """The findings in lines, the first few of each oracle."""
    lines = [f"{name}: {line}" for name, found in findings.items() for line in found[:TOLD]]
    more = sum(max(len(found) - TOLD, 0) for found in findings.values())
    return "\n".join([*lines, *([f"… and {more} more"] if more else [])])
