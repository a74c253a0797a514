"""The keys by which charts are looked at: zoom, pan, cursor, axes, smoothing. What they change is a lens."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, ClassVar

from textual.binding import Binding, BindingType
from textual.containers import Container
from textual.message import Message

from canopy_tui.lens import Extent, Lens, Window

if TYPE_CHECKING:
    from canopy_tui.charts.axis import Axis
    from canopy_tui.charts.parts import Curve

CLOSER = 0.5
"""What one key press leaves of what was shown."""

PAN = 0.25
"""How much of what is shown a key press moves: enough stays to see where one is."""

CURSOR = "A cursor, and the values there"
CURSOR_FAR = "The cursor, ten at a time"
ZOOM = "Zoom in at the cursor, and out"
SMOOTH = "Smoother, less, as logged"
"""Keys of one text share a line of the help."""


class LensPane(Container, can_focus=True):
    """Holds charts that are looked at through one lens. A subclass draws them and says what is in hand."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("left", "cursor(-1)", show=False, id="lens.left", tooltip=CURSOR),
        Binding("right", "cursor(1)", show=False, id="lens.right", tooltip=CURSOR),
        Binding("ctrl+left", "cursor(-10)", show=False, id="lens.left_10", tooltip=CURSOR_FAR),
        Binding("ctrl+right", "cursor(10)", show=False, id="lens.right_10", tooltip=CURSOR_FAR),
        Binding("i", "zoom(True)", show=False, id="lens.in", tooltip=ZOOM),
        Binding("o", "zoom(False)", show=False, id="lens.out", tooltip=ZOOM),
        Binding("z", "whole", show=False, id="lens.whole", tooltip="The whole run again"),
        Binding("H,shift+left", "pan(-1)", show=False, id="lens.pan_left", tooltip="Pan to the left"),
        Binding("L,shift+right", "pan(1)", show=False, id="lens.pan_right", tooltip="Pan to the right"),
        Binding("home", "start", show=False, id="lens.start", tooltip="Pan to the run's start"),
        Binding("end", "follow", show=False, id="lens.follow", tooltip="Follow what is logged"),
        Binding(
            "x", "axis", show=False, id="lens.axis", tooltip="X axis: step, time since the start or of day"
        ),
        Binding("y", "log", show=False, id="lens.log", tooltip="Logarithmic y, or linear"),
        Binding("plus,equals_sign", "smooth(1)", show=False, id="lens.smoother", tooltip=SMOOTH),
        Binding("minus", "smooth(-1)", show=False, id="lens.rougher", tooltip=SMOOTH),
        Binding("0", "smooth(0)", show=False, id="lens.raw", tooltip=SMOOTH),
        Binding("A", "ghosts", show=False, id="lens.ghosts", tooltip="What a resume superseded, or not"),
    ]

    @dataclass
    class Wanted(Message):
        """Other charts are to be drawn than before, or the same ones through another lens."""

    @dataclass
    class Chosen(Message):
        """The user chose an axis, a scale or a smoothness."""

        lens: Lens

    def __init__(self) -> None:
        super().__init__()
        self.lens = Lens()
        self.extent: Extent | None = None
        """From where to where the run reaches on the x axis; None until that is known."""
        self.records = 0
        """How many records the run has."""
        self._records_at_hold = 0

    def in_hand(self) -> tuple[Sequence[Curve], Axis] | None:
        """The curves of the chosen chart and the axis they are drawn on; None before they are drawn."""
        raise NotImplementedError

    @property
    def new_records(self) -> int:
        """Records since the view was held."""
        return self.records - self._records_at_hold if self.lens.window.holds else 0

    def look(self, lens: Lens) -> None:
        """Look through another lens."""
        if lens == self.lens:
            return
        if lens.x != self.lens.x:
            self.extent = None
        if lens.window.holds and not self.lens.window.holds:
            self._records_at_hold = self.records
        self.lens = lens
        self.post_message(self.Wanted())

    def choose(self, lens: Lens) -> None:
        """Look through another lens, by the user's choice."""
        self.look(lens)
        self.post_message(self.Chosen(lens))

    def zoom(self, factor: float, at: float | None = None) -> None:
        """Show ``factor`` times as much of the axis, what is at ``at`` staying where it is."""
        if self.extent is not None:
            self.look(self.lens.zoomed(self.extent, factor, at))

    def pan(self, share: float) -> None:
        """Move by a share of what is shown."""
        if self.extent is not None:
            self.look(self.lens.panned(self.extent, share))

    def put_cursor(self, x: float | None) -> None:
        """Put the value cursor on the nearest points to ``x`` of the chosen chart."""
        from canopy_tui.charts.cursor import moved

        in_hand = self.in_hand()
        if in_hand is not None and x is not None:
            self.look(replace(self.lens, cursor=moved(*in_hand, x, 0)))

    def take_cursor_away(self) -> bool:
        """Take the value cursor away; False when there was none."""
        there = self.lens.cursor is not None
        self.look(replace(self.lens, cursor=None))
        return there

    # -- keys ---------------------------------------------------------------------------------------

    def action_zoom(self, closer: bool) -> None:
        self.zoom(CLOSER if closer else 1 / CLOSER)

    def action_pan(self, direction: int) -> None:
        self.pan(direction * PAN)

    def action_whole(self) -> None:
        self.look(replace(self.lens, window=Window()))

    def action_start(self) -> None:
        if self.extent is not None:
            self.look(replace(self.lens, window=self.lens.window.at_start(self.extent)))

    def action_follow(self) -> None:
        self.look(replace(self.lens, window=self.lens.window.following()))

    def action_cursor(self, by: int) -> None:
        """Move the cursor by columns that have points; at the edge of what is shown, pan."""
        from canopy_tui.charts.cursor import moved

        in_hand = self.in_hand()
        if in_hand is None:
            return
        cursor = moved(*in_hand, self.lens.cursor, by)
        if cursor is not None and cursor != self.lens.cursor:
            self.look(replace(self.lens, cursor=cursor))
        else:
            self.pan(PAN if by > 0 else -PAN)

    def action_log(self) -> None:
        self.choose(replace(self.lens, log=not self.lens.log))

    def action_axis(self) -> None:
        self.choose(self.lens.next_axis())

    def action_smooth(self, by: int) -> None:
        self.choose(self.lens.smoother(by))

    def action_ghosts(self) -> None:
        self.look(replace(self.lens, ghosts=not self.lens.ghosts))
