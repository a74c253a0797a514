"""What a run was started with, in a list that can be searched."""

from __future__ import annotations

from typing import ClassVar

from textual import on
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Container
from textual.widgets import Input

from canopy_tui.runlines import config_page
from canopy_tui.widgets.lines import LineList
from wal.source import RunDetail


class ConfigPane(Container):
    """Config, summary, tags and notes; ``/`` keeps the lines that contain a text."""

    DEFAULT_CSS = """
    ConfigPane { height: 1fr; padding: 0 1; }
    ConfigPane Input, ConfigPane Input:focus {
        display: none; height: 1; border: none; padding: 0; background: $panel; background-tint: $panel 0%;
    }
    ConfigPane.-searching Input { display: block; }
    """
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("slash", "search", "Search", id="config.search", key_display="/", tooltip="Keep some lines"),
    ]  # fmt: skip

    def __init__(self, *, unicode: bool = True) -> None:
        super().__init__()
        self._unicode = unicode
        self._detail: RunDetail | None = None

    def compose(self) -> ComposeResult:
        yield Input(placeholder="keep the lines that contain", id="config-search", select_on_focus=False)
        yield LineList(id="config-lines")

    def show(self, detail: RunDetail) -> None:
        self._detail = detail
        self._draw()

    def focus_list(self) -> None:
        self.query_one(LineList).focus()

    def leave_search(self) -> bool:
        """Drop the search; False when there was none."""
        if not self.has_class("-searching"):
            return False
        self.remove_class("-searching")
        self.query_one(Input).value = ""
        self.focus_list()
        return True

    def action_search(self) -> None:
        self.add_class("-searching")
        self.query_one(Input).focus()

    @on(Input.Changed)
    def _changed(self, event: Input.Changed) -> None:
        event.stop()
        self._draw()

    @on(Input.Submitted)
    def _submitted(self, event: Input.Submitted) -> None:
        event.stop()
        self.focus_list()

    def _draw(self) -> None:
        detail, wanted = self._detail, self.query_one(Input).value
        if detail is not None:
            self.query_one(LineList).show(lambda width: config_page(detail, width, self._unicode, wanted))
