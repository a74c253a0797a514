"""Cascade-correlation on the two spirals, in numpy: what the demo's trainer learns.

The algorithm is S. E. Fahlman and C. Lebiere, "The Cascade-Correlation Learning Architecture", NIPS 2,
1990: the output weights are trained; then a pool of candidate units is trained to maximise the covariance
of their value with the residual error; the best one is installed, its input weights frozen, and it feeds
every later unit and the outputs. Both kinds of training use quickprop (S. E. Fahlman, "An Empirical Study
of Learning Speed in Back-Propagation Networks", CMU-CS-88-162, 1988). The task is the two spirals of
K. J. Lang and M. J. Witbrock (1988), 97 points each over three turns.

One thing differs from the paper: each phase has a fixed number of epochs in place of a patience, so that
the length of a run is known when it starts.

Pure: no clock, no files, no logging. Randomness comes from the seed alone.
"""

from __future__ import annotations

from collections.abc import Generator, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]

POINTS_PER_SPIRAL = 97
POINTS_PER_HALF_TURN = 16
SPIRAL_RADIUS = 6.5
SPIRAL_LENGTH = 104
"""The radius shrinks by 1/104 of itself a point, so the spirals end before they meet in the middle."""

INPUTS = 2
PRIME_OFFSET = 0.1
"""Added to the derivative of a tanh output, so that a saturated wrong output still learns (Fahlman 1988)."""

OUTPUT_RANGE = 0.1
"""Output weights begin within ± this: larger ones saturate, and the first epochs would only unlearn them."""


@dataclass(frozen=True, slots=True)
class Dataset:
    """``inputs`` (n, 2) and ``targets`` (n, 1), each target −1 or +1."""

    inputs: Array
    targets: Array


def two_spirals(offset: float = 0.0) -> Dataset:
    """The 194 points of the task; with ``offset`` 0.5 the 192 points half-way between neighbours."""
    position = np.arange(POINTS_PER_SPIRAL) + offset
    position = position[position <= POINTS_PER_SPIRAL - 1]
    angle = position * np.pi / POINTS_PER_HALF_TURN
    radius = SPIRAL_RADIUS * (SPIRAL_LENGTH - position) / SPIRAL_LENGTH
    spiral = np.column_stack((radius * np.sin(angle), radius * np.cos(angle)))
    side = np.ones((len(position), 1))
    return Dataset(np.vstack((spiral, -spiral)), np.vstack((side, -side)))


@dataclass(frozen=True, slots=True)
class Settings:
    """Everything that decides a training run. Rates multiply slopes that are means over the points."""

    seed: int = 7
    units: int = 20
    pool: int = 8
    output_epochs: int = 40
    candidate_epochs: int = 50
    output_rate: float = 0.2
    candidate_rate: float = 1.0
    decay: float = 1e-4
    max_growth: float = 2.0
    weight_range: float = 1.0
    output: Literal["tanh", "linear"] = "tanh"
    optimizer: Literal["quickprop", "descent"] = "quickprop"
    """How outputs are trained. ``descent`` is plain gradient descent, which diverges on linear outputs when
    the rate passes 2 / the largest eigenvalue of the features' second moments: each unit raises that one."""

    @property
    def total_steps(self) -> int:
        """Epochs of a whole run: an output phase first, then a candidate and an output phase a unit."""
        return self.output_epochs + self.units * (self.candidate_epochs + self.output_epochs)


@dataclass(frozen=True, slots=True)
class Epoch:
    """One epoch of either phase. ``step`` counts epochs from 1 over the whole run; ``growth`` counts growth
    iterations: the candidate phase that finds unit k and the output phase after it are the k-th.

    Losses are mean squared errors of targets −1 and +1. Accuracies are None in a candidate phase, where the
    outputs do not move; ``correlations`` (see :func:`correlation`) are empty in an output phase.
    """

    step: int
    phase: Literal["output", "candidate"]
    growth: int
    hidden_units: int
    rate: float
    train_loss: float
    val_loss: float
    train_accuracy: float | None
    val_accuracy: float | None
    correlations: tuple[float, ...]


@dataclass(frozen=True, slots=True)
class Unit:
    """An installed hidden unit, frozen: tanh of ``weights`` (one an input and an earlier unit) and ``bias``.

    ``correlation`` is what it was chosen for.
    """

    weights: tuple[float, ...]
    bias: float
    correlation: float


@dataclass(frozen=True, slots=True)
class UnitAdded:
    """A unit was installed after the epoch ``step``; ``hidden_units`` counts it."""

    step: int
    hidden_units: int
    unit: Unit


class Quickprop:
    """Quickprop for one array of weights: each weight jumps to the minimum of the parabola through its last
    two slopes, at most ``max_growth`` times the last step; the gradient helps where that says nothing."""

    def __init__(self, shape: tuple[int, ...], rate: float, max_growth: float) -> None:
        self.rate = rate
        self.max_growth = max_growth
        self.shrink = max_growth / (1.0 + max_growth)
        self.slope = np.zeros(shape)
        self.step = np.zeros(shape)

    def advance(self, slope: Array) -> Array:
        """The change to add to the weights, which goes down ``slope`` (the error's derivative)."""
        # Everything is turned so that the last step went down: `along` > 0 means "still downhill".
        moving = np.where(self.step == 0.0, 1.0, -np.sign(self.step))
        along, before = moving * slope, moving * self.slope
        gradient = np.where((along > 0.0) | (self.step == 0.0), -self.rate * slope, 0.0)
        too_far = along > self.shrink * before
        gap = np.where(too_far, 1.0, self.slope - slope)
        parabola = np.where(gap == 0.0, 0.0, slope / np.where(gap == 0.0, 1.0, gap)) * self.step
        self.step = gradient + np.where(too_far, self.max_growth * self.step, parabola)
        self.slope = slope
        return self.step


def covariance(values: Array, residual: Array) -> Array:
    """The score S of each candidate: the magnitude of its covariance with the residual, over the outputs.

    ``values`` (n, pool), ``residual`` (n, outputs) -> (pool,). A mean over the points where the paper sums.
    """
    centred = residual - residual.mean(axis=0)
    return np.abs(values.T @ centred / len(values)).sum(axis=1)


def covariance_slope(features: Array, values: Array, residual: Array) -> Array:
    """The derivative of :func:`covariance` by each candidate's weights, for tanh candidates.

    ``features`` (n, d), ``values`` (n, pool), ``residual`` (n, outputs) -> (d, pool).
    """
    centred = residual - residual.mean(axis=0)
    signs = np.sign(values.T @ centred)
    return features.T @ ((1.0 - values**2) * (centred @ signs.T)) / len(values)


def correlation(values: Array, residual: Array) -> Array:
    """:func:`covariance` without units: 0 to 1, 1 for a candidate that could cancel the residual. (pool,)."""
    spread = values.std(axis=0) * residual.std(axis=0).sum()
    return covariance(values, residual) / np.where(spread > 0.0, spread, 1.0)


class CascadeCorrelation:
    """A growing network and its training, which ends at the unit budget.

    Give ``checkpoint`` (what :meth:`checkpoint` returned when a unit was added) to go on from there: the
    epochs that follow are those of an uninterrupted run, bit for bit.
    """

    def __init__(
        self,
        settings: Settings,
        train: Dataset,
        validation: Dataset,
        checkpoint: Mapping[str, Any] | None = None,
    ) -> None:
        self.settings = settings
        self.step = 0
        self.units: list[Unit] = []
        self._random = np.random.default_rng(settings.seed)
        self._train, self._validation = train, validation
        self._features = _with_bias(train.inputs)
        self._validation_features = _with_bias(validation.inputs)
        outputs = train.targets.shape[1]
        self._output = self._random.uniform(-OUTPUT_RANGE, OUTPUT_RANGE, (INPUTS + 1, outputs))
        if checkpoint is not None:
            self._restore(checkpoint)

    # -- training -----------------------------------------------------------------------------------

    def train(self) -> Iterator[Epoch | UnitAdded]:
        """Train until the unit budget is used, or until an output phase ends with weights that are no
        numbers. Overflow on the way there is what a diverging run does: numpy's warnings are held back."""
        while True:
            yield from self._train_outputs()
            if len(self.units) >= self.settings.units or not np.isfinite(self._output).all():
                return
            unit = yield from self._train_candidates()
            self._install(unit)
            yield UnitAdded(self.step, len(self.units), unit)

    def output_slope(self, weights: Array) -> Array:
        """The derivative of half the mean squared error by the output weights, (features, outputs).

        Of tanh outputs it has the prime offset, so it is steeper than the true one where they saturate.
        """
        raw = self._features @ weights
        if self.settings.output == "linear":
            return self._features.T @ (raw - self._train.targets) / len(raw)
        values = np.tanh(raw)
        prime = 1.0 - values**2 + PRIME_OFFSET
        return self._features.T @ ((values - self._train.targets) * prime) / len(raw)

    def _train_outputs(self) -> Iterator[Epoch]:
        settings = self.settings
        quickprop = Quickprop(self._output.shape, settings.output_rate, settings.max_growth)
        for _ in range(settings.output_epochs):
            with np.errstate(all="ignore"):
                slope = self.output_slope(self._output)
                if settings.optimizer == "descent":
                    change = -settings.output_rate * slope
                else:
                    change = quickprop.advance(slope + settings.decay * self._output)
                self._output = self._output + change
                self.step += 1
                epoch = self._epoch("output", settings.output_rate)
            yield epoch

    def _train_candidates(self) -> Generator[Epoch, None, Unit]:
        """Train a pool on the residual of the present outputs; returns the best candidate."""
        settings = self.settings
        spread = settings.weight_range
        weights = self._random.uniform(-spread, spread, (self._features.shape[1], settings.pool))
        quickprop = Quickprop(weights.shape, settings.candidate_rate, settings.max_growth)
        values = np.tanh(self._features @ weights)
        scores = np.zeros(settings.pool)
        for _ in range(settings.candidate_epochs):
            with np.errstate(all="ignore"):
                residual = self._outputs(self._features) - self._train.targets
                # Candidates climb the covariance, quickprop goes down: hence the sign.
                weights = weights + quickprop.advance(-covariance_slope(self._features, values, residual))
                values = np.tanh(self._features @ weights)
                scores = correlation(values, residual)
                self.step += 1
                epoch = self._epoch("candidate", settings.candidate_rate, scores)
            yield epoch
        best = int(np.argmax(scores))
        *fan_in, bias = weights[:, best].tolist()
        return Unit(tuple(fan_in), bias, float(scores[best]))

    def _install(self, unit: Unit) -> None:
        """Let ``unit`` feed the outputs, by a weight of 0: nothing changes until the outputs learn."""
        self.units.append(unit)
        weights = np.array((*unit.weights, unit.bias))
        self._features = _with_unit(self._features, weights)
        self._validation_features = _with_unit(self._validation_features, weights)
        self._output = np.insert(self._output, -1, 0.0, axis=0)

    def _outputs(self, features: Array) -> Array:
        raw = features @ self._output
        return raw if self.settings.output == "linear" else np.tanh(raw)

    def _epoch(
        self, phase: Literal["output", "candidate"], rate: float, scores: Array | None = None
    ) -> Epoch:
        train, validation = self._outputs(self._features), self._outputs(self._validation_features)
        in_outputs = phase == "output"
        return Epoch(
            step=self.step,
            phase=phase,
            growth=len(self.units) + (not in_outputs),
            hidden_units=len(self.units),
            rate=rate,
            train_loss=_loss(train, self._train),
            val_loss=_loss(validation, self._validation),
            train_accuracy=_accuracy(train, self._train) if in_outputs else None,
            val_accuracy=_accuracy(validation, self._validation) if in_outputs else None,
            correlations=() if scores is None else tuple(scores.tolist()),
        )

    # -- what is kept -------------------------------------------------------------------------------

    def topology(self) -> dict[str, object]:
        """The network in its weights form, a true cascade: unit k has ``INPUTS`` + k weights.

        ``output_weights`` is (inputs + hidden units) rows by outputs.
        """
        return {
            "input_size": INPUTS,
            "output_size": self._output.shape[1],
            "hidden_units": [
                {
                    "id": index,
                    "weights": list(unit.weights),
                    "bias": unit.bias,
                    "activation": "tanh",
                    "correlation": unit.correlation,
                }
                for index, unit in enumerate(self.units)
            ],
            "output_weights": self._output[:-1].tolist(),
            "output_bias": self._output[-1].tolist(),
        }

    def checkpoint(self) -> dict[str, Any]:
        """All that is needed to go on, as plain JSON (which keeps every bit of a finite float64).

        Take it when :class:`UnitAdded` was yielded: an output phase comes next.
        """
        return {"step": self.step, "random": self._random.bit_generator.state, "topology": self.topology()}

    def _restore(self, checkpoint: Mapping[str, Any]) -> None:
        self.step = checkpoint["step"]
        self._random.bit_generator.state = checkpoint["random"]
        topology = checkpoint["topology"]
        for unit in topology["hidden_units"]:
            self._install(Unit(tuple(unit["weights"]), unit["bias"], unit["correlation"]))
        self._output = np.array([*topology["output_weights"], topology["output_bias"]])


def _with_bias(inputs: Array) -> Array:
    """Features of the inputs: (n, inputs + 1), the constant 1 last."""
    return np.column_stack((inputs, np.ones(len(inputs))))


def _with_unit(features: Array, weights: Array) -> Array:
    """Features with one more unit's values before the constant."""
    return np.insert(features, -1, np.tanh(features @ weights), axis=1)


def _loss(outputs: Array, data: Dataset) -> float:
    return float(np.mean((outputs - data.targets) ** 2))


def _accuracy(outputs: Array, data: Dataset) -> float:
    return float(np.mean((outputs > 0.0) == (data.targets > 0.0)))
