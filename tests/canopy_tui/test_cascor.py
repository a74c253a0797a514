"""The demo's learner: it learns, it is a true cascade, and its slopes are derivatives."""

from __future__ import annotations

import dataclasses
import json
import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from canopy_tui.demo import cascor
from canopy_tui.demo.cascor import (
    CascadeCorrelation,
    Epoch,
    Quickprop,
    Settings,
    UnitAdded,
    correlation,
    covariance,
    covariance_slope,
    two_spirals,
)

TINY = Settings(units=3, pool=4, output_epochs=5, candidate_epochs=6)


def network(settings: Settings, checkpoint: dict[str, Any] | None = None) -> CascadeCorrelation:
    return CascadeCorrelation(settings, two_spirals(), two_spirals(offset=0.5), checkpoint)


def numeric_slope(function: Callable[[np.ndarray], float], at: np.ndarray) -> np.ndarray:
    """Central differences of a function of an array, entry by entry."""
    slope = np.zeros_like(at)
    for index in np.ndindex(at.shape):
        nudge = np.zeros_like(at)
        nudge[index] = 1e-6
        slope[index] = (function(at + nudge) - function(at - nudge)) / 2e-6
    return slope


def test_the_task_is_the_classic_one() -> None:
    train, validation = two_spirals(), two_spirals(offset=0.5)
    assert train.inputs.shape == (194, 2)
    assert validation.inputs.shape == (192, 2)
    assert train.targets.sum() == validation.targets.sum() == 0
    assert np.abs(train.inputs).max() <= cascor.SPIRAL_RADIUS
    assert np.allclose(train.inputs[:97], -train.inputs[97:])
    seen = {tuple(point) for point in train.inputs.round(9)}
    assert not seen & {tuple(point) for point in validation.inputs.round(9)}


def test_the_default_run_learns_the_spirals_within_its_budget() -> None:
    settings = Settings()
    run = network(settings)
    accuracies = [e.train_accuracy for e in run.train() if isinstance(e, Epoch) and e.phase == "output"]
    assert accuracies[0] is not None
    assert accuracies[0] < 0.7, "the task is not linear: an untrained network does not know it"
    assert accuracies[-1] is not None
    assert accuracies[-1] > 0.95
    assert len(run.units) == settings.units
    assert run.step == settings.total_steps


def test_a_seed_gives_the_same_run_and_another_seed_another() -> None:
    first, again = list(network(TINY).train()), list(network(TINY).train())
    other = list(network(dataclasses.replace(TINY, seed=TINY.seed + 1)).train())
    assert first == again
    assert first != other


def test_steps_count_epochs_and_phases_log_what_they_train() -> None:
    events = list(network(TINY).train())
    epochs = [event for event in events if isinstance(event, Epoch)]
    assert [epoch.step for epoch in epochs] == list(range(1, TINY.total_steps + 1))
    for epoch in epochs:
        assert (epoch.train_accuracy is None) == (epoch.phase == "candidate")
        assert len(epoch.correlations) == (TINY.pool if epoch.phase == "candidate" else 0)
        assert all(0.0 <= value <= 1.0 + 1e-9 for value in epoch.correlations)
    added = [event for event in events if isinstance(event, UnitAdded)]
    assert [event.hidden_units for event in added] == [1, 2, 3]
    for event in added:
        assert event.unit.correlation == max(epochs[event.step - 1].correlations)


def test_the_topology_is_a_true_cascade() -> None:
    run = network(TINY)
    frozen: list[object] = []
    for event in run.train():
        if isinstance(event, UnitAdded):
            topology: dict[str, Any] = run.topology()
            units = topology["hidden_units"]
            assert [len(unit["weights"]) for unit in units] == [2 + k for k in range(event.hidden_units)]
            assert units[:-1] == frozen, "installed weights never change"
            assert len(topology["output_weights"]) == 2 + event.hidden_units
            assert json.loads(json.dumps(topology)) == topology
            frozen = units


def test_the_topology_computes_what_the_network_computes() -> None:
    run = network(TINY)
    last = [event for event in run.train() if isinstance(event, Epoch)][-1]
    topology: dict[str, Any] = run.topology()
    data = two_spirals()
    right = 0
    for point, target in zip(data.inputs.tolist(), data.targets[:, 0].tolist(), strict=True):
        fan_in = list(point)
        for unit in topology["hidden_units"]:
            raw = unit["bias"] + sum(w * x for w, x in zip(unit["weights"], fan_in, strict=True))
            fan_in.append(math.tanh(raw))
        weights = [row[0] for row in topology["output_weights"]]
        raw = topology["output_bias"][0] + sum(w * x for w, x in zip(weights, fan_in, strict=True))
        right += (raw > 0) == (target > 0)
    assert right / len(data.inputs) == pytest.approx(last.train_accuracy)


def test_a_run_that_goes_on_from_a_checkpoint_is_the_uninterrupted_run() -> None:
    whole = list(network(TINY).train())
    first = network(TINY)
    head: list[object] = []
    for event in first.train():
        head.append(event)
        if isinstance(event, UnitAdded) and event.hidden_units == 2:
            break
    second = network(TINY, json.loads(json.dumps(first.checkpoint())))
    assert head + list(second.train()) == whole


def test_covariance_slope_is_the_derivative() -> None:
    random = np.random.default_rng(1)
    features = random.normal(size=(30, 4))
    residual = random.normal(size=(30, 2))
    weights = random.normal(size=(4, 3))
    slope = covariance_slope(features, np.tanh(features @ weights), residual)
    numeric = numeric_slope(lambda w: float(covariance(np.tanh(features @ w), residual).sum()), weights)
    assert slope == pytest.approx(numeric, abs=1e-8)


@pytest.mark.parametrize("output", ["tanh", "linear"])
def test_output_slope_is_the_derivative(output: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cascor, "PRIME_OFFSET", 0.0)
    run = network(dataclasses.replace(TINY, output=output))
    train = two_spirals()
    features = np.column_stack((train.inputs, np.ones(len(train.inputs))))

    def half_error(weights: np.ndarray) -> float:
        raw = features @ weights
        values = raw if output == "linear" else np.tanh(raw)
        return float(0.5 * np.mean((values - train.targets) ** 2))

    weights = np.array([[0.2], [-0.1], [0.05]])
    assert run.output_slope(weights) == pytest.approx(numeric_slope(half_error, weights), abs=1e-8)


def test_correlation_is_pearsons() -> None:
    random = np.random.default_rng(2)
    values, residual = random.normal(size=(50, 3)), random.normal(size=(50, 1))
    expected = [abs(np.corrcoef(values[:, k], residual[:, 0])[0, 1]) for k in range(3)]
    assert correlation(values, residual).tolist() == pytest.approx(expected)
    assert correlation(np.ones((50, 1)), residual).tolist() == pytest.approx([0.0], abs=1e-12)


def test_quickprop_jumps_to_the_minimum_of_a_parabola() -> None:
    quickprop = Quickprop((1,), rate=0.1, max_growth=10.0)
    weight = np.array([3.0])
    for _ in range(2):
        weight = weight + quickprop.advance(2.0 * (weight - 1.0))
    # The first step is the gradient's; the second adds the gradient to the jump, which is exact.
    before = np.array([3.0 - 0.1 * 4.0])
    assert weight == pytest.approx(1.0 - 0.1 * 2.0 * (before - 1.0))


def test_too_high_a_rate_diverges_to_nan_by_itself() -> None:
    settings = Settings(
        units=16, output_epochs=120, candidate_epochs=40, output="linear", optimizer="descent",
        output_rate=0.21, seed=2,
    )  # fmt: skip
    run = network(settings)
    losses = [event.train_loss for event in run.train() if isinstance(event, Epoch)]
    assert min(losses) < 0.9, "it learned first"
    assert math.inf in losses
    assert math.isnan(losses[-1])
    assert run.step < settings.total_steps
