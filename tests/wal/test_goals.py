"""Which metric stands for a run, and which way it should go."""

from __future__ import annotations

import pytest

from wal.reading.goals import goal_of, main_metric, total_steps


@pytest.mark.parametrize(
    ("names", "main"),
    [
        (["lr", "train/loss", "loss", "val_loss"], "val_loss"),
        (["val_loss", "val/loss"], "val/loss"),
        (["train_loss", "train/loss"], "train/loss"),
        (["lr", "acc", "policy_Loss", "loss_q"], "policy_Loss"),
        (["lr", "acc"], "lr"),
        ([], None),
    ],
)
def test_main_metric(names: list[str], main: str | None) -> None:
    assert main_metric(names) == main


def test_the_users_choice_wins_where_the_project_has_it() -> None:
    assert main_metric(["loss", "acc"], "acc") == "acc"
    assert main_metric(["loss", "acc"], "f1") == "loss"


@pytest.mark.parametrize(
    ("name", "goal"),
    [
        *((name, "min") for name in ("loss", "val/loss", "trainLoss", "WER", "error_rate", "valloss", "mse")),
        *((name, "max") for name in ("acc", "val_acc5", "ValAUC", "f1", "eval/f1_score", "accuracy")),
        *((name, None) for name in ("lr", "epoch", "grad_norm", "accumulated", "terror", "")),
    ],
)  # fmt: skip
def test_goal_by_name(name: str, goal: str | None) -> None:
    assert goal_of(name) == goal


def test_a_definition_decides() -> None:
    assert goal_of("loss", {"loss": {"goal": "max"}}) == "max"
    assert goal_of("val/x", {"val/*": {"goal": "min"}}) == "min"
    assert goal_of("val/x", {"val/x": {"goal": "max"}, "val/*": {"goal": "min"}}) == "max"
    assert goal_of("loss", {"loss": {"goal": None, "step_metric": "epoch"}}) == "min"


@pytest.mark.parametrize(
    ("config", "steps"),
    [
        ({"total_steps": 100}, 100),
        ({"max_steps": -1, "num_steps": 50.0}, 50),
        ({"total_steps": True, "max_iters": 7}, 7),
        ({"total_steps": "100"}, None),
        ({}, None),
    ],
)
def test_total_steps(config: dict[str, object], steps: int | None) -> None:
    assert total_steps(config) == steps
