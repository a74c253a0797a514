"""What to say to who asks for a Cassandra where none is in use."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

import click


def why(status: Mapping[str, object]) -> str:
    """What is wrong with Cassandra and what to do, as sentences; empty when nothing is."""
    detail, remedy = str(status.get("detail") or ""), str(status.get("remedy") or "")
    if detail:
        detail = f"{detail[0].upper()}{detail[1:].rstrip('.')}."
    return f"{detail} {remedy}".strip()


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
