"""``canopy`` and ``python -m canopy_tui``: run a verb; whatever goes wrong becomes one sentence."""

from __future__ import annotations

import os
import sys


def main() -> None:
    """The console script. Never returns: the process ends with the verb's exit code."""
    from canopy_tui.cli import canopy

    try:
        code = canopy.main(prog_name="canopy", standalone_mode=False)
    except BrokenPipeError:
        # The reader (head, less) has gone. Python would complain again when it flushes at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(0)
    except Exception as error:  # noqa: BLE001 - the one place where a failure becomes a sentence
        sys.exit(_report(error))
    sys.exit(code if isinstance(code, int) else 0)


def _report(error: Exception) -> int:
    """Say what happened on stderr and return the exit code. An unforeseen error keeps its traceback."""
    import click

    from canopy_tui.cli import expected_errors

    if isinstance(error, click.Abort):
        click.echo("canopy: stopped", err=True)
        return 130
    if isinstance(error, click.exceptions.Exit):
        return error.exit_code
    if isinstance(error, click.ClickException):
        error.show()
        return error.exit_code
    if isinstance(error, expected_errors()):
        click.echo(f"canopy: {error}", err=True)
        return 1
    raise error


if __name__ == "__main__":
    main()
