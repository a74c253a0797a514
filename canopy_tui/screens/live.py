"""What the screens that follow the log have in common: they read when something was written, and in any case
every half second."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from textual.screen import Screen
from textual.timer import Timer

if TYPE_CHECKING:
    from canopy_tui.app import CanopyApp

POLL_SECONDS = 0.5
"""A screen is correct within this time, whatever the file system tells or does not tell."""

LEAST_SECONDS = 0.25
"""Between two repaints of what grows: four a second are smooth, more only load a slow terminal."""


class LiveScreen(Screen[None]):
    """Reads nothing while another screen covers it."""

    app: CanopyApp  # pyright: ignore[reportIncompatibleMethodOverride]

    def __init__(self) -> None:
        super().__init__()
        self._grown_at = 0.0
        self._due: Timer | None = None
        """A reading that waits for its time."""

    # -- what a screen says of itself ---------------------------------------------------------------

    def poll(self) -> None:
        """Read in the background, unless a reading is under way; say how the time goes on."""
        raise NotImplementedError

    def read(self) -> None:
        """Read in the background, after the reading that may be under way."""
        raise NotImplementedError

    def follow(self) -> None:
        """Tell the app's watcher what this screen wants to hear of."""
        raise NotImplementedError

    def grown(self) -> None:
        """More is shown than before: the next repaint is not to come too soon."""
        self._grown_at = time.monotonic()

    # -- when it reads ------------------------------------------------------------------------------

    def on_mount(self) -> None:
        self._polling = self.set_interval(POLL_SECONDS, self.poll)

    def on_screen_suspend(self) -> None:
        self._polling.pause()

    def on_screen_resume(self) -> None:
        self._polling.resume()
        self.follow()
        self.poll()

    def on_log_grew(self) -> None:
        """Read at once, or as soon as the last repaint is long enough ago."""
        if self._due is not None or not self.is_current:
            return
        wait = self._grown_at + LEAST_SECONDS - time.monotonic()
        if wait <= 0:
            self.read()
        else:
            self._due = self.set_timer(wait, self._read_due)

    def _read_due(self) -> None:
        self._due = None
        self.read()
