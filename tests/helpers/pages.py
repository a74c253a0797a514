"""A page store in memory, and series of many shapes to fill it with."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence

import numpy as np

from wal.pyramid import Batch, Builder, Page


class MemoryPages:
    """The pages of one stream in a dict."""

    def __init__(self) -> None:
        self.pages: dict[tuple[int, int, int], Page] = {}
        self.written = 0

    def extents(self) -> Iterable[tuple[int, int, int, int]]:
        numbers: dict[tuple[int, int], list[int]] = {}
        for metric, level, number in self.pages:
            numbers.setdefault((metric, level), []).append(number)
        return [(*key, len(found), max(found)) for key, found in numbers.items()]

    def read(self, level: int, keys: Sequence[tuple[int, int]]) -> list[tuple[int, int, bytes]]:
        return [
            (metric, number, self.pages[metric, level, number].body)
            for metric, number in keys
            if (metric, level, number) in self.pages
        ]

    def read_all(self, level: int, metric: int) -> list[tuple[int, int, bytes]]:
        return [(key[0], key[2], page.body) for key, page in self.pages.items() if key[:2] == (metric, level)]

    def write(self, pages: Sequence[Page]) -> None:
        self.written += len(pages)
        for page in pages:
            self.pages[page.metric, page.level, page.number] = page

    @property
    def bodies(self) -> dict[tuple[int, int, int], bytes]:
        return {key: page.body for key, page in self.pages.items()}

    def of(self, metric: int, level: int) -> list[tuple[int, int, bytes]]:
        """(metric, number, bytes) of a level, ascending."""
        return sorted(self.read_all(level, metric))


def batch_of(points: Sequence[tuple[int, int, float]]) -> Batch:
    """Points given as (metric, step, value) in the order of their seqs, which count from 1."""
    metric = np.array([point[0] for point in points], dtype=np.int64)
    step = np.array([point[1] for point in points], dtype=np.int64)
    seq = np.arange(1, len(points) + 1, dtype=np.int64)
    value = np.array([point[2] for point in points], dtype=np.float64)
    us = 1_790_000_000_000_000 + 700 * seq - 300 * (seq % 5)
    order = np.argsort(metric, kind="stable")
    return Batch(metric[order], seq[order], step[order], us[order], value[order])


def until(batch: Batch, after: int, seq: int) -> Batch:
    """The points with ``after < seq <= seq``."""
    return batch.pick((batch.seq > after) & (batch.seq <= seq))


def built(batch: Batch, shift: int, cuts: Sequence[int] = ()) -> MemoryPages:
    """The pages of the points, taken in batches that end at these seqs."""
    store = MemoryPages()
    after = 0
    for seq in [*sorted(cuts), int(batch.seq.max(initial=0))]:
        Builder(store, shift).add(
            until(batch, after, seq)
        )  # a new one each time: nothing is kept beside the store
        after = seq
    return store


def wild_values(rng: np.random.Generator, count: int) -> np.ndarray:
    """A random walk with huge, tiny and not finite values in it."""
    value = np.cumsum(rng.normal(size=count))
    odd = [math.nan, math.inf, -math.inf, 1e308, -1e308, 5e-324, 0.0, -0.0, 1e17]
    places = rng.random(count) < 0.05
    value[places] = rng.choice(odd, size=int(places.sum()))
    return value


def wild_steps(rng: np.random.Generator, count: int, shape: str) -> np.ndarray:
    """Steps of one of the shapes that runs have."""
    if shape == "dense":
        return np.arange(count)
    if shape == "gaps":
        return np.cumsum(np.where(rng.random(count) < 0.01, rng.integers(1, 5000, count), 1))
    if shape == "repeats":
        return np.arange(count) // 3
    if shape == "backward":
        return np.arange(count) % max(count // 3, 1)
    if shape == "tokens":
        return np.arange(count) * 1_048_583
    if shape == "late":
        return np.arange(count) - np.where(rng.random(count) < 0.02, rng.integers(0, 3000, count), 0)
    assert shape == "anywhere"
    return rng.integers(-(2**62), 2**62, count)


def wild_points(rng: np.random.Generator, count: int, shape: str, metrics: int = 1) -> Batch:
    """``count`` points of a shape, over so many metrics."""
    metric = rng.integers(0, metrics, count).tolist()
    step, value = wild_steps(rng, count, shape).tolist(), wild_values(rng, count).tolist()
    return batch_of(list(zip(metric, step, value, strict=True)))


SHAPES = ("dense", "gaps", "repeats", "backward", "tokens", "late", "anywhere")
