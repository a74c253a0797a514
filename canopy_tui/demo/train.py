"""A training script that uses ``wal`` as any user's would: ``python -m canopy_tui.demo.train --help``.

It grows a cascade-correlation network on the two spirals and logs every epoch. ``--pace`` spreads the run
over so many seconds, so that one can watch it grow; ``--checkpoint`` with ``--stop-after-units`` and then
``--resume`` shows a run that goes on in another process.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, fields
from pathlib import Path
from types import FrameType
from typing import Any, get_args, get_type_hints

import wal
from canopy_tui.demo.cascor import CascadeCorrelation, Epoch, Settings, two_spirals

TARGET_ACCURACY = 0.95
"""The summary keeps with how many units a run first reached this on the training points."""


class Stopped(Exception):
    """Somebody asked for the end of the training."""


class StopRequest:
    """SIGTERM, heeded between :meth:`heed` and :meth:`ignore`: :class:`Stopped` is raised there, once.

    Starting and ending a run are not cut short; a request that comes meanwhile is kept.
    """

    def __init__(self) -> None:
        self._asked = self._heeded = False
        signal.signal(signal.SIGTERM, self._ask)

    def heed(self) -> None:
        self._heeded = True
        if self._asked:
            raise Stopped

    def ignore(self) -> None:
        self._heeded = False

    def _ask(self, _number: int, _frame: FrameType | None) -> None:
        heeded, self._heeded, self._asked = self._heeded, False, True
        if heeded:
            raise Stopped


class Pace:
    """Spreads the steps of a run over ``seconds``; with 0 it never waits.

    Each step has its own due time, counted from the first, so that a slow step is caught up with later.
    """

    def __init__(
        self,
        seconds: float,
        steps: int,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._seconds_per_step = seconds / max(steps, 1)
        self._clock, self._sleep = clock, sleep
        self._started = clock()
        self._steps = 0

    def wait(self) -> None:
        """Wait until the next step is due."""
        self._steps += 1
        early = self._started + self._steps * self._seconds_per_step - self._clock()
        if self._seconds_per_step > 0.0 and early > 0.0:
            self._sleep(early)


def logged(epoch: Epoch) -> dict[str, float | str]:
    """What one epoch logs. Accuracies exist in output phases only, correlations in candidate phases only."""
    values: dict[str, float | str] = {"train/loss": epoch.train_loss, "val/loss": epoch.val_loss}
    if epoch.train_accuracy is not None and epoch.val_accuracy is not None:
        values |= {"train/acc": epoch.train_accuracy, "val/acc": epoch.val_accuracy}
    values |= {
        "hidden_units": epoch.hidden_units,
        "growth": epoch.growth,
        "lr": epoch.rate,
        "phase": epoch.phase,
    }
    if epoch.correlations:
        values["candidate/best"] = max(epoch.correlations)
        values |= {f"candidate/{index:02}": value for index, value in enumerate(epoch.correlations)}
    return values


def config(settings: Settings) -> dict[str, object]:
    """The run's config: all settings, the data set, and the length that progress is measured by."""
    train, validation = two_spirals(), two_spirals(offset=0.5)
    return {
        **asdict(settings),
        "total_steps": settings.total_steps,
        "algorithm": "cascade-correlation",
        "dataset": "two-spirals",
        "train_points": len(train.targets),
        "validation_points": len(validation.targets),
    }


def train(run: wal.Run, settings: Settings, options: argparse.Namespace) -> None:
    """Train and log until the budget is used, the loss is no number, or the options say to stop."""
    checkpoint = json.loads(options.checkpoint.read_text()) if options.resume else None
    network = CascadeCorrelation(settings, two_spirals(), two_spirals(offset=0.5), checkpoint)
    pace = Pace(options.pace, settings.total_steps - network.step)
    reached = False
    for event in network.train():
        if isinstance(event, Epoch):
            run.log(logged(event), step=event.step)
            if not reached and (event.train_accuracy or 0.0) >= TARGET_ACCURACY:
                reached = True
                run.summary["units_at_95"] = event.hidden_units
            pace.wait()
            continue
        run.log_topology(network.topology(), step=event.step)
        print(f"unit {event.hidden_units}: correlation {event.unit.correlation:.3f}", flush=True)
        if options.checkpoint and event.hidden_units == options.stop_after_units:
            save(options.checkpoint, network.checkpoint())
            return
        if event.hidden_units == options.fail_at_unit:
            raise RuntimeError(f"unit {event.hidden_units} could not be installed: --fail-at-unit said so")


def save(path: Path, checkpoint: dict[str, Any]) -> None:
    """Write a checkpoint that is either whole or not there."""
    unfinished = path.with_suffix(".part")
    unfinished.write_text(json.dumps(checkpoint))
    os.replace(unfinished, path)


def parse(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    """The command line: what the run is called, how it is paced and stopped, and every training setting."""
    parser = argparse.ArgumentParser(
        prog="python -m canopy_tui.demo.train",
        description="Grow a cascade-correlation network on the two spirals, and log it with wal.",
    )
    parser.add_argument("--project", default="two-spirals")
    parser.add_argument("--name", help="the run's name (default: made by wal)")
    parser.add_argument("--id", help="an id of your own; with --resume the run of that id goes on")
    parser.add_argument("--tags", nargs="*", default=[], metavar="TAG")
    parser.add_argument("--pace", type=float, default=0.0, metavar="SECONDS", help="spread the run over this")
    parser.add_argument("--checkpoint", type=Path, metavar="FILE")
    parser.add_argument("--stop-after-units", type=int, metavar="N", help="write the checkpoint and stop")
    parser.add_argument("--resume", action="store_true", help="go on from the checkpoint, as the run --id")
    parser.add_argument("--fail-at-unit", type=int, metavar="N", help="raise an exception there")
    training = parser.add_argument_group("training")
    kinds = get_type_hints(Settings)
    for field in fields(Settings):
        option = f"--{field.name.replace('_', '-')}"
        choices = get_args(kinds[field.name]) or None  # of a Literal
        training.add_argument(option, type=type(field.default), default=field.default, choices=choices)
    options = parser.parse_args(arguments)
    if options.checkpoint is None and (options.resume or options.stop_after_units is not None):
        parser.error("--resume and --stop-after-units need --checkpoint FILE")
    return options


def main(arguments: Sequence[str] | None = None) -> None:
    """Train one run. SIGTERM ends the training early and the run in order: its summary says so."""
    options = parse(arguments)
    settings = Settings(**{field.name: getattr(options, field.name) for field in fields(Settings)})
    stop = StopRequest()
    with wal.init(
        project=options.project,
        name=options.name,
        id=options.id,
        config=config(settings),
        tags=options.tags,
        resume="must" if options.resume else None,
    ) as run:
        run.define_metric("candidate/best", goal="max")
        try:
            stop.heed()
            train(run, settings, options)
            stop.ignore()
        except Stopped:
            run.summary["stopped"] = "on request"


if __name__ == "__main__":
    main()
