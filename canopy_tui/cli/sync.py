"""``canopy sync``: ship the log by hand, read the syncer's log, stop it."""

from __future__ import annotations

import time
from pathlib import Path

import click

LOG_LINES = 100
FOLLOW_SECONDS = 0.2


@click.command()
@click.argument("path", required=False, type=click.Path(path_type=Path, file_okay=False))
@click.option("--once", "mode", flag_value="once", help="Ship everything, then end.")
@click.option("--watch", "mode", flag_value="watch", help="Ship in the foreground until Ctrl-C.")
@click.option("--log", "mode", flag_value="log", help="Print the end of the syncer's log.")
@click.option("--stop", "mode", flag_value="stop", help="Stop the syncer in the background.")
@click.option("-f", "--follow", is_flag=True, help="With --log: go on printing what is added.")
@click.pass_context
def command(ctx: click.Context, path: Path | None, mode: str | None, follow: bool) -> None:
    """Ship the log to Cassandra, or see how far it is.

    A syncer in the background does this by itself; these are for machines where none may run, for scripts,
    and for looking. PATH is a log directory, by default this user's. Without an option: as canopy status.

    --once ends with 0 when everything is in Cassandra, 2 when something is left, 3 when the server refused
    records (they are set aside: canopy rejected list), 1 for any other error.
    """
    from wal.paths import log_dir

    directory = log_dir(path)
    if not directory.is_dir() and (path is not None or mode in ("once", "watch")):
        raise click.ClickException(f"{directory} is not a directory: nothing was logged there yet.")
    if mode is None:
        from canopy_tui.cli import status

        ctx.invoke(status.command, path=path)
    else:
        ctx.exit(_VERBS[mode](directory, follow))


def _once(directory: Path, _follow: bool) -> int:
    from canopy_tui.cli.shipping import ship_once

    return ship_once(directory)


def _watch(directory: Path, _follow: bool) -> int:
    from canopy_tui.cli.shipping import watch

    return watch(directory)


def _log(directory: Path, follow: bool) -> int:
    from wal.shipping.daemon import LOG_FILE

    path = directory / LOG_FILE
    try:
        text = path.read_text(encoding="utf-8", errors="replace")
    except FileNotFoundError:
        raise click.ClickException(f"No syncer has run for {directory} yet: {path} is not there.") from None
    except OSError as error:
        raise click.ClickException(f"{path} cannot be read: {error.strerror}.") from None
    for line in text.splitlines()[-LOG_LINES:]:
        click.echo(line)
    try:
        while follow:
            time.sleep(FOLLOW_SECONDS)
            text = _print_added(path, text)
    except KeyboardInterrupt:
        pass
    return 0


def _print_added(path: Path, before: str) -> str:
    """Print what was added to a log since it read ``before``; a log that was rotated begins anew."""
    try:
        text = path.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return before
    click.echo(text[len(before) :] if text.startswith(before) else text, nl=False)
    return text


def _stop(directory: Path, _follow: bool) -> int:
    from wal.shipping import daemon

    pid = daemon.holder(directory)
    if pid is None:
        click.echo(f"No syncer runs for {directory}.")
    elif daemon.stop(directory):
        click.echo(f"The syncer of {directory} has stopped (it was process {pid}).")
    else:
        raise click.ClickException(f"The syncer of {directory} does not stop: kill -9 {pid} is harmless.")
    return 0


_VERBS = {"once": _once, "watch": _watch, "log": _log, "stop": _stop}
