"""What the run list says while there is nothing to list: where it looks, and how to make a run."""

from __future__ import annotations

import os
from pathlib import Path

from textual.content import Content
from textual.widgets import Static

from canopy_tui import format as fmt

SNIPPET = ("import wal", 'with wal.init(project="digits") as run:', '    run.log({"loss": 0.5})')
"""The three lines that make a first run; the README and the tests run them too."""


MUTED = "$foreground-muted"


class EmptyState(Static):
    """No runs yet, or none that pass the filter."""

    DEFAULT_CSS = "EmptyState { height: 1fr; content-align: center middle; display: none; }"

    def say_no_runs(self, log_dir: Path) -> None:
        where = fmt.middle_ellipsis(home_relative(log_dir), 60)
        snippet = "\n".join(f"  {line}" for line in SNIPPET)
        self.update(
            Content.assemble(
                ("No runs yet\n", "bold"),
                (f"The log directory is {where}\n\n", MUTED),
                ("Log one from Python\n\n", MUTED),
                (f"{snippet}\n\n", "$primary"),
                ("or run\n\n", MUTED),
                ("  canopy demo          ", "$primary"),
                ("real training, to watch\n", MUTED),
                ("  canopy cassandra up  ", "$primary"),
                ("a Cassandra to ship to", MUTED),
            )
        )

    def say_no_match(self, filter_text: str, runs: int) -> None:
        text = fmt.middle_ellipsis(fmt.clean(filter_text), 60)
        self.update(
            Content.assemble(
                ("No run matches\n\n", "bold"),
                (f"  {text}\n\n", "$primary"),
                (f"esc clears the filter and shows {fmt.plural(runs, 'run')} again", MUTED),
            )
        )


def home_relative(path: Path) -> str:
    """The path with ``~`` for the home directory, fit to be shown."""
    text, home = str(path), str(Path.home())
    return fmt.clean(f"~{text[len(home) :]}" if text.startswith(home + os.sep) else text)
