"""Makes the pictures of the README: the real app, on a log that the real journal writes, at a fixed time.

    python screenshots/take.py [NAME …]

writes ``screenshots/NAME.svg`` and ``.png``. A test fails when an SVG is not what this makes.
"""

from __future__ import annotations

import asyncio
import math
import os
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
sys.path[:0] = [str(HERE), str(HERE.parent), str(HERE.parent / "tests")]
if __name__ == "__main__":  # before textual is imported; a test has an environment of its own
    for variable in list(os.environ):
        if variable.startswith(("TEXTUAL_", "CANOPY_")) or variable == "NO_COLOR":
            del os.environ[variable]
    os.environ.update(TEXTUAL_ANIMATIONS="none", TZ="UTC")
    time.tzset()

from helpers.screenlogs import LogWriter, crash, falling, on_host, rising  # noqa: E402
from helpers.screens import app_on, runs_screen, settled, text_of, until  # noqa: E402
from shapes import with_shapes  # noqa: E402
from textual.pilot import Pilot  # noqa: E402

HOUR = 3600.0


@dataclass(frozen=True)
class Picture:
    """Size of the terminal, and what is done before the picture is taken."""

    size: tuple[int, int]
    act: Callable[[Pilot[Any]], Awaitable[None]]


def write_log(writer: LogWriter) -> None:
    """An afternoon of training: runs that go on, that ended well, diverged, failed, were killed."""
    crash(writer, "cascor-gauss-killed", project="spirals", ago_s=26 * HOUR, lasting_s=HOUR, count=80)
    for place in range(9, 3, -1):
        loss = falling(900, 20 + place, 0.7, 0.002 * place, 0.1 + 0.01 * place)
        _run(writer, f"cascor-tanh-seed-{place}", "spirals", 10 + place, loss, tags=("sweep",))
    _run(writer, "resnet18-sgd", "cifar10", 9, falling(400, 1, 2.3, 0.62, 0.22), tags=("baseline",))
    _run(writer, "resnet18-adamw", "cifar10", 7, falling(400, 2, 2.3, 0.48, 0.2), tags=("baseline",))
    _run(writer, "resnet18-lr-3e-1", "cifar10", 6, [*falling(60, 3, 2.3, 1.4, 0.3), *[math.nan] * 30])
    _run(writer, "resnet18-bs-4096", "cifar10", 5, falling(40, 4, 2.3, 1.1, 0.2), end=("failed", 137))
    _run(writer, "cascor-sigmoid-seed-3", "spirals", 4, falling(900, 5, 0.7, 0.012, 0.12), tags=("sweep",))
    _run(writer, "cascor-tanh-seed-3", "spirals", 3, falling(900, 6, 0.7, 0.004, 0.1), tags=("sweep",))
    _run(writer, "cascor-tanh-seed-2", "spirals", 2, falling(900, 7, 0.7, 0.006, 0.1), tags=("sweep",))
    config = {
        "candidates": 16,
        "max_steps": 3000,
        "optimizer": "quickprop",
        "seed": 1,
        "units": {"max": 40, "kind": "tanh"},
    }
    _run(writer, "resnet18-mixup", "cifar10", 1.5, falling(700, 8, 2.3, 0.44, 0.24), end=None)
    _run(writer, "cascor-tanh-seed-1", "spirals", 0.4, falling(1900, 9, 0.7, 0.003, 0.09), end=None,
         config=config, tags=("sweep",))  # fmt: skip


def _run(
    writer: LogWriter,
    name: str,
    project: str,
    ago_h: float,
    loss: list[float],
    end: tuple[str, int] | None = ("done", 0),
    **fields: Any,
) -> None:
    lasting_s = ago_h * HOUR * (0.4 if end else 0.9995)
    writer.start(name, project=project, ago_s=ago_h * HOUR, **fields)
    count = len(loss)
    curves = {
        "train/loss": [value * (0.93 - 0.1 * place / count) for place, value in enumerate(loss)],
        "val/loss": loss,
        "val/acc": rising(count, seed=len(name), ceiling=0.985),
        "lr": [0.05 * 0.5 ** (3 * place / count) for place in range(count)],
    }
    writer.log_curves(name, curves, every=1, lasting_s=lasting_s)
    if end is not None:
        writer.end(name, *end, ago_s=ago_h * HOUR - lasting_s)


def _has_curve(pilot: Pilot[Any]) -> bool:
    return any(0x2800 < ord(char) < 0x2900 for char in text_of(pilot.app))  # type: ignore[arg-type]


async def _list(pilot: Pilot[Any]) -> None:
    preview = runs_screen(pilot.app).preview  # type: ignore[arg-type]
    await until(pilot, lambda: preview.loaded is not None and _has_curve(pilot))
    await settled(pilot)


async def _run_screen(pilot: Pilot[Any]) -> None:
    await until(pilot, lambda: pilot.app.listed)  # type: ignore[attr-defined]
    await pilot.press("enter")
    await until(pilot, lambda: "val/loss" in text_of(pilot.app) and _has_curve(pilot))  # type: ignore[arg-type]
    await settled(pilot)


PICTURES = {"runs": Picture((124, 34), _list), "run": Picture((124, 36), _run_screen)}


async def take(name: str) -> str:
    """The picture as SVG, its curves drawn as shapes."""
    picture = PICTURES[name]
    with tempfile.TemporaryDirectory() as directory, on_host():
        writer = LogWriter(Path(directory) / "log")
        write_log(writer)
        app = app_on(writer)
        async with app.run_test(size=picture.size) as pilot:
            await until(pilot, lambda: app.listed)
            await picture.act(pilot)
            svg = app.export_screenshot(title="canopy")
        writer.close()
    return with_shapes(svg)


def main(names: list[str]) -> None:
    import cairosvg

    for name in names or PICTURES:
        svg = asyncio.run(take(name))
        (HERE / f"{name}.svg").write_text(svg, encoding="utf-8", newline="\n")
        cairosvg.svg2png(bytestring=svg.encode(), write_to=str(HERE / f"{name}.png"), scale=1.25)
        print(f"screenshots/{name}.svg, screenshots/{name}.png")


if __name__ == "__main__":
    main(sys.argv[1:])
