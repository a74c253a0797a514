"""The real app on a log that the real journal wrote, for pilots and snapshots."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from dataclasses import replace
from typing import Any

from textual.pilot import Pilot

from canopy_tui.app import CanopyApp
from canopy_tui.screens.runs import RunsScreen
from helpers.screenlogs import LogWriter
from helpers.syncing import target_of
from wal.link import Target
from wal.merged import MergedSource
from wal.settings import Settings
from wal.source import Connection

DEADLINE_S = 20.0
"""Longer than anything here takes on a busy machine; only a failure waits for it."""


def app_on(
    writer: LogWriter,
    target: tuple[Connection, str, str] = (Connection.LOCAL_ONLY, "", ""),
    **options: Any,
) -> CanopyApp:
    """The app with the writer's clock, on its log directory alone. ``target`` is what the settings and the
    managed node say of the Cassandra that is not there: connection, detail, remedy."""
    nowhere = Target(Settings(), None, *target)
    source = MergedSource(writer.log_dir, find=lambda: nowhere, clock_ns=writer.clock_ns)
    return CanopyApp(source, log_dir=writer.log_dir, clock_ns=writer.clock_ns, **options)


def app_over(writer: LogWriter, settings: Settings, **options: Any) -> CanopyApp:
    """The app with the writer's clock, on its log directory and on a real Cassandra, which the status line
    calls by the usual address: the port of a test's node is another one each time."""
    target = target_of(settings)
    assert target.endpoint is not None
    target = replace(target, endpoint=replace(target.endpoint, label="127.0.0.1:9042"))
    source = MergedSource(writer.log_dir, find=lambda: target, clock_ns=writer.clock_ns)
    return CanopyApp(source, log_dir=writer.log_dir, clock_ns=writer.clock_ns, **options)


async def until(pilot: Pilot[Any], condition: Callable[[], object]) -> None:
    """Wait for a condition, as a user would wait for a screen."""
    deadline = time.monotonic() + DEADLINE_S
    while not condition():
        assert time.monotonic() < deadline, "the screen never came to it"
        await asyncio.sleep(0.01)
        await pilot.pause()


async def settled(pilot: Pilot[Any]) -> None:
    """Wait until what was asked for has been read and drawn."""
    app = pilot.app
    assert isinstance(app, CanopyApp)
    await until(pilot, lambda: not app.background.busy())
    await pilot.pause()


def runs_screen(app: CanopyApp) -> RunsScreen:
    """The run list, on top or under another screen."""
    return next(screen for screen in app.screen_stack if isinstance(screen, RunsScreen))


def lines_of(app: CanopyApp) -> list[str]:
    """The screen as text, a line each, without trailing blanks."""
    height = app.size.height
    strips = app.screen._compositor.render_strips()  # pyright: ignore[reportPrivateUsage]
    return ["".join(segment.text for segment in strip).rstrip() for strip in strips[:height]]


def text_of(app: CanopyApp) -> str:
    """The whole screen as text."""
    return "\n".join(lines_of(app))
