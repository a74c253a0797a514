"""Which metric stands for a run, and whether less or more of it is better: pure functions on names.

Standard library only: listing runs imports this.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from fnmatch import fnmatchcase
from functools import lru_cache

MAIN_METRICS = ("val/loss", "val_loss", "validation/loss", "eval/loss", "loss", "train/loss", "train_loss")
"""The first of these that a project has is its main metric, unless the user chose one."""

TOTAL_STEPS_KEYS = ("total_steps", "max_steps", "num_steps", "num_training_steps", "max_iters")
"""Top-level config keys that say how many steps a run will take; the first with a positive number counts."""

# fmt: off
LESS_IS_BETTER = frozenset({
    "loss", "losses", "err", "error", "errors", "ppl", "perplexity", "wer", "cer", "mae", "mse", "rmse",
    "nll", "bpb", "bpc", "fid", "regret",
})
MORE_IS_BETTER = frozenset({
    "acc", "accuracy", "f1", "auc", "auroc", "reward", "rewards", "return", "score", "scores", "precision",
    "recall", "bleu", "rouge", "iou", "dice",
})
# fmt: on

_WORD = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+\d*|\d+")


def main_metric(names: Iterable[str], chosen: str | None = None) -> str | None:
    """The main metric of a project whose runs have logged ``names``, in the order of first logging.

    ``chosen`` is the user's choice and wins where the project has it. Else the first of
    :data:`MAIN_METRICS` that is there, else the first name with "loss" in it, else the first name. None for
    no names.
    """
    known = dict.fromkeys(names)
    if chosen is not None and chosen in known:
        return chosen
    for name in MAIN_METRICS:
        if name in known:
            return name
    return next((name for name in known if "loss" in name.lower()), next(iter(known), None))


def goal_of(name: str, definitions: Mapping[str, Mapping[str, object]] | None = None) -> str | None:
    """``"min"``, ``"max"``, or None where neither is known.

    ``definitions`` is what ``define_metric`` recorded (``RunInfo.metrics``): the name itself wins, then the
    last pattern such as ``val/*`` that matches it, then the words of the name, the last telling word first
    (``error_rate`` is less-is-better, ``val_acc1`` more-is-better). A definition without a goal decides
    nothing.
    """
    exact = _valid_goal((definitions or {}).get(name))
    if exact is not None:
        return exact
    for pattern, definition in reversed(list((definitions or {}).items())):
        goal = _valid_goal(definition)
        if goal is not None and "*" in pattern and fnmatchcase(name, pattern):
            return goal
    return _goal_by_words(name)


def _valid_goal(definition: Mapping[str, object] | None) -> str | None:
    goal = (definition or {}).get("goal")
    return str(goal) if goal in ("min", "max") else None


@lru_cache(maxsize=4096)
def _goal_by_words(name: str) -> str | None:
    for word in reversed(_WORD.findall(name)):
        lowered = word.lower()
        for spelling in (lowered, lowered.rstrip("0123456789")):
            if spelling in LESS_IS_BETTER or spelling.endswith("loss"):
                return "min"
            if spelling in MORE_IS_BETTER or spelling.endswith("accuracy"):
                return "max"
    return None


def total_steps(config: Mapping[str, object]) -> int | None:
    """How many steps the config announces, by :data:`TOTAL_STEPS_KEYS`; None when it does not say."""
    for key in TOTAL_STEPS_KEYS:
        value = config.get(key)
        if isinstance(value, bool):
            continue
        if isinstance(value, float) and value.is_integer():
            value = int(value)
        if isinstance(value, int) and value > 0:
            return value
    return None
