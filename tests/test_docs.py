"""Every command, option and key that a user can meet is said somewhere a user looks."""

from __future__ import annotations

import importlib
import re
from collections.abc import Iterator
from pathlib import Path

import click
import pytest
from textual.binding import Binding

from canopy_tui.app import CanopyApp
from canopy_tui.cli import VERBS, canopy
from canopy_tui.screens.choose import Choices, ChooseScreen
from canopy_tui.screens.compare import CompareScreen
from canopy_tui.screens.help import HelpScreen
from canopy_tui.screens.run import RunScreen
from canopy_tui.screens.runs import RunsScreen
from canopy_tui.widgets.charts_pane import ChartsPane
from canopy_tui.widgets.compare_pane import ComparePane
from canopy_tui.widgets.difference_pane import DifferencePane
from canopy_tui.widgets.filter_bar import FilterBar
from canopy_tui.widgets.lens_pane import LensPane
from canopy_tui.widgets.run_table import RunTable
from wal.environment import CANOPY_VARIABLES

README = (Path(__file__).parents[1] / "README.md").read_text(encoding="utf-8")
OWNERS = (
    CanopyApp, RunsScreen, RunTable, FilterBar, RunScreen, ChartsPane, LensPane, ChooseScreen, Choices,
    HelpScreen, CompareScreen, ComparePane, DifferencePane,
)  # fmt: skip

NAMES = {
    "slash": "/", "comma": ",", "full_stop": ".", "question_mark": "?", "escape": "Esc", "enter": "Enter",
    "left_square_bracket": "[", "right_square_bracket": "]", "pageup": "PgUp", "pagedown": "PgDn", "up": "↑",
    "down": "↓", "space": "space", "left": "←", "right": "→", "shift+left": "shift+←",
    "shift+right": "shift+→", "plus": "+", "minus": "-",
}  # fmt: skip
UNSAID = {"home", "end", "ctrl+q", "tab", "shift+tab", "equals_sign", "ctrl+left", "ctrl+right"}
"""Keys that do what they do everywhere, or what their neighbours do; the help lists them all the same."""


def bindings() -> Iterator[tuple[type, Binding]]:
    """Every binding, one key each."""
    for owner in OWNERS:
        for binding in owner.BINDINGS:
            assert isinstance(binding, Binding), binding
            for key in binding.key.split(","):
                yield owner, binding.with_key(key)


def commands() -> Iterator[tuple[str, click.Command]]:
    """Every verb and every verb of a verb."""
    for name, verb in VERBS.items():
        command = importlib.import_module(verb.module).command
        yield name, command
        if isinstance(command, click.Group):
            for below, one in command.commands.items():
                yield f"{name} {below}", one


@pytest.mark.parametrize("owner", OWNERS)
def test_every_binding_has_an_id_and_says_what_it_does(owner: type) -> None:
    for one, binding in bindings():
        if one is owner:
            assert binding.id, binding
            assert binding.tooltip, binding


def test_every_key_is_in_the_readme() -> None:
    table = README[README.index("## Keys") :]
    for owner, binding in bindings():
        if binding.key in UNSAID:
            continue
        shown = NAMES.get(binding.key, binding.key)
        if re.fullmatch("[1-9]", shown):
            shown = "1"
        assert re.search(rf"(?<![A-Za-z]){re.escape(shown)}(?![A-Za-z])", table), f"{owner.__name__}: {shown}"


def test_a_letter_means_one_thing() -> None:
    """Over all screens: a key with two actions is the same verb on another thing."""
    meanings: dict[str, set[str]] = {}
    for _, binding in bindings():
        if len(binding.key) == 1:
            meanings.setdefault(binding.key, set()).add(_verb(binding))
    assert {key: verbs for key, verbs in meanings.items() if len(verbs) > 1} == {}


def _verb(binding: Binding) -> str:
    """What a key is for, whatever it is done to."""
    action = binding.action.partition("(")[0]
    same = {
        "cursor_down": "move", "cursor_up": "move", "scroll": "move", "select": "move", "first": "move_to",
        "last": "move_to", "cancel": "back", "close": "back", "choose": "open", "main": "metric",
        "row": "move", "to": "move_to", "step": "move", "view": "compare",
    }  # fmt: skip
    if binding.key == "l":
        return "open"
    return same.get(action, action)


@pytest.mark.parametrize(
    ("name", "command"), commands(), ids=lambda value: value if isinstance(value, str) else ""
)
def test_every_command_and_option_has_help(name: str, command: click.Command) -> None:
    assert command.help, name
    for parameter in command.params:
        if isinstance(parameter, click.Option):
            assert parameter.help, f"{name} {parameter.opts}"


@pytest.mark.parametrize("name", VERBS)
def test_every_verb_is_in_the_readme(name: str) -> None:
    assert f"canopy {name}" in README


def test_commands_of_the_readme_exist() -> None:
    known = {name for name, _ in commands()}
    for line in re.findall(r"^(?:\.venv/bin/)?canopy (.*?)(?:\s+#.*)?$", README, re.MULTILINE):
        words = [word for word in line.split() if not word.startswith(("-", "@", "'", '"'))]
        if words:
            assert words[0] in known, line
    assert canopy.help


@pytest.mark.parametrize("variable", sorted(CANOPY_VARIABLES))
def test_every_variable_is_in_the_readme(variable: str) -> None:
    assert f"| `{variable}` |" in README


def test_the_readme_names_no_other_variable() -> None:
    assert set(re.findall("CANOPY_[A-Z_]+", README)) <= CANOPY_VARIABLES
