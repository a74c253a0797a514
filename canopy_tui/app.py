"""The app: theme, screens, where the data comes from, and how to leave."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar
from uuid import UUID

from textual.app import App, SystemCommand
from textual.binding import Binding, BindingType
from textual.command import Provider
from textual.message import Message
from textual.reactive import var
from textual.screen import Screen
from textual.signal import Signal
from textual.theme import Theme

from canopy_tui.background import Background
from canopy_tui.charts.glyphs import ASCII, BRAILLE
from canopy_tui.messages import LogGrew, SourceFailed, StatusLoaded
from canopy_tui.screens.themes import THEMES
from canopy_tui.view import View
from canopy_tui.wake import Watcher
from wal.source import Connection, RunRow, StoreStatus

if TYPE_CHECKING:
    from wal.merged import MergedSource

STATUS_SECONDS = 1.0
"""How often the status line asks where the data comes from: an answer from memory, never a network call."""

QUIT = "Leave canopy; runs and shipping go on"

ExtraCommand = tuple[str, str, Callable[[], object]]
"""Name, help and callable of a palette command that another part brings; the callable runs on a thread."""


def _runs_provider() -> type[Provider]:
    from canopy_tui.commands import RunsProvider

    return RunsProvider


class CanopyApp(App[None]):
    """Browse training runs. ``source`` is read on background threads only."""

    TITLE = "canopy"
    CSS_PATH = "app.tcss"
    COMMANDS: ClassVar[set[type[Provider] | Callable[[], type[Provider]]]] = App.COMMANDS | {_runs_provider}
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("q", "quit", "Quit", id="app.quit", tooltip=QUIT),
        Binding("ctrl+q", "quit", show=False, id="app.quit_everywhere", tooltip=QUIT),
        Binding(
            "question_mark", "help", "Help", id="app.help", key_display="?", tooltip="The keys of this screen"
        ),
    ]

    store_status: var[StoreStatus] = var(StoreStatus(Connection.LOCAL_ONLY), init=False)
    """Changes every second while a run lives; who shows it is told, and nothing else is painted anew."""

    def __init__(
        self,
        source: MergedSource,
        *,
        log_dir: Path,
        clock_ns: Callable[[], int] = time.time_ns,
        open_run: UUID | None = None,
        extra_commands: Sequence[ExtraCommand] = (),
        unicode: bool = True,
        view: View | None = None,
        after_start: Callable[[], object] | None = None,
        leaving: str = QUIT,
    ) -> None:
        super().__init__()
        self.source = source
        self.log_dir = log_dir
        self.clock_ns = clock_ns
        self.unicode = unicode
        """Whether glyphs beyond ASCII may be drawn; ``glyphs`` are the charts'."""
        self.glyphs = BRAILLE if unicode else ASCII
        self.view = View() if view is None else view
        self.background = Background()
        self.watcher = Watcher(log_dir, lambda: self.post_message(LogGrew()))
        self.extra_commands = tuple(extra_commands)
        self.listed: tuple[RunRow, ...] = ()
        """The runs as the list shows them, in its order."""
        self.known: tuple[RunRow, ...] = ()
        """Every run, newest first; of them the user marked those whose ids are in ``marked``."""
        self.marked: frozenset[UUID] = frozenset()
        self.status_changed: Signal[StoreStatus] = Signal(self, "status_changed")
        self.leaving = leaving
        """What leaving does, as help and palette say it."""
        self._first_run = open_run
        self._after_start = after_start
        """Run in the background once the first rows have been drawn."""

    def on_mount(self) -> None:
        for theme in THEMES:
            self.register_theme(theme)
        wished = os.environ.get("TEXTUAL_THEME") or self.view.theme
        self.theme = wished if wished in self.available_themes else "canopy"
        self.theme_changed_signal.subscribe(self, self._keep_theme)
        from canopy_tui.screens.runs import RunsScreen

        self.push_screen(RunsScreen())
        if self._first_run is not None:
            self.open_run(self._first_run)
        self.set_interval(STATUS_SECONDS, self.ask_status)
        self.ask_status()

    def _keep_theme(self, theme: Theme) -> None:
        if theme.name != self.view.theme:
            self.view.choose_theme(theme.name)

    def started(self) -> None:
        """The first rows have been drawn: what waited for that may go on."""
        self.watcher.start()
        command, self._after_start = self._after_start, None
        if command is not None:
            self.run_command("start", command)

    def on_unmount(self) -> None:
        self.watcher.close()

    def on_log_grew(self) -> None:
        """Pass the word on to whoever is in front."""
        self.screen.post_message(LogGrew())

    def run_command(self, name: str, command: Callable[[], object]) -> None:
        """Run what may take its time in the background, and say when it failed."""

        def work() -> Message | None:
            try:
                command()
            except Exception as error:  # noqa: BLE001 - another part's work: it says itself what went wrong
                return SourceFailed(name, f"{name}: {error}")
            return None

        self.background.submit(f"command {name}", work, self)

    # -- where the data comes from ------------------------------------------------------------------

    def ask_status(self) -> None:
        """Ask the source, in the background, where its data comes from."""
        self.background.submit("status", lambda: StatusLoaded(self.source.status()), self)

    def on_status_loaded(self, message: StatusLoaded) -> None:
        self.store_status = message.status

    def watch_store_status(self, status: StoreStatus) -> None:
        self.status_changed.publish(status)

    def on_source_failed(self, message: SourceFailed) -> None:
        """A failure of work that no screen asked for."""
        self.notify(message.reason, severity="error", markup=False)

    # -- moving between screens ---------------------------------------------------------------------

    def open_run(self, run_id: UUID) -> None:
        """Show one run; in Run, show this one instead."""
        from canopy_tui.screens.run import RunScreen

        screen = RunScreen(run_id, next((row for row in self.listed if row.run_id == run_id), None))
        if isinstance(self.screen, RunScreen):
            self.switch_screen(screen)
        else:
            self.push_screen(screen)

    def neighbour(self, run_id: UUID, offset: int) -> UUID | None:
        """The run ``offset`` places further down the list, or None past its ends or for a run not listed."""
        order = [row.run_id for row in self.listed]
        if run_id not in order:
            return None
        place = order.index(run_id) + offset
        return order[place] if 0 <= place < len(order) else None

    def action_help(self) -> None:
        from canopy_tui.screens.help import HelpScreen

        if not isinstance(self.screen, HelpScreen):
            self.push_screen(HelpScreen(self.screen, self.leaving))

    async def action_quit(self) -> None:
        """Leave at once: what runs in the background is not waited for."""
        self.background.close()
        self.exit()

    def action_help_quit(self) -> None:
        """ctrl+c, where no text is selected, leaves as it does everywhere else."""
        self.background.close()
        self.exit()

    # -- the palette --------------------------------------------------------------------------------

    def get_system_commands(self, screen: Screen[object]) -> Iterable[SystemCommand]:
        from canopy_tui.commands import app_commands

        yield from app_commands(self, screen)
