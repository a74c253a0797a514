"""The line in which the list is filtered, as one types."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from textual import on
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Horizontal
from textual.content import Content
from textual.message import Message
from textual.widget import Widget
from textual.widgets import Input, Static

from canopy_tui.widgets.plain_input import PlainInput

HINT = "text  state:failed  loss<0.1  age<2h  -tag:old"


class FilterBar(Widget):
    """Hidden while there is no filter. A filter that cannot be understood says why on a second line."""

    DEFAULT_CSS = """
    FilterBar {
        height: auto; display: none; padding: 0 1; background: $panel;
        &.-shown { display: block; }
        Horizontal { height: 1; }
        #filter-slash { width: 2; color: $primary; text-style: bold; }
        Input, Input:focus {
            width: 1fr; height: 1; border: none; padding: 0; background: $panel; background-tint: $panel 0%;
        }
        #filter-found { width: auto; color: $text-muted; }
        #filter-problem { height: auto; color: $text-warning; display: none; padding-left: 2; }
        &.-problem #filter-problem { display: block; }
    }
    """
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape", "clear", "Clear", id="filter.clear", tooltip="Drop the filter"),
        Binding(
            "down",
            "leave",
            "To the runs",
            show=False,
            id="filter.leave",
            tooltip="Keep the filter, go to the runs",
        ),
    ]

    @dataclass
    class Changed(Message):
        """The text of the filter changed."""

        text: str

    @dataclass
    class Left(Message):
        """The user is done typing."""

    def compose(self) -> ComposeResult:
        with Horizontal():
            yield Static("/", id="filter-slash")
            yield PlainInput(placeholder=HINT, id="filter-input", select_on_focus=False)
            yield Static("", id="filter-found", markup=False)
        yield Static("", id="filter-problem", markup=False)

    @property
    def text(self) -> str:
        return self.query_one(Input).value

    def set_text(self, text: str) -> None:
        """Put a filter into the line, as if it had been typed."""
        self.query_one(Input).value = text

    def begin(self) -> None:
        """Show the line and let the user type."""
        self.add_class("-shown")
        self.query_one(Input).focus()

    def report(self, found: str, problem: str) -> None:
        """Say how many runs there are, and what is wrong with the filter (empty: nothing)."""
        self.query_one("#filter-found", Static).update(Content(found))
        self.query_one("#filter-problem", Static).update(Content(problem))
        self.set_class(bool(problem), "-problem")

    def action_clear(self) -> None:
        self.set_text("")
        self.remove_class("-shown")
        self.post_message(self.Left())

    def action_leave(self) -> None:
        if not self.text.strip():
            self.remove_class("-shown")
        self.post_message(self.Left())

    @on(Input.Submitted)
    def _submitted(self, event: Input.Submitted) -> None:
        event.stop()
        self.action_leave()

    @on(Input.Changed)
    def _changed(self, event: Input.Changed) -> None:
        event.stop()
        self.post_message(self.Changed(event.value))
