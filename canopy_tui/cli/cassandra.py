"""``canopy cassandra``: a real Cassandra node on this machine, from start to stop; and the tables."""

from __future__ import annotations

import functools
import json
import os
import time
from collections.abc import Callable
from dataclasses import asdict, replace
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from pathlib import Path

    from wal.cassandra.node import NodeRecord
    from wal.settings import Endpoint, Settings

# A node that answers at all answers in milliseconds; `status` does not wait for one that is hung.
STATUS_SECONDS = 2.0
FOLLOW_SECONDS = 0.2


def _says_what_is_wrong(verb: Callable[..., Any]) -> Callable[..., Any]:
    """Turn a NodeError into click's own error: its text and exit code 1."""

    @functools.wraps(verb)
    def wrapped(*args: Any, **options: Any) -> Any:
        from wal.cassandra.noderecord import NodeError

        try:
            return verb(*args, **options)
        except NodeError as error:
            raise click.ClickException(str(error)) from None

    return wrapped


_name_option = click.option(
    "--name",
    envvar="CANOPY_NODE",
    default="default",
    help="Which node; each has data of its own.  [default: $CANOPY_NODE, else 'default']",
)


@click.group()
def command() -> None:
    """A real Cassandra node on this machine, and the tables in any Cassandra.

    The node listens on the loopback address alone. Every trainer, syncer and app of this user finds it by
    itself, unless the settings name another Cassandra.
    """


@command.command()
@_name_option
@click.option("--version", help="5.0 or 4.1.  [default: what the data was written by, else 5.0]")
@click.option("--port", type=click.IntRange(1, 65535), help="CQL port.  [default: 9042, or a free one]")
@_says_what_is_wrong
def up(name: str, version: str | None, port: int | None) -> None:
    """Start the node and make its tables; the first time, download it (66 MB)."""
    from canopy_tui.cli.nodeprogress import ProgressLine
    from wal.cassandra import node

    settings = _settings()  # a mistake in them is said before a node is started for them
    before = node.managed(name)
    started = time.monotonic()
    with ProgressLine() as line:
        record = node.up(name, version, port=port, progress=line.show)
    if before is not None and before.state == "up":
        click.echo(f"Cassandra {record.version} is already up at {record.label}.")
    else:
        seconds = time.monotonic() - started
        click.echo(f"Cassandra {record.version} is up at {record.label} ({seconds:.0f} s).")
    _create_schema(record, settings)
    if settings.explicit:
        click.echo(f"Your settings ({settings.origin}) name another Cassandra, and that one stays in use.")
    elif _is_usual(name):
        click.echo("Every trainer, syncer and app of yours uses it from now on; no file to edit.")
    else:
        click.echo(f"What runs with CANOPY_NODE={name} uses it from now on.")
    click.echo(f"Stop it: canopy cassandra down{_name_argument(name)}")


def _create_schema(record: NodeRecord, settings: Settings) -> None:
    from wal.cassandra import schema
    from wal.cassandra.session import connect

    endpoint, plain = _of_node(record, settings)
    session = connect(endpoint, plain)
    try:
        schema.create(session, plain)
    finally:
        session.close()
    click.echo(f"Its tables are in the keyspace {plain.keyspace}.")


def _of_node(record: NodeRecord, settings: Settings) -> tuple[Endpoint, Settings]:
    """How to reach a managed node: nothing of what the settings say about another cluster but the names."""
    from wal.settings import Endpoint, Settings

    endpoint = Endpoint((record.host,), record.port, "managed", record.label)
    return endpoint, Settings(keyspace=settings.keyspace, ttl=settings.ttl)


def _settings() -> Settings:
    from wal.settings import load

    return load()


def _is_usual(name: str) -> bool:
    """Whether this is the node that everything of this user finds without being told its name."""
    return name == "default" == (os.environ.get("CANOPY_NODE") or "default")


def _name_argument(name: str) -> str:
    """What a command needs so that it means this node in any shell, whatever this one's CANOPY_NODE."""
    return "" if _is_usual(name) else f" --name {name}"


@command.command()
@_name_option
@_says_what_is_wrong
def down(name: str) -> None:
    """Stop the node; its data stays."""
    from wal.cassandra import node

    before = node.managed(name)
    record = node.down(name)
    if record is None:
        click.echo(f"There is no node {name!r}: canopy cassandra up{_name_argument(name)}")
    elif before is not None and before.state in ("down", "failed"):
        click.echo(f"The node {name!r} is not running.")
    else:
        click.echo(f"Cassandra {record.version} is down; its data stays in {record.data_dir}.")


@command.command()
@_name_option
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
@click.pass_context
@_says_what_is_wrong
def status(ctx: click.Context, name: str, as_json: bool) -> None:
    """Say whether the node runs, where it listens, what it uses. Exit code 1 unless it is up."""
    from wal.cassandra import node

    record = node.managed(name)
    if record is None:
        remedy = f"canopy cassandra up{_name_argument(name)}"
        click.echo(json.dumps({"name": name, "state": "none"}) if as_json else f"No node {name!r}: {remedy}")
        ctx.exit(1)
    facts = _facts(record)
    if as_json:
        click.echo(json.dumps(facts))
    else:
        _print_facts(record, facts)
    ctx.exit(0 if record.state == "up" else 1)


def _facts(record: NodeRecord) -> dict[str, Any]:
    """The record, and what is measured now; None for what a node that is not up cannot say."""
    from wal.cassandra import node

    running = record.state == "up"
    facts = {
        key: value
        for key, value in asdict(record).items()
        if key not in ("identity", "done_bytes", "total_bytes")
    }
    facts |= {
        "uptime_ns": time.time_ns() - record.started_ns if running else None,
        "memory_bytes": node.memory_bytes(record) if running else None,
        "disk_bytes": node.disk_bytes(record),
        "release": None,
        "keyspaces": None,
        "problem": None,
    }
    return facts | (_asked(record) if running else {})


def _asked(record: NodeRecord) -> dict[str, Any]:
    """What the node itself says: its release and keyspaces, or why it does not answer."""
    from wal.cassandra.session import connect
    from wal.source import SourceError

    endpoint, plain = _of_node(record, _settings())
    try:
        session = connect(endpoint, plain, timeout=STATUS_SECONDS)
    except SourceError as error:
        return {"problem": str(error)}
    try:
        rows = session.read("SELECT keyspace_name FROM system_schema.keyspaces")
        names = sorted(row[0] for row in rows if not row[0].startswith("system"))
        return {"release": session.probe().version, "keyspaces": names}
    except SourceError as error:
        return {"problem": str(error)}
    finally:
        session.close(wait=False)


def _print_facts(record: NodeRecord, facts: dict[str, Any]) -> None:
    from canopy_tui.format import data_size, duration

    lines = {
        "node": record.name,
        "state": f"{record.state} ({record.detail})" if record.detail else record.state,
        "version": facts["release"] or record.version,
        "listens": record.label if record.state in ("up", "starting") else None,
        "process": record.pid or None,
        "up for": duration(facts["uptime_ns"]) if facts["uptime_ns"] else None,
        "memory": data_size(facts["memory_bytes"]) if facts["memory_bytes"] else None,
        "disk": data_size(facts["disk_bytes"]),
        "keyspaces": ", ".join(facts["keyspaces"] or ()) or None,
        "data": record.data_dir,
        "log": record.log_file,
        "problem": facts["problem"],
    }
    for label, value in lines.items():
        if value is not None:
            click.echo(f"{label:<10} {value}")


@command.command()
@_name_option
@click.option("-n", "count", type=click.IntRange(1, 100_000), default=50, show_default=True, help="Lines.")
@click.option("-f", "--follow", is_flag=True, help="Go on printing what is added, until Ctrl-C.")
@_says_what_is_wrong
def logs(name: str, count: int, follow: bool) -> None:
    """Print the end of the server's log."""
    from pathlib import Path

    from wal.cassandra.noderecord import NodeError, read_record
    from wal.cassandra.server import last_lines

    record = read_record(name)
    path = Path(record.log_file) if record else None
    if path is None or not path.exists():
        raise NodeError(f"The node {name!r} has no log yet: canopy cassandra up{_name_argument(name)}")
    for line in last_lines(path, count):
        click.echo(line)
    if follow:
        try:
            _follow(path)
        except KeyboardInterrupt:
            pass


def _follow(path: Path) -> None:
    """Print what is appended from now on; a log that was rolled over or begun anew is read from its start."""
    position, inode = path.stat().st_size, path.stat().st_ino
    while True:
        time.sleep(FOLLOW_SECONDS)
        try:
            found = path.stat()
        except FileNotFoundError:
            continue
        if found.st_ino != inode or found.st_size < position:
            position, inode = 0, found.st_ino
        with path.open("rb") as file:
            file.seek(position)
            added = file.read()
        position += len(added)
        click.echo(added.decode("utf-8", errors="replace"), nl=False)


@command.command()
@click.option("--keyspace", help="Another keyspace than the settings'.")
def schema(keyspace: str | None) -> None:
    """Make the tables in the Cassandra in use, or bring those of an older Canopy up to date.

    Nothing that is there is changed or dropped.
    """
    from canopy_tui.cli.nocassandra import no_cassandra
    from wal.cassandra import schema as tables
    from wal.cassandra.session import connect
    from wal.paths import log_dir
    from wal.settings import parse_keyspace, resolve
    from wal.shipping.daemon import nudge

    settings = _settings()
    configured = settings.keyspace
    if keyspace:
        settings = replace(settings, keyspace=parse_keyspace(keyspace))
    endpoint = resolve(settings)
    if endpoint is None:
        raise no_cassandra()
    session = connect(endpoint, settings)
    try:
        done = tables.create(session, settings)
    except tables.SchemaMismatch as error:
        differences = (f"{name}: {how}" for name, how in error.differences.items())
        raise click.ClickException(
            "\n  ".join((f"{error}", "Nothing was changed. How they differ:", *differences))
        ) from None
    finally:
        session.close()
    for line in done or [f"The tables in {settings.keyspace} at {endpoint.label} are complete."]:
        click.echo(line)
    if settings.keyspace != configured:
        click.echo(
            f"To ship there: keyspace: {settings.keyspace} in the settings file, or "
            f"CASCOR_CASSANDRA_KEYSPACE={settings.keyspace}"
        )
    nudge(log_dir())  # a syncer that waits for the tables would look again within a minute
