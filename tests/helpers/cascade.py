"""A cascade-correlation run for pictures. Not trained: what a trainer computes differs in its last bits from
one machine to the next, and a picture must not."""

from __future__ import annotations

import math
import random
from uuid import UUID

from helpers.screenlogs import SECOND_NS, LogWriter
from wal.record import Kind, pack_topology

OUTPUTS, CANDIDATES = 40, 50
"""Epochs of each phase."""

LASTING_S = 150.0


def write_cascade(writer: LogWriter, name: str, units: int) -> UUID:
    """A live run: the loss falls while the outputs are trained, a correlation rises while candidates are."""
    rng = random.Random(11)
    planned = OUTPUTS + 20 * (OUTPUTS + CANDIDATES)
    run_id = writer.start(name, project="two-spirals", ago_s=LASTING_S, config={"total_steps": planned})
    start_ns = writer.journals[name].stream.started_ns
    epochs = units * (OUTPUTS + CANDIDATES) + OUTPUTS
    loss, floor = 1.05, 1.0
    for epoch in range(epochs):
        unit, place = divmod(epoch, OUTPUTS + CANDIDATES)
        ts_ns = start_ns + int((LASTING_S - 0.3) * SECOND_NS * (epoch + 1) / epochs)
        values = {"hidden_units": float(unit), "growth": float(unit)}
        if place < OUTPUTS:
            floor = 0.92 ** (unit + 1)
            loss = floor + (loss - floor) * 0.8 + abs(rng.gauss(0, 0.002))
            values |= {"train/acc": 1.0 - 0.5 * loss, "val/acc": 0.96 - 0.5 * loss}
        else:
            values["growth"] += 1.0
            values["candidate/best"] = 0.1 + 0.01 * (unit % 5) + 0.06 * (1 - math.exp((OUTPUTS - place) / 9))
        values |= {"train/loss": loss * 0.93, "val/loss": loss, "lr": 0.2 if place < OUTPUTS else 1.0}
        writer.log(name, values, epoch + 1, ts_ns)
        if place == OUTPUTS + CANDIDATES - 1:
            topology = {"input_size": 2, "output_size": 1, "hidden_units": unit + 1}
            writer.journals[name].append(Kind.TOPOLOGY, epoch + 1, ts_ns, (), pack_topology(topology))
    return run_id
