"""What to say where no Cassandra is in use, or what is remembered of it cannot be read."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Generator, Mapping
from contextlib import contextmanager
from pathlib import Path

import click

from canopy_tui.format import sentence


def why(status: Mapping[str, object]) -> str:
    """What is wrong with Cassandra and what to do, as sentences; empty when nothing is."""
    detail, remedy = str(status.get("detail") or ""), str(status.get("remedy") or "")
    return f"{sentence(detail)} {remedy}".strip()


def no_cassandra() -> click.ClickException:
    """Why there is none, and how to get one: a managed node that was stopped is the likeliest."""
    from wal.link import Finder

    target = Finder(os.environ, Path.cwd())()
    if target.detail:
        return click.ClickException(why({"detail": target.detail, "remedy": target.remedy}))
    if target.settings.enabled is False:
        return click.ClickException(
            f"Cassandra is switched off: enabled is false in {target.settings.origin}."
        )
    return click.ClickException(
        "No Cassandra is in use: start one with 'canopy cassandra up', or name yours in "
        "conf/cassandra_config.yaml or CASCOR_CASSANDRA_CONTACT_POINTS."
    )


@contextmanager
def readable_state(log_dir: Path) -> Generator[None]:
    """Says in a sentence what keeps ``state.db``, or a file that is written beside it, from being used."""
    try:
        yield
    except sqlite3.OperationalError as error:  # a disk or a lock
        raise click.ClickException(
            f"a file that is needed cannot be used ({error}): canopy status --check looks at the disk."
        ) from None
    except sqlite3.DatabaseError as error:
        raise click.ClickException(
            f"{log_dir / 'state.db'} is damaged ({error}). 'canopy sync --once' makes it anew: what lies in "
            "the log is sent again, and nothing doubles."
        ) from None
    except BrokenPipeError:  # of our own output: no file's fault
        raise
    except OSError as error:
        where = f"{error.filename}: " if error.filename else ""
        raise click.ClickException(f"{where}{error.strerror or error}.") from None
