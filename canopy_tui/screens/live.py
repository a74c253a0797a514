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
"""A screen is correct within this time, or twice that where repaints are dear, whatever the file system tells
or does not tell."""

LEAST_SECONDS, MOST_SECONDS = 0.25, 0.5
"""Between two repaints of what grows: four a second are smooth, more only load a slow terminal; where a
repaint is dear, two a second are."""

PAUSE_PER_READING = 25
"""Times the processor time of a reading, of which drawing takes half as much again: following a run costs a
tenth of a core at most."""


class LiveScreen(Screen[None]):
    """Reads nothing while another screen covers it."""

    app: CanopyApp  # pyright: ignore[reportIncompatibleMethodOverride]

    def __init__(self) -> None:
        super().__init__()
        self._grown_at = 0.0
        self._pause_s = LEAST_SECONDS
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

    def grown(self, reading_s: float = 0.0) -> None:
        """More is shown than before: the next repaint is not to come too soon. ``reading_s`` is the processor
        time that reading it took."""
        self._grown_at = time.monotonic()
        self._pause_s = min(max(PAUSE_PER_READING * reading_s, LEAST_SECONDS), MOST_SECONDS)

    # -- when it reads ------------------------------------------------------------------------------

    def on_mount(self) -> None:
        self._polling = self.set_interval(POLL_SECONDS, self._poll_due)

    def _poll_due(self) -> None:
        if time.monotonic() - self._grown_at >= self._pause_s:
            self.poll()

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
        wait = self._grown_at + self._pause_s - time.monotonic()
        if wait <= 0:
            self.read()
        else:
            self._due = self.set_timer(wait, self._read_due)

    def _read_due(self) -> None:
        self._due = None
        self.read()
