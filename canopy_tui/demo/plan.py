"""What the demo trains: three runs to watch, and nine short ones that end in every way a run can end."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum, auto
from typing import Any

SPIRALS = "two-spirals"
LINEAR = "linear-outputs"


class Fate(Enum):
    """How a run ends."""

    FINISHES = auto()
    IS_KILLED = auto()
    FAILS = auto()
    IS_RESUMED = auto()


@dataclass(frozen=True, slots=True)
class Training:
    """One run to make: ``arguments`` are those of ``canopy_tui.demo.train``.

    ``at_unit`` says when it is killed, fails, or stops to be resumed; ``seconds`` how long it grows where it
    is watched.
    """

    project: str
    name: str
    arguments: tuple[str, ...]
    fate: Fate = Fate.FINISHES
    at_unit: int = 0
    seconds: float = 0.0


def _training(project: str, name: str, arguments: str, *more: Any, **named: Any) -> Training:
    return Training(project, name, tuple(arguments.split()), *more, **named)


# Two to three minutes: one is over before one has looked around, five are boring. A larger pool takes longer,
# as it would where it costs something; and three curves of different speeds are told apart at once.
LIVE = (
    _training(SPIRALS, "pool-4", "--seed 3 --pool 4 --tags live", seconds=120.0),
    _training(SPIRALS, "pool-16", "--seed 13 --pool 16 --tags live", seconds=180.0),
    _training(SPIRALS, "pool-8", "--seed 7 --pool 8 --tags live", seconds=150.0),
)
_DESCENT = "--output linear --optimizer descent --output-epochs 120 --candidate-epochs 40 --units 16"

SHORT = (
    _training(SPIRALS, "baseline", "--seed 1 --tags baseline"),
    _training(LINEAR, "rate-0.05", f"{_DESCENT} --seed 2 --output-rate 0.05"),
    _training(SPIRALS, "long-candidates", "--seed 2 --candidate-epochs 120 --units 16"),
    _training(LINEAR, "rate-0.21", f"{_DESCENT} --seed 2 --output-rate 0.21 --tags diverged"),
    _training(SPIRALS, "out-of-memory", "--seed 4", Fate.IS_KILLED, at_unit=7),
    _training(SPIRALS, "broken", "--seed 6", Fate.FAILS, at_unit=5),
    _training(SPIRALS, "preempted", "--seed 8 --tags resumed", Fate.IS_RESUMED, at_unit=6),
    _training(LINEAR, "rate-0.1", f"{_DESCENT} --seed 2 --output-rate 0.1"),
    _training(LINEAR, "rate-0.15", f"{_DESCENT} --seed 2 --output-rate 0.15"),
)
