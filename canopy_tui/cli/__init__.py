"""The command line. A verb's module is imported when it is used, so ``canopy --help`` costs click alone.

Each module of a verb exposes ``command``, a click command.
"""

from __future__ import annotations

from importlib import import_module
from typing import NamedTuple

import click


class Verb(NamedTuple):
    """Where a verb lives, and the line that ``canopy --help`` says of it without importing it."""

    module: str
    help: str


VERBS = {
    "ls": Verb("canopy_tui.cli.ls", "List runs, newest first."),
    "show": Verb("canopy_tui.cli.show", "Show one run: its metrics, a chart, its config."),
    "demo": Verb("canopy_tui.cli.demo", "Watch real training runs grow, on a Cassandra of their own."),
    "cassandra": Verb("canopy_tui.cli.cassandra", "Start, stop and prepare a Cassandra node."),
    "status": Verb("canopy_tui.cli.status", "Say where the records are; --check what is set up wrong."),
    "sync": Verb("canopy_tui.cli.sync", "Ship the log to Cassandra by hand."),
    "verify": Verb("canopy_tui.cli.verify", "Prove from Cassandra's rows that a run was delivered whole."),
    "resend": Verb("canopy_tui.cli.resend", "Send a run again from this machine's log."),
    "rejected": Verb("canopy_tui.cli.rejected", "Records that the server refused: list, retry, export."),
    "prune": Verb("canopy_tui.cli.prune", "Take runs off this machine that Cassandra provably has."),
    "cql": Verb("canopy_tui.cli.cql", "Print CQL that reads a run, ready to paste."),
}


class LazyVerbs(click.Group):
    """A group that knows its verbs by name and imports the one that is used."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002 - click's signature
        return list(VERBS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002
        verb = VERBS.get(cmd_name)
        return import_module(verb.module).command if verb else None

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        if args and args[0] not in VERBS and not args[0].startswith("-"):
            raise click.UsageError(_unknown(args[0]), ctx)
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:  # noqa: ARG002
        with formatter.section("Commands"):
            formatter.write_dl([(name, verb.help) for name, verb in VERBS.items()])


def _unknown(name: str) -> str:
    from difflib import get_close_matches

    from canopy_tui.format import clean

    near = get_close_matches(name, VERBS, n=1, cutoff=0.5)
    remedy = f"did you mean 'canopy {near[0]}'?" if near else "see 'canopy --help'."
    return f"there is no command '{clean(name, 40)}'; {remedy}"


def expected_errors() -> tuple[type[Exception], ...]:
    """Errors that are about the user's world, not about the code: their message is all there is to say."""
    from wal.journal import CorruptSegment
    from wal.record import CorruptRecord, NewerFormat
    from wal.settings import SettingsError
    from wal.source import SourceError

    return (SourceError, SettingsError, NewerFormat, CorruptSegment, CorruptRecord, PermissionError)


def version() -> str:
    """The installed version of Canopy, and of the Python it runs on."""
    import platform
    from importlib import metadata

    try:
        ours = metadata.version("canopy-tui")
    except metadata.PackageNotFoundError:
        ours = "from a checkout"
    return f"canopy {ours} (Python {platform.python_version()})"


@click.group(
    cls=LazyVerbs,
    invoke_without_command=True,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
)
@click.option("--version", "show_version", is_flag=True, help="Print the version and exit.")
@click.pass_context
def canopy(ctx: click.Context, show_version: bool) -> None:
    """Browse training runs in the terminal.

    Without a command: open the app, or print 'canopy ls' where there is no terminal to draw on.

    The log directory is $CANOPY_DIR, else $XDG_STATE_HOME/canopy, else ~/.local/state/canopy.
    """
    if show_version:
        click.echo(version())
    elif ctx.invoked_subcommand is None:
        _open_or_list(ctx)


def _open_or_list(ctx: click.Context) -> None:
    from canopy_tui.terminal import can_draw

    if can_draw():
        from canopy_tui.cli.open import open_app

        open_app()
    ctx.invoke(import_module(VERBS["ls"].module).command)
