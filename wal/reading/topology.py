"""What a list of topology snapshots says of each: sizes read off the snapshot itself. Standard library only.

A snapshot is the user's own JSON object. Known in it are ``input_size``, ``output_size``, ``hidden_units`` (a
list of units, or their number), and weights and biases, under any key with one of these words in it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import cast
from uuid import UUID

from wal.record import DIGEST_BYTES, unpack_topology
from wal.source import TopologyRow

MAX_DEPTH = 32
"""Of nested lists and objects that are looked into."""


def describe(stream_id: UUID, seq: int, step: int, ts: int, body: bytes) -> TopologyRow:
    """The row of a snapshot with this packed body. Raises :class:`wal.record.CorruptRecord`."""
    topology = unpack_topology(body)
    units = topology.get("hidden_units")
    return TopologyRow(
        stream_id=stream_id,
        seq=seq,
        step=step,
        ts=ts,
        digest=body[:DIGEST_BYTES].hex(),
        input_size=_size(topology.get("input_size")),
        output_size=_size(topology.get("output_size")),
        hidden_units=len(cast("list[object]", units)) if isinstance(units, list) else _size(units),
        parameters=count_parameters(topology),
    )


def _size(value: object) -> int:
    """A whole number that a 32-bit column takes, else 0."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return 0
    return int(value) if 0 <= value < 1 << 31 else 0


def count_parameters(value: object, counted: bool = False, depth: int = 0) -> int:
    """How many numbers lie under keys that name weights or biases."""
    if depth > MAX_DEPTH:
        return 0
    if isinstance(value, Mapping):
        entries = cast("Mapping[str, object]", value).items()
        return sum(
            count_parameters(item, counted or "weight" in key.lower() or "bias" in key.lower(), depth + 1)
            for key, item in entries
        )
    if isinstance(value, list):
        return sum(count_parameters(item, counted, depth + 1) for item in cast("list[object]", value))
    return int(counted and isinstance(value, int | float) and not isinstance(value, bool))
