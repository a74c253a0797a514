"""The tones' styles are what Textual's own style sheet would make of the same words."""

from __future__ import annotations

from typing import ClassVar

import pytest
from textual.app import App, ComposeResult
from textual.widget import Widget

from canopy_tui.listing import TONES, Piece
from canopy_tui.screens.themes import THEMES
from canopy_tui.widgets.cells import LIT_SHARE, LOOKS, strip_of, tones_of


def css_of(tone: str) -> str:
    look = LOOKS[tone]
    share = f" {look.share:.0%}" if look.share < 1 else ""
    colour = f"color: ${look.variable}{share}; " if look.variable else ""
    return f"& > .{tone} {{ {colour}text-style: {'bold' if look.bold else 'none'}; }}"


class Sheet(Widget):
    COMPONENT_CLASSES: ClassVar[set[str]] = {"lit", *TONES}
    DEFAULT_CSS = f"""
    Sheet {{
        background: $panel;
        {" ".join(map(css_of, TONES))}
        & > .lit {{ background: $primary {LIT_SHARE:.0%}; }}
    }}
    """


class OneSheet(App[None]):
    def compose(self) -> ComposeResult:
        yield Sheet()


def test_every_tone_has_a_look() -> None:
    assert set(LOOKS) == {"", *TONES}


@pytest.mark.parametrize("theme", ["canopy", "canopy-light", "nord", "ansi-dark"])
async def test_a_tone_looks_as_the_style_sheet_would_have_it(theme: str) -> None:
    app = OneSheet()
    for own in THEMES:
        app.register_theme(own)
    async with app.run_test(size=(40, 2)) as pilot:
        app.theme = theme
        await pilot.pause()
        sheet = app.query_one(Sheet)
        for tone in TONES:
            (segment,) = strip_of(sheet, [Piece("word", tone)], 4)
            wanted = sheet.get_component_rich_style(tone)
            assert segment.style is not None
            assert (segment.style.color, bool(segment.style.bold)) == (wanted.color, bool(wanted.bold)), tone
        assert tones_of(sheet).lit.bgcolor == sheet.get_component_rich_style("lit").bgcolor
