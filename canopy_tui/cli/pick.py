"""Which run a person means by a few characters."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from difflib import get_close_matches
from uuid import UUID

from canopy_tui import format as fmt
from wal.record import run_uuid
from wal.source import RunRow, SourceError

LAST = "@last"
SHORTEST_SUFFIX = 4
"""Characters of an id's end that name a run; its beginning is a time, which runs of one hour share."""

CANDIDATES_SHOWN = 12


NO_RUNS = "there are no runs yet; 'canopy demo' makes some."


class PickError(SourceError):
    """No run, or several, are meant. The message says what to write instead."""


def short_id(row: RunRow) -> str:
    """The end of the run's id, which tells runs apart where the beginning, a time, does not."""
    return row.run_id.hex[-6:]


def pick_run(rows: Sequence[RunRow], text: str) -> RunRow:
    """The run that ``text`` names: ``@last``, a name, an id, an id's beginning, its end of four characters
    or more, or the user's own id. ``rows`` come newest first. Raises :class:`PickError`.
    """
    if not rows:
        raise PickError(_unknown(rows, text) if _pruned_name(text) else NO_RUNS)
    if text == LAST:
        return rows[0]
    for found in (_by_whole_id(rows, text), [row for row in rows if row.name == text], _by_part(rows, text)):
        if len(found) == 1:
            return found[0]
        if found:
            raise PickError(_ambiguous(found, text))
    raise PickError(_unknown(rows, text))


def _by_whole_id(rows: Sequence[RunRow], text: str) -> list[RunRow]:
    return [row for row in rows if row.run_id == run_uuid(row.project, text)]


def _by_part(rows: Sequence[RunRow], text: str) -> list[RunRow]:
    part = text.casefold().replace("-", "")
    if not part:
        return []
    return [row for row in rows if _names(part, row.run_id)]


def _names(part: str, run_id: UUID) -> bool:
    """Whether some hex digits are an id's beginning, or enough of its end."""
    return run_id.hex.startswith(part) or (len(part) >= SHORTEST_SUFFIX and run_id.hex.endswith(part))


def _ambiguous(found: Sequence[RunRow], text: str) -> str:
    lines = [f"'{fmt.clean(text, 60)}' names {len(found)} runs; use the id of one:"]
    lines += [
        f"  {short_id(row)}  {fmt.middle_ellipsis(fmt.clean(row.name), 32)}"
        f"  {fmt.middle_ellipsis(fmt.clean(row.project), 20)}  {row.state.value}"
        for row in found[:CANDIDATES_SHOWN]
    ]
    if len(found) > CANDIDATES_SHOWN:
        lines.append(f"  and {len(found) - CANDIDATES_SHOWN} more")
    return "\n".join(lines)


def _unknown(rows: Sequence[RunRow], text: str) -> str:
    pruned = _pruned_name(text)
    if pruned:
        return (
            f"'{fmt.clean(pruned, 60)}' was pruned from this machine and is in Cassandra alone, which does "
            "not have it or does not answer: canopy status says how it stands."
        )
    near = get_close_matches(text, {row.name for row in rows}, n=1, cutoff=0.6)
    remedy = f"did you mean '{fmt.clean(near[0], 60)}'?" if near else "'canopy ls' lists them."
    return f"there is no run '{fmt.clean(text, 60)}'; {remedy}"


def _pruned_name(text: str) -> str:
    """The name of the run that ``text`` names among those taken off this machine; empty for none."""
    part = text.casefold().replace("-", "")
    is_id = len(part) >= SHORTEST_SUFFIX
    found = (name for run, name in pruned_runs().items() if name == text or (is_id and _names(part, run)))
    return next(found, "")


def pruned_runs() -> dict[UUID, str]:
    """The names of the runs that were taken off this machine, by id; none when that cannot be read now."""
    from wal.paths import log_dir
    from wal.shipping.ledger import read_ledger

    try:
        return read_ledger(log_dir()).pruned
    except sqlite3.Error:
        return {}
