"""The highlighted run beside or below the list: its curve, its facts, its metrics, its config."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING
from uuid import UUID

from textual.message import Message
from textual.strip import Strip
from textual.timer import Timer
from textual.widget import Widget

from canopy_tui.inspector import Line, chart_lines, exit_code_of, in_order
from canopy_tui.listing import Listing
from canopy_tui.messages import SourceFailed
from canopy_tui.pointrows import point_rows, with_rows
from canopy_tui.previewlines import (
    METRICS_SHOWN,
    Place,
    PreviewBox,
    PreviewContent,
    chart_size,
    preview_lines,
)
from canopy_tui.widgets.cells import strip_of
from wal.source import Ask, RunDetail, RunRow, SourceError

if TYPE_CHECKING:
    from canopy_tui.app import CanopyApp
    from canopy_tui.charts.glyphs import Glyphs
    from wal.merged import MergedSource

SETTLE_SECONDS = 0.12
"""A cursor that runs down the list does not read every run it passes."""

AGAIN_SECONDS = 2.0
"""A run that did not change is read again this often: Cassandra may have answered by now."""

WAIT_S = 0.3
"""A curve that the log has does not wait longer for Cassandra's word on it."""


@dataclass(frozen=True, slots=True)
class Request:
    """A run to be read: the list's row of it, its main metric, and the cells of the curve."""

    row: RunRow
    metric: str
    size: tuple[int, int]


@dataclass
class PreviewLoaded(Message, bubble=False):
    """What the request found: the lines of the curve, and the run with its metrics by their points."""

    request: Request
    chart: tuple[Line, ...]
    detail: RunDetail
    problem: str = ""
    """Why there is no curve, as a sentence."""

    @property
    def run_id(self) -> UUID:
        return self.request.row.run_id


def read_preview(source: MergedSource, request: Request, glyphs: Glyphs) -> PreviewLoaded | None:
    """Read and draw; None for a run that was deleted since the list was read. Raises SourceError."""
    deadline = time.monotonic() + WAIT_S
    chart: list[Line] = []
    problem = ""
    try:
        look = source.look(request.row.run_id)
    except KeyError:
        return None
    width, height = request.size
    if request.metric in look.detail.metrics:
        try:
            series = look.series(Ask(request.metric, width * glyphs.columns), wait_s=WAIT_S)
            chart = chart_lines(series, look.detail.row, width, height, glyphs) if series else []
        except SourceError as error:
            problem = str(error)
    names = [metric.name for metric in in_order(look.detail.metrics, request.metric)][:METRICS_SHOWN]
    detail = with_rows(look.detail, point_rows(look, names, deadline, {}))
    return PreviewLoaded(request, tuple(chart), detail, problem)


class Preview(Widget):
    """Shown only where there is room for it; reads nothing while it is hidden."""

    app: CanopyApp  # pyright: ignore[reportIncompatibleMethodOverride]
    DEFAULT_CSS = "Preview { display: none; height: 1fr; padding: 0 1; background: $surface; }"

    def __init__(self) -> None:
        super().__init__()
        self.place = Place.NONE
        self._row: RunRow | None = None
        self._main = ""
        self._now_ns = 0
        self.loaded: PreviewLoaded | None = None
        """What was read last; it may be of another run than the one that is shown."""
        self._read_at = 0.0
        self._lines: list[Line] = []
        self._settling: Timer | None = None

    def put(self, box: PreviewBox) -> None:
        """Stand beside the list or below it, or nowhere."""
        self.place = box.place
        self.display = box.place is not Place.NONE
        self.styles.width = box.size if box.place is Place.BESIDE else "100%"
        self.styles.height = box.size if box.place is Place.BELOW else "1fr"

    def show(self, row: RunRow | None, listing: Listing, now_ns: int) -> None:
        """Show this run: what is in the row at once, the rest when it has been read."""
        if not self.display:
            return
        moved = (row and row.run_id) != (self._row and self._row.run_id)
        self._row, self._now_ns = row, now_ns
        self._main = listing.main_metrics.get(row.project, "") if row is not None else ""
        if moved:
            self._wait_and_read()
        elif self._is_old():
            self._read()
        self._draw()

    def forget(self) -> None:
        """Read anew at the next look, whatever is known."""
        self._read_at = 0.0

    def on_resize(self) -> None:
        self._read()
        self._draw()

    # -- reading ------------------------------------------------------------------------------------

    def _request(self) -> Request | None:
        if self._row is None or not self.display:
            return None
        return Request(self._row, self._main, chart_size(self.place, *self.content_size))

    def _is_old(self) -> bool:
        if time.monotonic() - self._read_at > AGAIN_SECONDS:
            return True
        return self.loaded is None or self.loaded.request != self._request()

    def _wait_and_read(self) -> None:
        if self._settling is not None:
            self._settling.stop()
        self._settling = self.set_timer(SETTLE_SECONDS, self._read)

    def _read(self) -> None:
        request, source, glyphs = self._request(), self.app.source, self.app.glyphs
        if request is None or self.app.background.busy("preview"):
            return
        self._read_at = time.monotonic()
        self.app.background.submit("preview", lambda: read_preview(source, request, glyphs), self)

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
        lines = self._compose_lines()
        if lines != self._lines:
            self._lines = lines
            self.refresh()

    def _compose_lines(self) -> list[Line]:
        row, (width, height) = self._row, self.content_size
        if row is None or width < 20:
            return []
        loaded = self.loaded
        if loaded is None or loaded.run_id != row.run_id:
            content = PreviewContent(row, self._main, in_order(row.metrics, self._main))
        else:
            size = chart_size(self.place, width, height)
            fits = (loaded.request.metric, loaded.request.size) == (self._main, size)
            content = PreviewContent(
                row,
                self._main,
                in_order(loaded.detail.metrics, self._main),
                loaded.detail.config,
                exit_code_of(loaded.detail),
                loaded.chart if fits else (),
                loaded.problem,
            )
        unicode, glyphs = self.app.unicode, self.app.glyphs
        return preview_lines(content, self.place, width, height, self._now_ns, glyphs, unicode)

    def render_line(self, y: int) -> Strip:
        pieces = self._lines[y] if y < len(self._lines) else []
        return strip_of(self, pieces, self.content_size.width)
