"""What the user chose on screen, kept between sessions in ``view.json`` of the state directory.

The file is a convenience: one that is missing, damaged or written by another version is as good as none,
and one that cannot be written costs the user the choice of the day, never the app.
"""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import cast

from wal.paths import state_dir

MAX_FILE_BYTES = 1 << 20
"""A larger file is not ours."""


@dataclass
class View:
    """The choices. Change them by the methods, which save."""

    path: Path | None = None
    """Where they are kept; None keeps them for this session only."""

    main_metrics: dict[str, str] = field(default_factory=dict[str, str])
    """Metric name by project."""

    theme: str = ""

    @classmethod
    def load(cls, path: Path | None = None) -> View:
        """The saved choices; none where they cannot be read."""
        view = cls(path or state_dir() / "view.json")
        assert view.path is not None
        try:
            with view.path.open("rb") as file:
                saved = json.loads(file.read(MAX_FILE_BYTES))
        except (OSError, ValueError, RecursionError):
            return view
        if isinstance(saved, dict):
            view._take(cast("dict[str, object]", saved))
        return view

    def _take(self, saved: Mapping[str, object]) -> None:
        metrics = saved.get("main_metrics")
        if isinstance(metrics, dict):
            pairs = cast("dict[str, object]", metrics).items()
            self.main_metrics = {project: name for project, name in pairs if isinstance(name, str)}
        theme = saved.get("theme")
        self.theme = theme if isinstance(theme, str) else ""

    def choose_main_metric(self, project: str, metric: str | None) -> None:
        """Make ``metric`` the main one of ``project``; None gives the choice back to Canopy."""
        if metric is None:
            self.main_metrics.pop(project, None)
        else:
            self.main_metrics[project] = metric
        self.save()

    def choose_theme(self, theme: str) -> None:
        self.theme = theme
        self.save()

    def save(self) -> None:
        """Replace the file by a whole new one, so that no reader ever sees half of it."""
        if self.path is None:
            return
        content = {"main_metrics": self.main_metrics, "theme": self.theme}
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            handle, name = tempfile.mkstemp(prefix=".view-", dir=self.path.parent)
            try:
                with os.fdopen(handle, "w", encoding="utf-8") as file:
                    json.dump(content, file, ensure_ascii=True, indent=1)
                os.replace(name, self.path)
            except OSError:
                os.unlink(name)
        except OSError:
            return
