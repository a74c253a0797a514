"""The demo on a screen: runs that grow in the app at once, and a Cassandra that comes up behind them."""

from __future__ import annotations

import os
import signal
import sys
import threading
from collections.abc import Callable
from contextlib import ExitStack
from functools import partial
from pathlib import Path

from canopy_tui import format as fmt
from canopy_tui.app import CanopyApp, ExtraCommand
from canopy_tui.cli.open import leave
from canopy_tui.demo.afterwards import stop_syncer
from canopy_tui.demo.crew import Crew
from canopy_tui.demo.ending import undisturbed
from canopy_tui.demo.place import OUTPUT, Place
from canopy_tui.demo.plain import TRAINERS_AT_ONCE, run_ids, session_name
from canopy_tui.demo.plan import LIVE, LIVE_SECONDS, SHORT
from canopy_tui.demo.server import Server, Verbs
from canopy_tui.terminal import unicode_ok
from canopy_tui.view import View
from wal.merged import MergedSource
from wal.shipping.daemon import ensure_running

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
        self._verbs = Verbs(environment, output / f"cassandra-{session}.txt")
        self.server = Server(place, self._verbs)

    def open(self) -> None:
        """Start the runs to watch: they are to have grown a little when the app is there."""
        if self._train:
            self._crew.watchable(LIVE, LIVE_SECONDS)

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
            last_first.callback(self._crew.stop)


def run_on_screen(place: Place, *, keep: bool, train: bool, say: Say) -> None:
    """Show the app while the demo goes on; returns by ending the process, with everything stopped.

    With ``keep`` everything goes on instead. Without ``train`` it shows what is there already.
    """
    with place.entered() as environment:
        performance = Performance(place, environment, train)
        source = MergedSource(place.log_dir)
        try:
            performance.open()
            app = _app(place, source, performance)
            _quit_on_signals(app, performance, keep)
            app.run()
        finally:
            if not keep:
                others = "the syncer" if place.configured else "the syncer and Cassandra"
                with undisturbed(), ExitStack() as stack:
                    stack.callback(performance.close)
                    say(f"stopping trainers, {others}")
        say(_closing_lines(place, keep))
    leave(source, app.return_code or 0)


def _app(place: Place, source: MergedSource, performance: Performance) -> CanopyApp:
    commands: list[ExtraCommand] = []
    if not place.configured:
        server = performance.server
        commands = [
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


def _closing_lines(place: Place, keep: bool) -> str:
    runs = fmt.plural(len(run_ids(place.log_dir)), "run")
    size = fmt.data_size(place.bytes_used()) + (" on disk" if place.configured else " with Cassandra's data")
    what = "what was started goes on" if keep else "what was started is stopped"
    option = " --cassandra configured" if place.configured else ""
    return "\n".join(
        (
            f"{runs} in {_short(place.log_dir)}, {size}; {what}.",
            f"look again: canopy demo --look{option}",
            f"remove all: canopy demo --clean{option}",
        )
    )


def _short(path: Path) -> str:
    try:
        return f"~/{path.relative_to(Path.home())}"
    except ValueError:
        return str(path)
