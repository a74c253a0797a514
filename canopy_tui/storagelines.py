"""Where the records are, as lines: the verdict, the streams, the nodes, the syncer. Pure.

``canopy status`` prints them and the Storage tab shows them.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from canopy_tui import format as fmt
from canopy_tui.listing import BAD_STATES, Piece, state_text
from canopy_tui.runlines import Line, wrapped
from canopy_tui.status import clock
from wal.reading.storage import NodeState, StorageReport, StreamStorage, Verdict
from wal.source import RunRow

LABEL_WIDTH = 11
"""Cells of the name of a fact."""

LONGEST_NAME = 28
"""Cells of a run's name, where there is room."""

_BAD = (Verdict.OFFLINE, Verdict.PARKED, Verdict.REJECTED, Verdict.DAMAGED, Verdict.UNATTENDED)


# -- the verdict ------------------------------------------------------------------------------------


def sentence(report: StorageReport) -> str:
    """The verdict: ``all 1,204,331 records delivered and verified``."""
    totals = report.totals
    safe = f"{fmt.plural(totals.waiting, 'record')} safe on disk"
    since = f" {fmt.duration(report.taken_ns - report.since_ns)}" if report.since_ns else ""
    match report.verdict:
        case Verdict.NOTHING:
            return "the log holds no runs"
        case Verdict.VERIFIED:
            return f"all {fmt.plural(totals.committed, 'record')} delivered and verified"
        case Verdict.DELIVERED:
            verified = (
                f"{fmt.count(totals.verified)} verified so far" if totals.verified else "none verified yet"
            )
            return f"all {fmt.plural(totals.committed, 'record')} delivered, {verified}"
        case Verdict.CATCHING_UP:
            left = f", {fmt.duration(int(report.eta_s * 1e9))} left" if report.eta_s else ""
            of_all = f"{fmt.count(totals.waiting)} of {fmt.plural(totals.committed, 'record')}"
            return f"delivering: {of_all} on the way{left}"
        case Verdict.STARTING:
            return f"Cassandra is starting, {safe}"
        case Verdict.UNATTENDED:
            return f"no syncer runs, {safe}"
        case Verdict.OFFLINE:
            return f"offline{since}, {safe}"
        case Verdict.PARKED:
            return f"parked{since}, {safe}: {fmt.clean(report.reason, _LONGEST)}"
        case Verdict.LOCAL_ONLY:
            return f"local only, {fmt.plural(totals.waiting + totals.kept_local, 'record')} safe on disk"
        case Verdict.REJECTED:
            refused = fmt.plural(totals.rejected, "record")
            return f"{refused} rejected by the server, the other {fmt.count(totals.acknowledged)} delivered"
        case Verdict.DAMAGED:
            lost = fmt.plural(totals.waiting, "record")
            return f"{lost} cannot be read here, the other {fmt.count(totals.acknowledged)} delivered"


_LONGEST = 1000
"""Characters of a sentence about a server or a file: none that is ours is longer."""


def _verdict_lines(report: StorageReport, width: int) -> list[Line]:
    tone = "bad" if report.verdict in _BAD else "strong"
    lines: list[Line] = [[Piece(part, tone)] for part in wrapped(sentence(report), width)]
    said = "" if report.verdict is Verdict.PARKED else report.reason
    advice = f"{fmt.sentence(said)} {report.remedy}".strip()
    lines += [[Piece(part, "muted")] for part in with_command(advice, width)]
    if report.totals.kept_local and report.verdict is not Verdict.LOCAL_ONLY:
        kept = f'{fmt.plural(report.totals.kept_local, "record")} of mode="offline" stay here until: '
        lines += [[Piece(part, "muted")] for part in with_command(f"{kept}canopy sync --once", width)]
    return lines


def with_command(text: str, width: int) -> list[str]:
    """``text`` in lines of ``width`` cells. The command that it ends in, behind its last colon, is not broken
    over two lines: it is there to be copied."""
    said, colon, command = fmt.clean(text, _LONGEST).rpartition(": ")
    if not colon or fmt.cells(command) > min(width, _LONGEST_COMMAND):
        return wrapped(text, width)
    whole = f"{said}: {command.replace(' ', _UNBROKEN)}"
    return [part.replace(_UNBROKEN, " ") for part in wrapped(whole, width)]


_LONGEST_COMMAND = 40
"""Cells; what stands behind the last colon of a text and is longer is no command of ours."""

_UNBROKEN = "\N{OPEN BOX}"
"""Stands for a blank at which no line ends."""


# -- the streams ------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Column:
    """``rank`` orders what is left out first where there is no room: the highest. An ``optional`` column is
    not there when no stream has anything in it. ``flush_left`` is for words."""

    title: str
    width: int
    rank: int
    text: Callable[[StreamStorage], str]
    optional: bool = False
    flush_left: bool = False
    tone: Callable[[StreamStorage], str] = lambda _: ""


def _seconds(seconds: float | None) -> str:
    """A span in at most eight cells."""
    if seconds is None:
        return ""
    exact = fmt.duration(int(seconds * 1e9))
    return exact if len(exact) <= 8 else fmt.age(int(seconds * 1e9))


def _number(width: int, of: Callable[[StreamStorage], int | None]) -> Callable[[StreamStorage], str]:
    def text(stream: StreamStorage) -> str:
        value = of(stream)
        return "-" if value is None else fmt.count(value, width)

    return text


def _columns(one_run: bool, unicode: bool) -> list[_Column]:
    first = (
        _Column("rank", 4, 0, lambda s: str(s.rank))
        if one_run
        else _Column("run", 12, 0, lambda s: fmt.clean(s.name), flush_left=True)
    )
    return [
        first,
        _Column("state", 9, 0, lambda s: state_text(s.state, unicode), flush_left=True,
                tone=lambda s: "bad" if s.state in BAD_STATES else ""),
        _Column("committed", 10, 0, _number(10, lambda s: s.committed)),
        _Column("durable", 10, 6, _number(10, lambda s: s.durable)),
        _Column("acknowledged", 12, 1, _number(12, lambda s: s.acknowledged)),
        _Column("verified", 10, 2, _number(10, lambda s: s.verified)),
        _Column("on the way", 10, 0, lambda s: fmt.count(s.waiting, 10) if s.waiting else "",
                optional=True, tone=lambda _: "waiting"),
        _Column("lag", 8, 3, lambda s: _seconds(s.lag_s), optional=True),
        _Column("lane", 7, 4, lambda s: s.lane, optional=True, flush_left=True),
        _Column("records/s", 9, 5, lambda s: fmt.count(round(s.rate), 9) if s.rate else "", optional=True),
        _Column("left", 8, 5, lambda s: _seconds(s.eta_s), optional=True),
        _Column("rejected", 8, 2, lambda s: fmt.count(s.rejected, 8) if s.rejected else "", optional=True,
                tone=lambda _: "bad"),
        _Column("disk MiB", 8, 7, lambda s: "" if s.disk_bytes is None else f"{s.disk_bytes / 2**20:,.1f}"),
        _Column("host", 12, 3, lambda s: fmt.clean(s.host), flush_left=True),
    ]  # fmt: skip


def _fitting(streams: Sequence[StreamStorage], one_run: bool, width: int, unicode: bool) -> list[_Column]:
    """The columns that have something to say and fit side by side, a blank between."""
    wanted = [
        column
        for column in _columns(one_run, unicode)
        if not column.optional or any(column.text(stream) for stream in streams)
    ]
    if len(_hosts(streams)) < 2:
        del wanted[-1]
    while (room := width + 1 - sum(column.width + 1 for column in wanted)) < 0 and len(wanted) > 1:
        wanted.remove(max(reversed(wanted), key=lambda column: column.rank))
    if not one_run:
        wanted[0] = replace(wanted[0], width=min(wanted[0].width + max(room, 0), LONGEST_NAME))
    return wanted


def _hosts(streams: Sequence[StreamStorage]) -> list[str]:
    return list(dict.fromkeys(stream.host for stream in streams))


def _stream_lines(report: StorageReport, one_run: bool, width: int, unicode: bool) -> list[Line]:
    streams = report.streams
    columns = _fitting(streams, one_run, width, unicode)
    lines: list[Line] = []
    if streams:
        lines.append([Piece(" ".join(_cell(column, column.title) for column in columns), "muted")])
    for stream in streams:
        pieces: Line = []
        for column in columns:
            pieces += [Piece(" ", ""), Piece(_cell(column, column.text(stream)), column.tone(stream))]
        lines.append(pieces[1:])
    if report.unlisted:
        others = fmt.plural(report.unlisted, "more stream" if streams else "stream")
        waiting = report.totals.waiting - sum(stream.waiting for stream in streams)
        if waiting > 0:
            said = f"{others}, {fmt.plural(waiting, 'record')} of them on the way"
        else:
            said = others if one_run else f"{others} with nothing left to do"
        lines += [[Piece(part, "muted")] for part in wrapped(said, width)]
    return lines


def _cell(column: _Column, text: str) -> str:
    return (fmt.left if column.flush_left else fmt.right)(text, column.width)


def _problem_lines(report: StorageReport, width: int) -> list[Line]:
    said = [stream.problem for stream in report.streams if stream.problem]
    problems = dict.fromkeys([report.store.warning, *said, *report.syncer.problems])
    for said_before in ("", report.reason):  # with the verdict
        problems.pop(said_before, None)
    return [
        [Piece(part, "bad")]
        for problem in list(problems)[:MAX_PROBLEMS]
        for part in wrapped(fmt.clean(problem, _LONGEST), width)
    ]


MAX_PROBLEMS = 10
"""Files that cannot be read are named up to here: a disk that is gone takes all of them."""


# -- nodes, syncer, disk ----------------------------------------------------------------------------


def _node_lines(nodes: Sequence[NodeState], width: int) -> list[Line]:
    """A row a node: where it listens, its state and latency, and what else there is room for."""
    place, version = width >= 50, width >= 60
    name = width - 20 - (15 if place else 0) - (9 if version else 0)
    name = max(min(name, max(fmt.cells(node.address) for node in nodes)), 8)

    def row(*texts: str, tone: str = "") -> Line:
        address, state, datacenter, release, latency = texts
        middle = f" {fmt.left(datacenter, 14)}" if place else ""
        middle += f" {fmt.left(release, 8)}" if version else ""
        return [
            Piece(f"{fmt.left(address, name)} "),
            Piece(f"{state:<8}", tone),
            Piece(f"{middle} {latency:>10}"),
        ]

    heading = "".join(piece.text for piece in row("node", "state", "data centre", "version", "latency ms"))
    lines: list[Line] = [[Piece(heading, "muted")]]
    for node in nodes:
        latency = "-" if node.latency_ms is None else f"{node.latency_ms:,.1f}"
        texts = (fmt.clean(text) for text in (node.address, node.state, node.datacenter, node.version))
        lines.append(row(*texts, latency, tone="" if node.state == "up" else "bad"))
    return lines


def _facts(report: StorageReport) -> list[tuple[str, str]]:
    facts = [("Cassandra", _cassandra(report)), ("syncer", _syncer(report))]
    error = report.syncer.last_error
    if error is not None and error.sentence != report.reason:  # else it was said with the verdict
        when = clock(error.at_ns, report.taken_ns)
        if error.mended_ns:  # nothing is to be done any more
            said = f"{error.sentence} Mended {clock(error.mended_ns, report.taken_ns)}."
        else:
            said = f"{error.sentence} {error.remedy}"
        facts.append(("last error", f"{when} · {said}"))
    used = f"{fmt.data_size(report.disk.used_bytes)} used"
    free = report.disk.free_bytes
    facts.append(("disk", used if free is None else f"{used}, {fmt.data_size(free)} free"))
    return facts


def _cassandra(report: StorageReport) -> str:
    store, syncer = report.store, report.syncer
    parts = [store.connection.value]
    endpoint = store.endpoint or syncer.endpoint
    if endpoint:
        parts.append(endpoint)
        if syncer.keyspace and syncer.endpoint == endpoint:
            parts.append(f"keyspace {syncer.keyspace}")
    if store.detail and report.reason != store.detail:
        parts.append(f"{fmt.sentence(store.detail)} {store.remedy}".strip())
    return " · ".join(parts)


def _syncer(report: StorageReport) -> str:
    syncer = report.syncer
    if syncer.pid is None:
        if not syncer.said_ns:
            return "none has run"
        return f"none runs; the last one said something {fmt.age(report.taken_ns - syncer.said_ns)} ago"
    parts = [f"process {syncer.pid}, version {syncer.version or '?'}"]
    if report.totals.waiting and syncer.rate >= 1:
        parts.append(f"{fmt.count(round(syncer.rate))} records/s")
    if syncer.next_retry_ns > report.taken_ns:
        next_try = fmt.duration(syncer.next_retry_ns - report.taken_ns)
        parts.append(f"asks again in {next_try}, or now: canopy sync --once")
    return " · ".join(parts)


def _fact_lines(facts: Sequence[tuple[str, str]], width: int) -> list[Line]:
    lines: list[Line] = []
    for name, text in facts:
        parts = with_command(text, max(width - LABEL_WIDTH, 8)) or [""]
        for place, part in enumerate(parts):
            lines.append([Piece(f"{name if not place else '':<{LABEL_WIDTH}}", "muted"), Piece(part)])
    return lines


def run_facts(row: RunRow, report: StorageReport) -> list[tuple[str, str]]:
    """What else is said of one run."""
    where = str(report.log_dir / str(row.run_id))
    hosts = _hosts(report.streams)
    return [
        *([("host", hosts[0])] if len(hosts) == 1 else []),
        ("log", where if row.local else "not on this machine: what is shown comes from Cassandra"),
        ("run id", str(row.run_id)),
        ("CQL", f"canopy cql {row.run_id.hex[-8:]}"),
    ]


# -- the page ---------------------------------------------------------------------------------------


def storage_page(
    report: StorageReport,
    width: int,
    unicode: bool,
    *,
    one_run: bool = False,
    facts: Sequence[tuple[str, str]] = (),
) -> list[Line]:
    """All of it in lines of ``width`` cells. ``one_run``: the streams are those of one run; ``facts`` are
    said at the end."""
    page = _verdict_lines(report, width)
    for section in (
        _stream_lines(report, one_run, width, unicode),
        _problem_lines(report, width),
        _node_lines(report.nodes, width) if report.nodes else [],
        _fact_lines([*_facts(report), *facts], width),
    ):
        if section:
            page += [[], *section]
    return page
