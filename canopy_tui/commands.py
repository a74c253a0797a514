"""What the command palette offers."""

from __future__ import annotations

from collections.abc import Iterable
from functools import partial
from typing import TYPE_CHECKING, cast

from textual.app import SystemCommand
from textual.command import DiscoveryHit, Hit, Hits, Provider
from textual.content import Content

from canopy_tui import format as fmt
from canopy_tui.listing import run_name
from canopy_tui.screens.runs import RunsScreen
from wal.source import RunRow

if TYPE_CHECKING:
    from textual.screen import Screen

    from canopy_tui.app import CanopyApp

SHOWN_RUNS = 8
"""Runs offered before anything is typed: the newest few."""


def app_commands(app: CanopyApp, screen: Screen[object]) -> Iterable[SystemCommand]:
    """Commands of the app, those that another part brought among them."""
    for name, text, command in app.extra_commands:
        yield SystemCommand(name, text, partial(app.run_command, name, command))
    if isinstance(screen, RunsScreen):
        yield SystemCommand("Choose main metric", "Of the highlighted run's project", screen.action_metric)
        yield SystemCommand("Sort runs", "By any column", screen.action_sort_menu)
        yield SystemCommand("Filter runs", "As you type", screen.action_filter)
        yield SystemCommand(
            "Copy run ids", "Of the marked runs, else of the highlighted one", screen.action_copy_ids
        )
    yield SystemCommand("Theme", "Choose the colours", app.action_change_theme)
    yield SystemCommand("Keys", "The keys of this screen", app.action_help)
    yield SystemCommand("Quit", app.leaving, app.action_quit)


class RunsProvider(Provider):
    """``go to run``: finds a run by name, project or id among those that are listed."""

    async def search(self, query: str) -> Hits:
        matcher = self.matcher(query)
        for row in self._app.listed:
            label = _label(row)
            score, offsets = matcher.fuzzy_search.match(query, label)
            if score > 0:
                # Not matcher.highlight: it reads the candidate as markup, and a run may be called anything.
                shown = Content(label)
                for offset in offsets:
                    shown = shown.stylize(self.match_style or "bold", offset, offset + 1)
                yield Hit(
                    score, shown, partial(self._app.open_run, row.run_id), text=label, help="Open this run"
                )

    async def discover(self) -> Hits:
        for row in self._app.listed[:SHOWN_RUNS]:
            label = _label(row)
            open_run = partial(self._app.open_run, row.run_id)
            yield DiscoveryHit(Content(label), open_run, text=label, help="Open this run")

    @property
    def _app(self) -> CanopyApp:
        return cast("CanopyApp", self.app)


def _label(row: RunRow) -> str:
    name = fmt.middle_ellipsis(run_name(row), 40)
    return f"Run: {name} · {fmt.clean(row.project, 30)} · {row.run_id.hex[-8:]}"
