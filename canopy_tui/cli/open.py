"""Opens the app, and leaves it at once whatever still hangs behind it."""

from __future__ import annotations

import gc
import os
import sys
import threading
from pathlib import Path
from typing import NoReturn
from uuid import UUID

from canopy_tui.app import CanopyApp
from canopy_tui.terminal import unicode_ok
from canopy_tui.view import View
from wal.link import Finder, Target
from wal.merged import MergedSource
from wal.paths import log_dir
from wal.shipping.daemon import ensure_running

FIRST_ROWS_SECONDS = 3.0
"""Cassandra is looked for after this time at the latest, whatever keeps the rows away."""

CLOSE_SECONDS = 0.2
"""A connection gets so long to say goodbye: whoever pressed ``q`` has the prompt in half a second."""


def open_app(run: UUID | None = None) -> NoReturn:
    """Run the app on the log directory, then end the process.

    The rows of the log come first. Whatever would keep the interpreter from drawing them waits until they
    are there: looking for garbage among what was just imported, the driver, the syncer.
    """
    gc.disable()
    directory, drawn = log_dir(), threading.Event()
    find = Finder(os.environ, Path.cwd())

    def find_later() -> Target:
        drawn.wait(FIRST_ROWS_SECONDS)
        return find()

    def go_on() -> None:
        gc.freeze()
        gc.enable()
        drawn.set()
        ensure_running(directory, replace_older=True)

    source = MergedSource(directory, find=find_later)
    app = CanopyApp(
        source,
        log_dir=directory,
        open_run=run,
        unicode=unicode_ok(sys.stderr),  # where Textual draws
        view=View.load(),
        after_start=go_on,
    )
    app.run()
    leave(source, app.return_code or 0)


def leave(source: MergedSource, code: int) -> NoReturn:
    """End the process now. The interpreter's own way out would wait for every thread of the driver that
    hangs in a connection; nothing here has anything to lose: the app writes only what the user chooses,
    at once."""
    closing = threading.Thread(target=source.close, daemon=True)
    closing.start()
    closing.join(CLOSE_SECONDS)
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)
