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

from canopy_tui.lens import LEVELS, PLAIN_AXES, Lens
from wal.paths import make_private_directory, state_dir
from wal.source import STEP, XAxis

MAX_FILE_BYTES = 1 << 20
"""A larger file is not ours."""


@dataclass
class View:
    """The choices. Change them by the methods, which save."""

    path: Path | None = None
    """Where they are kept; None keeps them for this session only."""

    main_metrics: dict[str, str] = field(default_factory=dict[str, str])
    """Metric name by project."""

    lenses: dict[str, Lens] = field(default_factory=dict[str, Lens])
    """How charts are looked at by project: x axis, y scale and smoothing, never a place on an axis."""

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
        lenses = saved.get("lenses")
        if isinstance(lenses, dict):
            pairs = cast("dict[str, object]", lenses).items()
            self.lenses = {
                project: _lens_of(cast("dict[str, object]", one))
                for project, one in pairs
                if isinstance(one, dict)
            }
        theme = saved.get("theme")
        self.theme = theme if isinstance(theme, str) else ""

    def choose_main_metric(self, project: str, metric: str | None) -> None:
        """Make ``metric`` the main one of ``project``; None gives the choice back to Canopy."""
        if metric is None:
            self.main_metrics.pop(project, None)
        else:
            self.main_metrics[project] = metric
        self.save()

    def choose_lens(self, project: str, lens: Lens) -> None:
        """Look at the charts of a project's runs like this from now on."""
        self.lenses[project] = Lens(lens.x, lens.log, lens.smoothing)
        self.save()

    def choose_theme(self, theme: str) -> None:
        self.theme = theme
        self.save()

    def save(self) -> None:
        """Replace the file by a whole new one, so that no reader ever sees half of it."""
        if self.path is None:
            return
        lenses = {
            project: {"x": lens.x.kind, "metric": lens.x.metric, "log": lens.log, "smoothing": lens.smoothing}
            for project, lens in self.lenses.items()
        }
        content = {"main_metrics": self.main_metrics, "lenses": lenses, "theme": self.theme}
        try:
            make_private_directory(self.path.parent)
            handle, name = tempfile.mkstemp(prefix=".view-", dir=self.path.parent)
            try:
                with os.fdopen(handle, "w", encoding="utf-8") as file:
                    json.dump(content, file, ensure_ascii=True, indent=1)
                os.replace(name, self.path)
            except OSError:
                os.unlink(name)
        except OSError:
            return


def _lens_of(saved: Mapping[str, object]) -> Lens:
    kind, metric, smoothing = saved.get("x"), saved.get("metric"), saved.get("smoothing")
    x = next((axis for axis in PLAIN_AXES if axis.kind == kind), STEP)
    if kind == "metric" and isinstance(metric, str):
        x = XAxis("metric", metric)
    smoothness = next((level for level in LEVELS if level == smoothing), 0.0)
    return Lens(x, saved.get("log") is True, smoothness)
