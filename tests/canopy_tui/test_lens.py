"""Where a window lies on an axis, however it is zoomed and moved."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from canopy_tui.lens import CLOCK, LEAST_SPAN, LEVELS, PLAIN_AXES, RELATIVE, Extent, Lens, Window, lens_notes
from wal.source import STEP, XAxis

WHOLE: Extent = (0, 1000)


def test_zooming_at_a_place_keeps_it_where_it_is() -> None:
    lens = Lens().zoomed(WHOLE, 0.5, 400)
    assert lens.window == Window(500, 200)
    assert lens.window.within(WHOLE) == (200, 700)
    assert lens.zoomed(WHOLE, 2.0, 400).window == Window()


def test_without_a_place_the_right_edge_stays_and_is_followed() -> None:
    lens = Lens().zoomed(WHOLE, 0.5)
    assert not lens.window.holds
    assert lens.window.within(WHOLE) == (500, 1000)
    assert lens.window.within((0, 1200)) == (700, 1200)


def test_the_cursor_is_what_a_zoom_closes_in_on_while_it_can_be_seen() -> None:
    assert Lens(cursor=100).zoomed(WHOLE, 0.5).window == Window(500, 50)
    held = Lens(cursor=100, window=Window(200, 600))
    assert held.zoomed(WHOLE, 0.5).window == Window(100, 650)


def test_panned_away_it_holds_and_back_at_the_edge_it_follows() -> None:
    lens = Lens(window=Window(200))
    away = lens.panned(WHOLE, -0.25)
    assert away.window == Window(200, 750)
    assert away.window.within((0, 5000)) == (750, 950)
    assert away.panned(WHOLE, 0.25).window == Window(200)
    assert away.window.following() == Window(200)
    assert away.panned(WHOLE, -9).window == away.window.at_start(WHOLE) == Window(200, 0)
    assert Lens().panned(WHOLE, -0.25).window == Window(), "there is nothing beside the whole of it"


@given(
    st.integers(-(2**62), 2**62),
    st.integers(0, 2**62),
    st.lists(
        st.tuples(st.sampled_from(["zoom", "pan"]), st.floats(0.01, 8.0), st.floats(0.0, 1.0)), max_size=12
    ),
)
def test_wherever_it_goes_it_stays_on_the_run(
    first: int, length: int, moves: list[tuple[str, float, float]]
) -> None:
    extent = (first, first + length)
    lens = Lens()
    for kind, much, where in moves:
        low, high = lens.window.within(extent)
        if kind == "zoom":
            lens = lens.zoomed(extent, much, low + (high - low) * where)
        else:
            lens = lens.panned(extent, (much - 4) * where)
        low, high = lens.window.within(extent)
        assert isinstance(low, int), "steps are whole numbers"
        assert isinstance(high, int)
        assert extent[0] <= low <= high <= extent[1]
        assert high - low >= min(LEAST_SPAN["step"], length)


def test_a_metrics_axis_is_zoomed_in_floats() -> None:
    lens = Lens(XAxis("metric", "loss")).zoomed((0.25, 0.75), 0.5, 0.5)
    assert lens.window.within((0.25, 0.75)) == (0.375, 0.625)


def test_axes_and_smoothing_go_round_and_to_their_ends() -> None:
    lens = Lens(window=Window(10, 3), cursor=5.0)
    seen = [lens.x]
    for _ in PLAIN_AXES:
        lens = lens.next_axis()
        seen.append(lens.x)
        assert (lens.window, lens.cursor) == (Window(), None), "a place on one axis means nothing on another"
    assert seen == [STEP, RELATIVE, CLOCK, STEP]
    assert lens.on(XAxis("metric", "loss")).next_axis().x == STEP
    assert lens.smoother(-1).smoothing == 0.0
    assert lens.smoother(1).smoothing == LEVELS[1]
    assert lens.smoother(99).smoothing == LEVELS[-1]
    assert lens.smoother(99).smoother(0).smoothing == 0.0


def test_notes_say_what_the_charts_do_not() -> None:
    assert lens_notes(Lens(), 0) == ()
    held = Lens(XAxis("metric", "[/x]\x1b[2J"), smoothing=0.9, ghosts=True, window=Window(5, 1))
    assert lens_notes(held, 1320) == ("▶ 1,320 new, End follows", "smoothed 0.9", "x: [/x]", "ghosts")
