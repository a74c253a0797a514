"""The keys of a screen, made from its bindings, so that help and keys cannot differ."""

from __future__ import annotations

from typing import ClassVar

from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import VerticalScroll
from textual.content import Content
from textual.screen import ModalScreen, Screen
from textual.widgets import Static

KEY_WIDTH = 14
"""Cells of the column of keys: the longest is ``PgUp PgDn`` and some air."""

_KEY_NAMES = {
    "question_mark": "?", "slash": "/", "comma": ",", "full_stop": ".", "space": "space", "enter": "enter",
    "escape": "esc", "left_square_bracket": "[", "right_square_bracket": "]", "pageup": "PgUp",
    "pagedown": "PgDn", "up": "↑", "down": "↓", "left": "←", "right": "→", "home": "Home", "end": "End",
    "tab": "tab", "shift+tab": "shift+tab", "plus": "+", "equals_sign": "=", "minus": "-",
    "shift+left": "shift+←", "shift+right": "shift+→", "ctrl+left": "ctrl+←", "ctrl+right": "ctrl+→",
}  # fmt: skip


def key_table(screen: Screen[object], leaving: str) -> list[tuple[str, str]]:
    """(keys, what they do) of every binding that has a tooltip, those of the focused widget first.

    ``leaving`` is what quitting does: that depends on who started the app.
    """
    keys: dict[str, list[str]] = {}
    for _, binding, _, tooltip in screen.active_bindings.values():
        text = leaving if binding.action == "quit" else tooltip or binding.tooltip
        if text and not binding.system:
            keys.setdefault(text, []).append(_KEY_NAMES.get(binding.key, binding.key))
    return [(" ".join(sorted(dict.fromkeys(names), key=len)), text) for text, names in keys.items()]


class HelpScreen(ModalScreen[None]):
    """Keys on the left, what they do on the right; below, what the screen's ``HELP`` says."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding(
            "escape,h,question_mark", "close", "Back", id="help.close", key_display="esc", tooltip="Back"
        ),
        Binding("j,down", "scroll(1)", "Down", show=False, id="help.down", tooltip="Down"),
        Binding("k,up", "scroll(-1)", "Up", show=False, id="help.up", tooltip="Up"),
        # A modal screen keeps the app's keys out, and this one says that q leaves.
        Binding("q,ctrl+q", "quit", show=False, id="help.quit", tooltip="Leave, as everywhere"),
    ]

    def __init__(self, screen: Screen[object], leaving: str) -> None:
        super().__init__()
        self._keys = key_table(screen, leaving)
        self._text = (screen.HELP or "").strip()

    def compose(self) -> ComposeResult:
        with VerticalScroll(id="help-box"):
            yield Static(Content("Keys"), id="help-title")
            for names, text in self._keys:
                yield Static(Content.assemble((names.ljust(KEY_WIDTH), "$primary"), text))
            if self._text:
                yield Static(Content(f"\n{self._text}"), id="help-text")

    def action_close(self) -> None:
        self.dismiss(None)

    async def action_quit(self) -> None:
        await self.app.action_quit()

    def action_scroll(self, lines: int) -> None:
        self.query_one(VerticalScroll).scroll_relative(y=lines, animate=False)
