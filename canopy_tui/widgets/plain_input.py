"""A line of input that takes text only: what is pasted may hold anything."""

from __future__ import annotations

from textual.widgets import Input

from canopy_tui import format as fmt

LONGEST = 500
"""Characters of a line: more is a paste that missed its window."""


class PlainInput(Input):
    """Drops control, escape and invisible characters as they arrive; the text is drawn as it is."""

    def validate_value(self, value: str) -> str:
        return fmt.clean(value, LONGEST)
