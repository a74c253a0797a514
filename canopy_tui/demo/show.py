"""The demo on a screen: runs that grow in the app at once, and a Cassandra that comes up behind them."""

from __future__ import annotations

import os
import signal
import sys
import threading
import time
from collections.abc import Callable
from contextlib import ExitStack
from functools import partial
from typing import TYPE_CHECKING

from canopy_tui.demo.afterwards import closing_lines, run_ids, stop_syncer, stop_trainers
from canopy_tui.demo.crew import Crew
from canopy_tui.demo.ending import undisturbed
from canopy_tui.demo.place import OUTPUT, Place
from canopy_tui.demo.plain import TRAINERS_AT_ONCE, session_name
from canopy_tui.demo.plan import LIVE, SHORT
from canopy_tui.demo.server import Server, Verbs
from wal.shipping.daemon import ensure_running

if TYPE_CHECKING:
    from canopy_tui.app import CanopyApp, ExtraCommand
    from wal.merged import MergedSource

FIRST_RUN_SECONDS = 3.0
"""The app waits so long for a first run to show; a slow machine's trainers may come into an empty list."""

POLL_SECONDS = 0.02

Say = Callable[[str], None]


class Performance:
    """Everything that goes on behind the app: trainers, the node, the syncer."""

    def __init__(self, place: Place, environment: dict[str, str], train: bool) -> None:
        output = place.log_dir / OUTPUT
        output.mkdir(parents=True, exist_ok=True)
        self._place = place
        self._train = train
        session = session_name()
        self._crew = Crew(output, environment, session)
        self._heard = output / f"cassandra-{session}.txt"
        self._verbs = Verbs(environment, self._hear)
        self.server = Server(place, self._verbs)

    def _hear(self, line: str) -> None:
        with self._heard.open("a", encoding="utf-8") as file:
            file.write(f"{line}\n")

    def open(self) -> None:
        """Start the runs to watch: they are to have grown a little when the app is there."""
        if self._train:
            self.train_live()

    def train_live(self) -> None:
        """Start three runs to watch, beside those that there are."""
        self._crew.watchable(LIVE)

    def wait_for_rows(self) -> None:
        """Wait until the list has something to show."""
        deadline = time.monotonic() + FIRST_RUN_SECONDS
        while self._train and not run_ids(self._place.log_dir) and time.monotonic() < deadline:
            time.sleep(POLL_SECONDS)

    def go_on(self, app: CanopyApp) -> None:
        """Start the rest; on a background thread, once the app is drawn. What fails is said on its screen."""
        ensure_running(self._place.log_dir)
        app.call_from_thread(app.run_command, "Cassandra", self.server.start)
        if self._train:
            short_runs = partial(self._crew.run, SHORT, TRAINERS_AT_ONCE)
            app.call_from_thread(app.run_command, "the short runs", short_runs)

    def close(self) -> None:
        """Stop it all: trainers first, so that they end their runs; the node last."""
        with ExitStack() as last_first:  # each of them, whatever another raises
            last_first.callback(self.server.stop)
            last_first.callback(stop_syncer, self._place.log_dir)
            last_first.callback(self._verbs.stop)
            last_first.callback(stop_trainers, self._place.log_dir)  # those that an earlier demo kept
            last_first.callback(self._crew.stop)


def run_on_screen(place: Place, *, keep: bool, train: bool, say: Say) -> None:
    """Show the app while the demo goes on; returns by ending the process, with everything stopped.

    With ``keep`` everything goes on instead. Without ``train`` it shows what is there already.
    """
    with place.entered() as environment:
        performance = Performance(place, environment, train)
        try:
            performance.open()
            # Only now, beside the trainers' own start: importing Textual takes as long as that.
            from canopy_tui.cli.open import leave
            from wal.merged import MergedSource

            source = MergedSource(place.log_dir)
            app = _app(place, source, performance, keep)
            _quit_on_signals(app, performance, keep)
            performance.wait_for_rows()
            app.run()
        finally:
            if not keep:
                others = "the syncer" if place.configured else "the syncer and Cassandra"
                with undisturbed(), ExitStack() as stack:
                    stack.callback(performance.close)
                    say(f"stopping trainers, {others}")
        for line in closing_lines(place, kept=keep):
            say(line)
    leave(source, app.return_code or 0)


def _app(place: Place, source: MergedSource, performance: Performance, keep: bool) -> CanopyApp:
    from canopy_tui.app import QUIT, CanopyApp
    from canopy_tui.terminal import unicode_ok
    from canopy_tui.view import View

    server = performance.server
    commands: list[ExtraCommand] = [
        ("Demo: train again", "Three more runs to watch grow", performance.train_live)
    ]
    if not place.configured:
        commands += [
            ("Demo: kill Cassandra", "kill -9 the node: nothing that is logged gets lost", server.kill),
            ("Demo: start it again", "Then see what waited being shipped", server.start),
        ]
    app = CanopyApp(
        source,
        log_dir=place.log_dir,
        extra_commands=commands,
        unicode=unicode_ok(sys.stderr),
        view=View.load(),
        after_start=lambda: performance.go_on(app),
        leaving=QUIT if keep else "Leave the demo; what it started is stopped",
    )
    return app


def _quit_on_signals(app: CanopyApp, performance: Performance, keep: bool) -> None:
    """A kill leaves the app as ``q`` does, and a closed terminal stops everything as well.

    Without its terminal the app cannot end in order: it waits for ever for its last words to be written. So
    that case is left to a thread, which also has no lock of the main one's to wait for.
    """

    def hang_up() -> None:
        try:
            if not keep:
                performance.close()
        finally:
            os._exit(128 + signal.SIGHUP)

    signal.signal(signal.SIGTERM, lambda _number, _frame: app.exit(return_code=128 + signal.SIGTERM))
    signal.signal(signal.SIGHUP, lambda _number, _frame: threading.Thread(target=hang_up).start())
