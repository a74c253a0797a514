"""Series from the local pages and the records beyond them, against the columns of all points."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from helpers.pagedlogs import check_series, check_whole, fill_pages, new_log, points_of, write_metric
from helpers.pages import SHAPES, wild_steps, wild_values
from helpers.reading import merged_source

from wal.journal import Journal
from wal.pyramid import Batch
from wal.source import Ask

COUNT = 6_000


def wild_log(log_dir: Path, shape: str, count: int = COUNT, seed: int = 1) -> Journal:
    rng = np.random.default_rng(seed)
    points = list(zip(wild_steps(rng, count, shape).tolist(), wild_values(rng, count).tolist(), strict=True))
    return new_log(log_dir, lambda journal: write_metric(journal, points))


def ranges_of(points: Batch, rng: np.random.Generator) -> list[tuple[int, int] | None]:
    """The whole, and zooms down to a few steps."""
    low, high = int(points.step.min()), int(points.step.max())
    found: list[tuple[int, int] | None] = [None]
    span = high - low
    while span > 4:
        first = int(rng.integers(low, max(high - span, low) + 1))
        found.append((first, min(first + span, high)))
        span //= 5
    return found


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("paged", [0, 512, COUNT - COUNT % 512, COUNT])
def test_columns_equal_those_of_all_points(tmp_path: Path, shape: str, paged: int) -> None:
    journal = wild_log(tmp_path, shape)
    points = points_of(journal.directory)
    if paged:
        fill_pages(journal.directory, paged)
    rng = np.random.default_rng(paged)
    with merged_source(tmp_path) as source:
        for columns in (1, 40, 320):
            for shown in ranges_of(points, rng):
                (series,) = source.series(journal.run.run_id, Ask("loss", columns, range=shown))
                check_series(series, points)
                check_whole(series, points)
                assert not series.approximate
                if shown is None:
                    assert int(series.columns.n.sum()) == COUNT
