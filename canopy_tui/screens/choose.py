"""A small list to choose one thing from: a sort column, a main metric."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from textual import on
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical
from textual.content import Content
from textual.screen import ModalScreen
from textual.widgets import Input, OptionList, Static
from textual.widgets.option_list import Option

from canopy_tui import format as fmt
from canopy_tui.widgets.plain_input import PlainInput


class Choices(OptionList):
    """An option list that moves by the same letters as every list here."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("j", "cursor_down", "Down", show=False, id="choose.down", tooltip="Next"),
        Binding("k", "cursor_up", "Up", show=False, id="choose.up", tooltip="Previous"),
        Binding("g", "first", "Top", show=False, id="choose.top", tooltip="First"),
        Binding("G", "last", "Bottom", show=False, id="choose.bottom", tooltip="Last"),
        Binding("l", "select", "Choose", show=False, id="choose.choose", tooltip="Choose"),
    ]


class ChooseScreen(ModalScreen[str | None]):
    """Asks for one of ``options``, pairs of a key and what it is called. Dismissed with the key, or None.

    ``again`` is a key of the keyboard that chooses too: the one that opened the list, so that pressing it
    twice repeats the present choice.
    """

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding(
            "escape,h", "cancel", "Back", id="choose.cancel", key_display="esc", tooltip="Change nothing"
        ),
        Binding("slash", "search", "Search", id="choose.search", key_display="/", tooltip="Narrow the list"),
    ]

    def __init__(
        self, title: str, options: Sequence[tuple[str, str]], current: str = "", again: str = ""
    ) -> None:
        super().__init__()
        self._title = title
        self._options = options
        self._current = current
        self._again = again

    def compose(self) -> ComposeResult:
        with Vertical(id="choose-box"):
            yield Static(Content(self._title), id="choose-title")
            yield PlainInput(placeholder="type to narrow", id="choose-search")
            yield Choices(id="choose-list", markup=False)

    def on_mount(self) -> None:
        self._fill("")
        self.query_one(Choices).focus()

    def _fill(self, wanted: str) -> None:
        choices = self.query_one(Choices)
        shown = [pair for pair in self._options if wanted.casefold() in pair[1].casefold()]
        choices.set_options(
            Option(Content(f"{'› ' if key == self._current else '  '}{fmt.clean(label)}"), id=f"o{place}")
            for place, (key, label) in enumerate(self._options)
            if (key, label) in shown
        )
        keys = [key for key, _ in shown]
        choices.highlighted = keys.index(self._current) if self._current in keys else 0 if keys else None

    @on(OptionList.OptionSelected)
    def _selected(self, event: OptionList.OptionSelected) -> None:
        event.stop()
        assert event.option_id is not None
        self.dismiss(self._options[int(event.option_id[1:])][0])

    @on(Input.Changed)
    def _narrow(self, event: Input.Changed) -> None:
        event.stop()
        self._fill(event.value)

    @on(Input.Submitted)
    def _submitted(self, event: Input.Submitted) -> None:
        event.stop()
        self.query_one(Choices).focus()

    def on_key(self, event: object) -> None:
        key = getattr(event, "key", "")
        if key == self._again and isinstance(self.focused, Choices):
            self.focused.action_select()
            event.stop()  # pyright: ignore[reportAttributeAccessIssue]

    def action_search(self) -> None:
        search = self.query_one(Input)
        search.add_class("-shown")
        search.focus()

    def action_cancel(self) -> None:
        self.dismiss(None)
