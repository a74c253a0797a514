"""From the columns of a segment to a batch of points for the pages."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np

from wal.pyramid import Batch
from wal.shipping.columns import Columns, Group, joined

NS_PER_US = 1_000


def points_of(columns: Columns, metric_id: Callable[[str], int]) -> Batch:
    """The points of these records by metric, in seq order within each. ``metric_id`` numbers a name."""
    parts = [part for group in columns.groups for part in _points(group, metric_id)]
    if len(parts) == 1:
        return parts[0]
    metric, seq = joined([part.metric for part in parts]), joined([part.seq for part in parts])
    order = np.lexsort((seq, metric))
    return Batch(
        metric=metric[order],
        seq=seq[order],
        step=joined([part.step for part in parts])[order],
        us=joined([part.us for part in parts])[order],
        value=np.concatenate([np.zeros(0), *(part.value for part in parts)])[order],
    )


def _points(group: Group, metric_id: Callable[[str], int]) -> Iterator[Batch]:
    """The points of a group by metric and seq; none where no name can be one."""
    columns = sorted((metric_id(name), at) for at, name in enumerate(group.names) if _is_text(name))
    if not columns:
        return
    ids, order = zip(*columns, strict=True)
    yield Batch(
        metric=np.repeat(np.array(ids, dtype=np.int64), len(group.seq)),
        seq=np.tile(group.seq, len(ids)),
        step=np.tile(group.step, len(ids)),
        us=np.tile(group.ts // NS_PER_US, len(ids)),
        value=group.values.T[list(order)].reshape(-1),
    )


def _is_text(name: str) -> bool:
    """False for what is no valid Unicode, and so can be no name in SQLite or Cassandra: our own log makes
    none such, and its records are set aside when they are shipped."""
    try:
        name.encode()
    except UnicodeEncodeError:
        return False
    return True
