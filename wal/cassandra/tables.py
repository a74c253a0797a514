"""The tables as data: the one description that DDL is made from and existing tables are compared with."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

SCHEMA_VERSION = 2
"""Grows with every change of a table. A store of a newer version is not written and not read; one of an older
version is brought up to date by :func:`wal.cassandra.schema.create`. 2: pages (metric_pages, and how far they
go in run_streams)."""

CHUNK_BITS = 10
"""A partition of training_metrics holds 1,024 records: about 150 KB with 8 metrics, and one read of a chart
asks for whole partitions."""

PAGE_CHUNK_BITS = 8
"""A partition of metric_pages holds 256 pages, 16,384 bucket places: at most about 2 MB, and all that a chart
reads of a level lies in one or two of them."""

BODY_PIECE_BYTES = 256 * 1024
"""A topology's compressed body is cut into cells of at most this size: larger ones load the node's heap."""


Kept = Literal["metrics", "topology", "runs"] | None


@dataclass(frozen=True, slots=True)
class Table:
    """One table. ``clustering`` is (column, descending); ``kept`` names the ttl setting of its rows.
    ``later``: the columns that a version after the table's first has added, and by which version."""

    name: str
    columns: tuple[tuple[str, str], ...]
    partition: tuple[str, ...]
    clustering: tuple[tuple[str, bool], ...] = ()
    kept: Kept = "runs"
    later: Mapping[str, int] = field(default_factory=dict[str, int])

    def ddl(self, keyspace: str, ttl_s: int = 0) -> str:
        """The CREATE TABLE statement."""
        lines = [f"  {name} {kind}," for name, kind in self.columns]
        key = ", ".join([f"({', '.join(self.partition)})", *(name for name, _ in self.clustering)])
        text = "\n".join([f"CREATE TABLE IF NOT EXISTS {keyspace}.{self.name} (", *lines])
        text += f"\n  PRIMARY KEY ({key})\n)"
        options: list[str] = []
        if self.clustering:
            order = ", ".join(f"{name} {'DESC' if down else 'ASC'}" for name, down in self.clustering)
            options.append(f"CLUSTERING ORDER BY ({order})")
        if ttl_s:
            options.append(f"default_time_to_live = {ttl_s}")
        return text + (" WITH " + "\n  AND ".join(options) if options else "")


def _table(
    name: str, columns: str, *key: str, kept: Kept = "runs", later: Mapping[str, int] | None = None
) -> Table:
    """``columns`` as in CQL, one a line; ``key`` the partition's columns in one text, then the clustering
    columns, a leading ``-`` for descending."""
    lines = [line.split(maxsplit=1) for line in columns.splitlines() if line.strip()]
    described = tuple((name, kind.strip()) for name, kind in lines)
    clustering = tuple((part.lstrip("-"), part.startswith("-")) for part in key[1:])
    return Table(name, described, tuple(key[0].split()), clustering, kept, later or {})


# What the run list shows; training_runs holds the same and more, so that one run is one small read.
_RUN_COLUMNS = """
    run_id uuid
    project text
    name text
    status text
    host text
    start_time timestamp
    end_time timestamp
    started_ns bigint
    ended_ns bigint
    last_ts bigint
    heartbeat timestamp
    step bigint
    records bigint
    acknowledged bigint
    total_steps bigint
    streams int
    tags frozen<list<text>>
    notes text
    run_group text
    job_type text
    main_metric text
    final frozen<map<text, double>>
    best frozen<map<text, double>>
    revision bigint
    deleted_at timestamp
"""

TRAINING_METRICS = _table(
    "training_metrics",
    """
    run_id uuid
    stream uuid
    chunk int
    seq bigint
    kind tinyint
    step bigint
    ts bigint
    epoch int
    values frozen<map<text, double>>
    texts frozen<map<text, text>>
    """,
    "run_id stream chunk", "seq", kept="metrics",
)  # fmt: skip

METRIC_PAGES = _table(
    "metric_pages",
    """
    run_id uuid
    stream uuid
    metric text
    level int
    chunk bigint
    page bigint
    newest bigint
    body blob
    """,
    "run_id stream metric level chunk", "page", kept="metrics",
)  # fmt: skip

NETWORK_TOPOLOGY = _table(
    "network_topology",
    """
    run_id uuid
    ts bigint
    stream uuid
    seq bigint
    step bigint
    input_size int
    output_size int
    hidden_units int
    total_parameters bigint
    digest text
    pieces int
    bytes bigint
    """,
    "run_id", "-ts", "-stream", "-seq", kept="topology",
)  # fmt: skip

TOPOLOGY_BODIES = _table(
    "topology_bodies",
    """
    run_id uuid
    digest text
    piece int
    body blob
    """,
    "run_id digest", "piece", kept="topology",
)  # fmt: skip

TRAINING_RUNS = _table(
    "training_runs",
    _RUN_COLUMNS
    + """
    user_id text
    exit_code int
    dataset_name text
    config_json text
    summary_json text
    final_loss double
    final_accuracy double
    """,
    "run_id",
)

RUNS_BY_WEEK = _table(
    "runs_by_week",
    "    week int\n" + _RUN_COLUMNS.strip("\n") + """
    metrics frozen<list<text>>
    goals frozen<map<text, text>>
    curves frozen<map<text, blob>>
    """,
    "week", "-start_time", "-run_id",
)  # fmt: skip

RUN_WEEKS = _table("run_weeks", "    scope text\n    week int", "scope", "-week")

RUN_STREAMS = _table(
    "run_streams",
    """
    run_id uuid
    stream uuid
    rank int
    host text
    pid int
    after_stream uuid
    base_us bigint
    started_ns bigint
    ended_ns bigint
    status text
    exit_code int
    heartbeat timestamp
    last_ts bigint
    records bigint
    first_step bigint
    last_step bigint
    acknowledged frozen<list<bigint>>
    paged_shift int
    paged_seq bigint
    coarse_seq bigint
    late_seq bigint
    """,
    "run_id", "stream", later=dict.fromkeys(("paged_shift", "paged_seq", "coarse_seq", "late_seq"), 2),
)  # fmt: skip

RUN_SEGMENTS = _table(
    "run_segments",
    """
    run_id uuid
    stream uuid
    segment int
    first_seq bigint
    last_seq bigint
    count bigint
    min_step bigint
    max_step bigint
    digest text
    """,
    "run_id stream", "segment",
)  # fmt: skip

RUN_METRICS = _table(
    "run_metrics",
    """
    run_id uuid
    metric text
    stream uuid
    position int
    goal text
    points bigint
    last double
    last_step bigint
    min double
    min_step bigint
    max double
    max_step bigint
    best double
    best_step bigint
    summary blob
    """,
    "run_id", "metric", "stream",
)  # fmt: skip

SCHEMA_META = _table("schema_meta", "    k text\n    v text", "k", kept=None)

TABLES = (
    TRAINING_METRICS, METRIC_PAGES, NETWORK_TOPOLOGY, TOPOLOGY_BODIES, TRAINING_RUNS, RUNS_BY_WEEK,
    RUN_WEEKS, RUN_STREAMS, RUN_SEGMENTS, RUN_METRICS, SCHEMA_META,
)  # fmt: skip
