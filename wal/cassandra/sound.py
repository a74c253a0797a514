"""What rows of Cassandra may say: any client can write them, and a reader must neither fall over one nor
believe it a size. What is unsound is left out, or named in a sentence."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from wal.cassandra.trouble import Action, StoreError, Trouble
from wal.record import Kind, Record
from wal.summary import MetricSummary

MOST_RECORDS = 1 << 32
"""Of a stream: 50 days of a thousand a second. A reader asks for each 1,024 that are said to be there."""

LARGEST_SHIFT = 20
"""As :data:`wal.paging.pages.MAX_EXPONENT`, which takes numpy to know."""


def unreadable(sentence: str) -> StoreError:
    """The error of a row that is there and makes no sense."""
    return StoreError(
        Trouble(Action.PARK, "record", sentence, "Upgrade Canopy, or look at it with: canopy cql")
    )


def acknowledged_ranges(seqs: Sequence[int]) -> tuple[tuple[int, int], ...]:
    """(first, last) of each acknowledged range; none at all when they do not ascend, or cannot be."""
    ascend = all(before < after for before, after in zip(seqs[1::2], seqs[2::2], strict=False))
    pairs = tuple(zip(seqs[::2], seqs[1::2], strict=False))
    if len(seqs) % 2 or not ascend or any(not 0 < first <= last < MOST_RECORDS for first, last in pairs):
        return ()
    return pairs


def record_of(
    seq: int,
    kind: int | None,
    step: int | None,
    ts: int | None,
    values: Mapping[str, float] | None,
    texts: Mapping[str, str] | None,
) -> Record:
    """Of the cells of a row of ``training_metrics``. Raises ValueError for cells that are not a record's.

    The driver's map type looks values up by their serialised key: a plain dict is what callers expect.
    """
    if kind is None or step is None or ts is None:
        raise ValueError(f"record {seq} lacks its kind, step or time")
    return Record(seq, Kind(kind), step, ts, dict((values or {}).items()), dict((texts or {}).items()))


def metric_summary(name: str, packed: bytes | None) -> MetricSummary:
    """Of a row of ``run_metrics``. Raises StoreError."""
    try:
        return MetricSummary.unpack(packed or b"")
    except ValueError as error:
        raise unreadable(f"The summary of the metric {name[:80]!r} cannot be read: {error}.") from None


def sound_curves(curves: Mapping[str, bytes | None]) -> dict[str, bytes]:
    """The curves of a run of the list that can be unpacked."""
    return {name: curve for name, curve in curves.items() if curve and MetricSummary.is_sound(curve)}
