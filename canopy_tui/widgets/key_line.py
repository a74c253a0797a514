"""The keys of a screen on its last line, the least needed left out where not all of them fit."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from textual import events
from textual.screen import Screen
from textual.strip import Strip
from textual.widget import Widget

from canopy_tui import format as fmt
from canopy_tui.listing import Piece
from canopy_tui.widgets.cells import strip_of

ALWAYS = frozenset({"quit", "help"})
"""Who finds no other key still finds the way out, and the list of all keys."""


def fitting(keys: Sequence[tuple[str, int]], width: int) -> list[bool]:
    """Which of these (action, cells) are shown in so many cells: all, else without the last ones, which are
    the least needed; :data:`ALWAYS` stay."""
    shown = [True] * len(keys)
    used = sum(cells for _, cells in keys)
    for place in range(len(keys) - 1, -1, -1):
        action, cells = keys[place]
        if used <= width:
            break
        if action not in ALWAYS:
            shown[place] = False
            used -= cells
    return shown


class Key(NamedTuple):
    """A key, as the keyboard and as the line calls it, and what it does."""

    key: str
    label: str
    description: str
    action: str
    tooltip: str

    @property
    def cells(self) -> int:
        """With the gap to the next one."""
        return fmt.cells(f"{self.label} {self.description} ")


class KeyLine(Widget):
    """``enter Open  / Filter  q Quit  ? Help``; a click presses the key. One widget: with one a key it cost
    a third of opening a screen."""

    DEFAULT_CSS = "KeyLine { dock: bottom; height: 1; padding: 0 0 0 1; }"

    def __init__(self) -> None:
        super().__init__()
        self._keys: list[Key] = []

    def on_mount(self) -> None:
        self.screen.bindings_updated_signal.subscribe(self, self._take_keys)

    def _take_keys(self, screen: Screen[object]) -> None:
        if not self.app.app_focus:
            return  # whoever looks at another window has the same keys when they come back
        keys: dict[str, Key] = {}
        for _, binding, _, tooltip in screen.active_bindings.values():
            if binding.show and binding.action not in keys:
                label = self.app.get_key_display(binding)
                keys[binding.action] = Key(binding.key, label, binding.description, binding.action, tooltip)
        if self._keys != list(keys.values()):
            self._keys = list(keys.values())
            self.refresh()

    @property
    def _shown(self) -> list[Key]:
        room = self.content_size.width + 1  # the gap after the last one may be cut
        fits = fitting([(key.action, key.cells) for key in self._keys], room)
        return [key for key, shown in zip(self._keys, fits, strict=True) if shown]

    def render_line(self, y: int) -> Strip:  # noqa: ARG002 - one line
        pieces: list[Piece] = []
        for key in self._shown:
            gap = Piece(" " if pieces else "")
            pieces += [gap, Piece(key.label, "accent"), Piece(f" {key.description}", "muted")]
        return strip_of(self, pieces, self.content_size.width)

    # -- the mouse ----------------------------------------------------------------------------------

    def _key_at(self, x: int) -> Key | None:
        """The key in this column of the widget."""
        right_edge = self.styles.padding.left
        for key in self._shown:
            right_edge += key.cells
            if x < right_edge:
                return key
        return None

    def on_mouse_move(self, event: events.MouseMove) -> None:
        key = self._key_at(event.x)
        self.tooltip = key.tooltip if key is not None else None

    def on_click(self, event: events.Click) -> None:
        key = self._key_at(event.x)
        if key is not None:
            self.app.simulate_key(key.key)
