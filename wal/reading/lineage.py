"""Which part of a stream a resume superseded: a stream supersedes only the one that it names in ``after``,
from its own first step on, for the metrics that it logs. Pure functions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from uuid import UUID

from wal.pyramid import Ask
from wal.reading.drawing import Parts, Piece, since, until
from wal.source import StreamRow


def superseded_from(rows: Sequence[StreamRow]) -> dict[UUID, int]:
    """By stream, the step from which another of these rows' streams stands for it."""
    known = {row.stream_id for row in rows}
    cuts: dict[UUID, int] = {}
    for row in rows:
        if row.after is not None and row.after in known:
            cuts[row.after] = min(row.first_step, cuts.get(row.after, row.first_step))
    return cuts


def pieces_of(
    rows: Sequence[StreamRow], parts: Mapping[UUID, Parts], others: Mapping[UUID, Parts], ask: Ask
) -> list[Piece]:
    """What becomes a series each: of every stream the part that counts, then, when asked for, its ghost.

    ``rows`` are the streams that have the metric. A stream that was superseded from its beginning on has no
    part that counts.
    """
    cuts = superseded_from(rows)
    pieces: list[Piece] = []
    for row in rows:
        whole, other = parts[row.stream_id], others.get(row.stream_id)
        restart = row.first_step if row.after is not None else None
        cut = cuts.get(row.stream_id)
        kept = whole if cut is None else until(whole, cut)
        if len(kept.items) or len(kept.tail) or cut is None:
            pieces.append(Piece(row.run_id, row, kept, other, restart))
        if cut is not None and ask.ghosts:
            ghost = since(whole, cut)
            if len(ghost.items) or len(ghost.tail):
                pieces.append(Piece(row.run_id, row, ghost, other, ghost=True))
    return pieces
