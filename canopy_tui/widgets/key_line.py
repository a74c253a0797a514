"""The keys of a screen on its last line, the least needed left out where not all of them fit."""

from __future__ import annotations

from collections.abc import Sequence

from textual.app import ComposeResult
from textual.widgets import Footer
from textual.widgets._footer import FooterKey

from canopy_tui import format as fmt

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


class KeyLine(Footer):
    """``enter Open  / Filter  q Quit  ? Help``; a click presses the key."""

    def __init__(self) -> None:
        super().__init__(compact=True, show_command_palette=False)
        self._composed: object = None
        """What decided on the keys when they were made."""

    def compose(self) -> ComposeResult:
        keys = [key for key in super().compose() if isinstance(key, FooterKey)]
        cells = [(key.action, fmt.cells(f"{key.key_display} {key.description} ")) for key in keys]
        room = self.content_size.width + 1  # the gap after the last one may be cut
        yield from (key for key, shown in zip(keys, fitting(cells, room), strict=True) if shown)

    async def recompose(self) -> None:
        """Make the keys anew if others are to be shown: bindings are said to change with every focus, and a
        key is a widget."""
        if not self.is_attached:  # asked for before its screen was left
            return
        keys = [
            (binding.key, binding.description, enabled)
            for _, binding, enabled, _ in self.screen.active_bindings.values()
            if binding.show
        ]
        decisive = (self._bindings_ready, self.content_size.width, keys)
        if decisive != self._composed:
            self._composed = decisive
            await super().recompose()

    def on_resize(self) -> None:
        self.call_after_refresh(self.recompose)
