"""CQL for people: statements that read one run, ready to paste, and running one that only reads."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from cassandra.query import SimpleStatement

from wal.cassandra.session import Session
from wal.cassandra.tables import CHUNK_BITS, TABLES
from wal.cassandra.trouble import Action, StoreError, Trouble, keyspace_missing, server_text
from wal.record import uuid7_milliseconds, week_of
from wal.segments.meta import starts_of
from wal.source import RunDetail, StreamRow, TopologyRow

LATEST_RECORDS = 10


@dataclass(frozen=True, slots=True)
class Statement:
    """One statement, without its semicolon, and what it shows."""

    shows: str
    cql: str


class NotReadOnly(ValueError):
    """A statement that is not run. The message is one sentence that says why."""


# -- printing ----------------------------------------------------------------------------------------


def statements(
    keyspace: str, detail: RunDetail, topologies: Sequence[TopologyRow] = (), main: str | None = None
) -> list[Statement]:
    """Statements that read this run with any CQL client. ``main`` names the metric to show."""
    run_id = detail.row.run_id
    found = _of_the_run(keyspace, detail)
    stream = _newest_stream(detail.streams)
    if stream is not None and stream.records > 0:
        found += _of_records(keyspace, run_id, stream, _metric(detail, main))
    found.append(
        Statement(
            "the topologies, newest first",
            "SELECT ts, step, stream, seq, hidden_units, total_parameters, digest, pieces\n"
            f"  FROM {keyspace}.network_topology WHERE run_id = {run_id} LIMIT {LATEST_RECORDS}",
        )
    )
    if topologies:
        newest = topologies[0]
        found.append(
            Statement(
                f"the body of the one at step {newest.step}: its pieces joined are a digest and zlib'd JSON",
                f"SELECT piece, body FROM {keyspace}.topology_bodies\n"
                f"  WHERE run_id = {run_id} AND digest = '{newest.digest}'",
            )
        )
    return found


def _of_the_run(keyspace: str, detail: RunDetail) -> list[Statement]:
    run_id = detail.row.run_id
    # The week of a user's own id stands in no id: the list is keyed by the first start that was written.
    start_ms = uuid7_milliseconds(run_id) or detail.row.started_ns // 1_000_000
    return [
        Statement("the run", f"SELECT * FROM {keyspace}.training_runs WHERE run_id = {run_id}"),
        Statement(
            "every run of its week, newest first",
            "SELECT start_time, run_id, project, name, status, step, final\n"
            f"  FROM {keyspace}.runs_by_week WHERE week = {week_of(start_ms)}",
        ),
        Statement(
            "its metrics: last and best values",
            f"SELECT metric, stream, points, last, best, best_step FROM {keyspace}.run_metrics\n"
            f"  WHERE run_id = {run_id}",
        ),
        Statement(
            "its streams: one per process that wrote",
            "SELECT stream, rank, host, status, records, acknowledged, heartbeat\n"
            f"  FROM {keyspace}.run_streams WHERE run_id = {run_id}",
        ),
    ]


def _of_records(keyspace: str, run_id: UUID, stream: StreamRow, metric: str | None) -> list[Statement]:
    last_chunk = _last_seq(stream) >> CHUNK_BITS
    partition = f"WHERE run_id = {run_id} AND stream = {stream.stream_id}\n    AND chunk = {last_chunk}"
    chunks = "chunk 0 is the only one" if last_chunk == 0 else f"chunks 0 … {last_chunk} hold all"
    table = f"{keyspace}.training_metrics"
    found = [
        Statement(
            f"the latest {LATEST_RECORDS} records of its newest stream ({chunks})",
            f"SELECT seq, step, ts, epoch, values, texts\n  FROM {table}\n  {partition}\n"
            f"  ORDER BY seq DESC LIMIT {LATEST_RECORDS}",
        ),
        Statement(
            f"one step (ALLOW FILTERING looks through one chunk of at most {1 << CHUNK_BITS} records)",
            f"SELECT seq, step, ts, values\n  FROM {table}\n  {partition}\n"
            f"    AND step = {stream.last_step} ALLOW FILTERING",
        ),
    ]
    if metric is not None:
        element = f"values[{_literal(metric)}]"
        found.append(
            Statement(f"one metric ({chunks})", f"SELECT seq, step, {element}\n  FROM {table}\n  {partition}")
        )
    return found


def _newest_stream(streams: Sequence[StreamRow]) -> StreamRow | None:
    """The newest stream of the lowest rank: the one that stands for the run."""
    starts = starts_of(streams)
    return max(streams, key=lambda stream: (-stream.rank, starts[stream.stream_id]), default=None)


def _last_seq(stream: StreamRow) -> int:
    return stream.acked[-1][1] if stream.acked else stream.records


def _metric(detail: RunDetail, main: str | None) -> str | None:
    """The main metric, else the first whose name a terminal can print as it is: CQL knows no escapes."""
    names = sorted(detail.metrics, key=lambda name: (name != main, detail.metrics[name].order))
    return next((name for name in names if name.isprintable() and len(name) <= 200), None)


def _literal(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"


# -- running -----------------------------------------------------------------------------------------

_TOKENS = re.compile(
    r"(?P<text>'(?:[^']|'')*'|\"(?:[^\"]|\"\")*\"|\$\$.*?\$\$)"
    r"|(?P<comment>--[^\n]*|//[^\n]*|/\*.*?\*/)"
    r"|(?P<open>['\"]|/\*|\$\$)"
    r"|(?P<end>;)"
    r"|(?P<other>.)",
    re.DOTALL,
)
_READING = ("SELECT", "DESCRIBE", "DESC")


def read_only(statement: str) -> str:
    """The one statement in ``statement``, without comments and semicolon. Raises :class:`NotReadOnly` unless
    it is a single SELECT or DESCRIBE; whatever is in doubt is refused."""
    kept: list[str] = []
    ended = False
    for token in _TOKENS.finditer(statement):
        text = token[0]
        if token["open"]:
            raise NotReadOnly(f"the statement has an opening {text} without an end.")
        if token["comment"]:
            kept.append(" ")
        elif token["end"]:
            ended = True
        elif ended and not text.isspace():
            raise NotReadOnly("one statement at a time, please: there is more after the semicolon.")
        else:
            kept.append(text)
    plain = "".join(kept).strip()
    word = re.match(r"\w*", plain)
    if not plain:
        raise NotReadOnly("there is no statement.")
    if word is None or word[0].upper() not in _READING:
        raise NotReadOnly(f"only SELECT and DESCRIBE are run here, not {plain.split()[0][:20]!r}.")
    return plain


@dataclass(frozen=True, slots=True)
class Answer:
    """Rows of a statement. ``more`` says that there were more than were asked for."""

    columns: tuple[str, ...]
    rows: tuple[tuple[Any, ...], ...]
    more: bool = False


def run(session: Session, statement: str, limit: int) -> Answer:
    """Run a statement that only reads; unqualified tables are those of the settings' keyspace.

    Raises :class:`NotReadOnly` and :class:`StoreError`.
    """
    query = SimpleStatement(read_only(statement), fetch_size=min(limit + 1, 1_000), is_idempotent=True)
    _enter_keyspace(session)
    rows: list[tuple[Any, ...]] = []
    try:
        result = session.driver.execute(query, timeout=session.settings.request_timeout)
        columns = tuple(result.column_names or ())
        for row in result:
            if len(rows) == limit:
                return Answer(columns, tuple(rows), more=True)
            rows.append(tuple(row))
    except Exception as error:
        raise _refusal(session, error) from error
    return Answer(columns, tuple(rows))


def _refusal(session: Session, error: Exception) -> StoreError:
    """What went wrong with a statement that the user wrote: the server's own words say what is wrong in it,
    unless it asks for one of our tables and none was made yet."""
    found = session.trouble(error)
    if found.trouble.kind not in ("schema", "keyspace", "statement"):
        return found
    said = server_text(error)
    if "No keyspace has been specified" in said:
        return StoreError(keyspace_missing(session.endpoint, session.settings.keyspace))
    missing = re.search(r"(?i)(?:table|keyspace) '?(\w+)'? does not exist", said)
    if missing and missing[1] in (session.settings.keyspace, *(table.name for table in TABLES)):
        return found
    sentence = f"Cassandra at {session.endpoint.label} rejected the statement: {said}."
    remedy = 'What there is: canopy cql -e "DESCRIBE TABLES"'
    return StoreError(Trouble(Action.STOP, "statement", sentence, remedy))


def _enter_keyspace(session: Session) -> None:
    try:
        session.driver.set_keyspace(session.settings.keyspace)
    except Exception as error:
        trouble = session.trouble(error).trouble
        if trouble.kind != "keyspace":  # without one, qualified names work all the same
            raise StoreError(trouble) from error
