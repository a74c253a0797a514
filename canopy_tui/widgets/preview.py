"""The highlighted run beside the list: its curve, its facts, its metrics, its config."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar
from uuid import UUID

from textual.message import Message
from textual.strip import Strip
from textual.timer import Timer
from textual.widget import Widget

from canopy_tui import format as fmt
from canopy_tui.inspector import (
    Line,
    chart_lines,
    config_lines,
    exit_code_of,
    fact_lines,
    in_order,
    metric_lines,
)
from canopy_tui.listing import Listing, Piece
from canopy_tui.messages import SourceFailed
from canopy_tui.widgets.cells import TONE_CLASSES, TONE_CSS, strip_of, tone_styles
from wal.source import RunDetail, RunRow

if TYPE_CHECKING:
    from canopy_tui.app import CanopyApp
    from wal.pyramid import Series

SETTLE_SECONDS = 0.12
"""A cursor that runs down the list does not read every run it passes."""

WAIT_S = 0.3
"""A curve that the log has does not wait longer for Cassandra's word on it."""

CHART_SHARE = 0.36
"""Of the preview's height; the facts need the rest."""

METRICS_SHOWN = 12


@dataclass
class PreviewLoaded(Message, bubble=False):
    """The curve and the details of one run, as they were when it had so many records."""

    run_id: UUID
    metric: str
    records: int
    series: tuple[Series, ...]
    detail: RunDetail


class Preview(Widget):
    """Shown only where there is room for it; reads nothing while it is hidden."""

    app: CanopyApp  # pyright: ignore[reportIncompatibleMethodOverride]
    COMPONENT_CLASSES: ClassVar[set[str]] = TONE_CLASSES
    DEFAULT_CSS = f"""
    Preview {{ display: none; height: 1fr; padding: 0 1; background: $surface; {TONE_CSS} }}
    """

    def __init__(self) -> None:
        super().__init__()
        self._row: RunRow | None = None
        self._main = ""
        self._now_ns = 0
        self.loaded: PreviewLoaded | None = None
        """What was read last; it may be of another run than the one that is shown."""
        self._lines: list[Line] = []
        self._settling: Timer | None = None

    def show(self, row: RunRow | None, listing: Listing, now_ns: int) -> None:
        """Show this run: what is in the row at once, the rest when it has been read."""
        if not self.display:
            return
        moved = (row and row.run_id) != (self._row and self._row.run_id)
        self._row, self._now_ns = row, now_ns
        self._main = listing.main_metrics.get(row.project, "") if row is not None else ""
        if moved:
            self._wait_and_read()
        elif row is not None and self._is_old(row):
            self._read()
        self._draw()

    def on_resize(self) -> None:
        self._draw()

    # -- reading ------------------------------------------------------------------------------------

    def _is_old(self, row: RunRow) -> bool:
        loaded = self.loaded
        return loaded is None or (loaded.run_id, loaded.metric, loaded.records, loaded.detail.row.state) != (
            row.run_id, self._main, row.records, row.state,
        )  # fmt: skip

    def _wait_and_read(self) -> None:
        if self._settling is not None:
            self._settling.stop()
        self._settling = self.set_timer(SETTLE_SECONDS, self._read)

    def _read(self) -> None:
        row, metric, source = self._row, self._main, self.app.source
        if row is None or self.app.background.busy("preview"):
            return
        columns = self.size.width * self.app.glyphs.columns

        def work() -> PreviewLoaded | None:
            try:
                series = source.series(row.run_id, metric, columns, wait_s=WAIT_S) if metric else []
                return PreviewLoaded(row.run_id, metric, row.records, tuple(series), source.run(row.run_id))
            except KeyError:
                return None  # deleted between the list and the preview: the next list will not have it

        self.app.background.submit("preview", work, self)

    def on_preview_loaded(self, message: PreviewLoaded) -> None:
        self.loaded = message
        if self._row is not None and message.run_id != self._row.run_id:
            self._read()  # the cursor went on while this was being read
            return
        self._draw()

    def on_source_failed(self, message: SourceFailed) -> None:
        """The list says that the source fails; what the preview has stays."""

    # -- drawing ------------------------------------------------------------------------------------

    def _draw(self) -> None:
        self._lines = self._compose_lines()
        self.refresh()

    def _compose_lines(self) -> list[Line]:
        row, width = self._row, self.content_size.width
        if row is None or width < 20:
            return []
        unicode, glyphs = self.app.unicode, self.app.glyphs
        loaded = self.loaded if self.loaded and self.loaded.run_id == row.run_id else None
        ellipsis = "…" if unicode else "~"
        lines: list[Line] = [[Piece(fmt.middle_ellipsis(fmt.clean(row.name), width, ellipsis), "accent")], []]
        if self._main in row.metrics:
            height = max(int(self.content_size.height * CHART_SHARE), 6)
            lines.append([Piece(fmt.middle_ellipsis(fmt.clean(self._main), width, ellipsis), "muted")])
            if loaded is not None and loaded.metric == self._main and loaded.series:
                lines += chart_lines(loaded.series, row, width, height, glyphs)
            else:
                lines += [[] for _ in range(height)]
            lines.append([])
        exit_code = exit_code_of(loaded.detail) if loaded else None
        lines += [*fact_lines(row, self._now_ns, width, unicode, exit_code), []]
        metrics = in_order(loaded.detail.metrics if loaded else row.metrics, self._main)
        if metrics:
            lines += [*metric_lines(row, metrics[:METRICS_SHOWN], width, glyphs, unicode), []]
        if loaded is not None and loaded.detail.config:
            lines += [[Piece("config", "muted")], *config_lines(loaded.detail.config, width, unicode)]
        return lines

    def render_line(self, y: int) -> Strip:
        pieces = self._lines[y] if y < len(self._lines) else []
        return strip_of(pieces, tone_styles(self), self.rich_style, self.content_size.width)
