"""Opens the app, and leaves it at once whatever still hangs behind it."""

from __future__ import annotations

import os
import sys
import threading
from typing import NoReturn
from uuid import UUID

from canopy_tui.app import CanopyApp
from canopy_tui.terminal import unicode_ok
from canopy_tui.view import View
from wal.merged import MergedSource
from wal.paths import log_dir

CLOSE_SECONDS = 0.2
"""A connection gets so long to say goodbye: whoever pressed ``q`` has the prompt in half a second."""


def open_app(run: UUID | None = None) -> NoReturn:
    """Run the app on the log directory, then end the process."""
    directory = log_dir()
    source = MergedSource(directory)
    app = CanopyApp(
        source,
        log_dir=directory,
        open_run=run,
        unicode=unicode_ok(sys.stderr),  # where Textual draws
        view=View.load(),
        after_start=lambda: _start_syncer(directory),
    )
    app.run()
    leave(source, app.return_code or 0)


def _start_syncer(directory: os.PathLike[str]) -> None:
    from pathlib import Path

    from wal.daemon import ensure_running

    ensure_running(Path(directory), replace_older=True)


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
