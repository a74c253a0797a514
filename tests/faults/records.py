"""What the record of a seq must be: every trainer of the trials logs by this, every oracle compares with it.

So an oracle needs no log to know what was logged. Standard library only: a trainer imports it.
"""

from __future__ import annotations

import math
import random
import struct
from collections.abc import Mapping
from typing import NamedTuple

HOUR_NS = 3600 * 1_000_000_000
YEAR_NS = 365 * 24 * HOUR_NS
BEGIN_NS = 1_790_000_000 * 1_000_000_000
"""The clock of the records: an instant in 2026."""

_ODD_BITS = (
    0x7FF8_0000_0000_0000, 0x7FF8_0000_DEAD_BEEF, 0xFFF8_0000_0000_0001,  # quiet NaNs of three payloads
    0x7FF0_0000_0000_0000, 0xFFF0_0000_0000_0000, 0x8000_0000_0000_0000,  # ±Inf, -0.0
    0x0000_0000_0000_0001, 0x7FEF_FFFF_FFFF_FFFF,
)  # fmt: skip
ODD = tuple(struct.unpack(">d", struct.pack(">Q", bits))[0] for bits in _ODD_BITS)


class Logged(NamedTuple):
    """One ``log()`` call; ``ts`` in ns since the epoch."""

    step: int
    ts: int
    data: dict[str, float | str]

    @property
    def values(self) -> dict[str, float]:
        return {name: value for name, value in self.data.items() if not isinstance(value, str)}

    @property
    def texts(self) -> dict[str, str]:
        return {name: value for name, value in self.data.items() if isinstance(value, str)}

    @property
    def content(self) -> tuple[int, int, dict[str, bytes], dict[str, str]]:
        return content(self.step, self.ts, self.values, self.texts)


def content(
    step: int, ts: int, values: Mapping[str, float], texts: Mapping[str, str]
) -> tuple[int, int, dict[str, bytes], dict[str, str]]:
    """What is compared of a record: its numbers by their bits."""
    return step, ts, {name: struct.pack(">d", value) for name, value in values.items()}, dict(texts)


def record(seed: int, seq: int) -> Logged:
    """The record ``seq`` of the stream of that seed: steps that repeat, go back and leap, a clock that jumps
    an hour back and a year on, odd values, metrics that come and go, texts."""
    rng = random.Random(seed << 32 | seq)
    step = rng.choice((seq, seq, seq, seq // 2, seq * 3, max(seq - 40, 0)))
    jump = rng.choices((0, -HOUR_NS, YEAR_NS), (97, 2, 1))[0]
    data: dict[str, float | str] = {"loss": rng.gauss(0.0, 1.0), "odd": rng.choice(ODD)}
    if seq % 3 == 0:
        data["val/acc"] = rng.random()
    if seq % 400 == 1:
        data[f"rare/{rng.randrange(3)}"] = math.ldexp(rng.random(), rng.randint(-1000, 1000))
    if rng.random() < 0.02:
        data["note"] = "".join(rng.choices("aé漢😀\x00\n'", k=rng.randint(0, 60)))
    return Logged(step, BEGIN_NS + seq * 1_000_000 + jump, data)
