"""What is left after a step of the syncer."""

from __future__ import annotations

from dataclasses import dataclass

from wal.source import Connection


@dataclass(frozen=True, slots=True)
class Outcome:
    """What is left after a step.

    ``waiting`` counts committed records that are not acknowledged, ``damaged`` those of them that cannot be
    read, ``again`` those that are sent once more because of a doubt, ``rejected`` those that were set aside
    for good. ``unpaged`` counts records that should be in pages and are not yet. ``live``: a stream may still
    grow. ``drained``: everything that can be shipped is acknowledged and announced. ``wake_in_s`` is how long
    nothing needs to be done unless a reply arrives.
    """

    waiting: int
    damaged: int
    again: int
    rejected: int
    live: bool
    drained: bool
    connection: Connection
    wake_in_s: float
    unpaged: int = 0
