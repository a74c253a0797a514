"""A run with everything that the Run screen shows, written by the real journal."""

from __future__ import annotations

import math
import random
from collections.abc import Sequence
from pathlib import Path
from uuid import UUID

from helpers.screenlogs import SECOND_NS, LogWriter
from wal.record import Kind, pack_topology
from wal.shipping.cursors import SegmentState, State

LASTING_S = 192.0
RECORDS = 1200


def curve(count: int, start: float, floor: float, noise: float, seed: int) -> list[float]:
    """A value that goes from ``start`` towards ``floor``, with noise; the same for the same seed."""
    rng = random.Random(seed)
    return [floor + (start - floor) * math.exp(-i * 7 / count) + rng.gauss(0, noise) for i in range(count)]


def write_run(
    writer: LogWriter,
    name: str = "cascade-7",
    *,
    records: int = RECORDS,
    bad: Sequence[float] = (),
    **options: object,
) -> UUID:
    """A live run of six metrics in 192 s; ``bad`` are values of ``grad/norm`` from two thirds on."""
    config = {"lr": 0.01, "total_steps": 4000, "model": {"depth": 3, "activation": "tanh"}, "seed": 1}
    run_id = writer.start(
        name, ago_s=LASTING_S, config=config, tags=("baseline", "spirals"),
        notes="A pool of 16 candidates.\nThe threshold is 0.1.", **options,
    )  # type: ignore[arg-type]  # fmt: skip
    start_ns = writer.journals[name].stream.started_ns
    loss, valid = curve(records, 2.3, 0.3, 0.05, 1), curve(records, 2.3, 0.35, 0.01, 2)
    accuracy, norm = curve(records, 0.4, 0.98, 0.01, 3), curve(records, 2.0, 1.5, 0.4, 4)
    norm[records * 2 // 3 : records * 2 // 3 + len(bad)] = bad
    for i in range(records):
        values = {"train/loss": loss[i], "lr": 0.01 * 0.5 ** (i * 3 // records), "grad/norm": norm[i]}
        if i % 20 == 0:
            values |= {"val/loss": valid[i], "val/acc": accuracy[i]}
        if i % 7 == 0:
            values["candidate/correlation"] = 0.2 + 0.1 * math.sin(i * 9 / records)
        writer.log(name, values, i, start_ns + int((LASTING_S - 0.4) * SECOND_NS * (i + 1) / records))
    return run_id


def grow(writer: LogWriter, name: str, units: int) -> None:
    """Log the cascade after each unit is added."""
    rng = random.Random(5)
    hidden: list[dict[str, object]] = []
    for unit in range(units):
        weights = [rng.gauss(0, 1) for _ in range(2 + unit)]
        hidden.append({"id": unit, "weights": weights, "bias": rng.gauss(0, 1), "activation": "tanh"})
        output = [[rng.gauss(0, 1)] for _ in range(2 + unit + 1)]
        topology = {"input_size": 2, "output_size": 1, "hidden_units": hidden,
                    "output_weights": output, "output_bias": [0.1]}  # fmt: skip
        body = pack_topology(topology)
        writer.journals[name].append(Kind.TOPOLOGY, (unit + 1) * 150, writer.now_ns, (), body)


def acknowledge(log_dir: Path, stream_id: UUID, through: int) -> None:
    """What a syncer writes once Cassandra has acknowledged the first records of a stream."""
    state = State(log_dir)
    state.put_segment(SegmentState(stream_id, 1, 1, through))
    state.commit()
    state.close()
