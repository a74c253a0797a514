"""Imports point downwards only: seen by a process that imports a module, and by reading every import."""

from __future__ import annotations

import ast
import os
import subprocess
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
HEAVY = ("textual", "numpy", "cassandra", "sqlite_utils")
"""What costs more than it may where it is not needed."""

TRAINING = ("wal", "wal.paths", "wal.record", "wal.summary", "wal.journal", "wal.run")
LISTING = ("wal.catalog", "wal.local", "wal.reading.goals", "wal.source", "canopy_tui.cli.ls")


@cache
def modules_after(module: str) -> frozenset[str]:
    """Top-level names in ``sys.modules`` after importing ``module`` in a fresh interpreter, whole names of
    wal's and the app's own modules."""
    code = f"import sys, {module}; print(*sys.modules, sep='\\n')"
    printed = subprocess.run(
        [sys.executable, "-I", "-c", f"import sys; sys.path.insert(0, {str(ROOT)!r}); {code}"],
        capture_output=True, text=True, check=True, env=os.environ | {"PYTHONDONTWRITEBYTECODE": "1"},
    )  # fmt: skip
    names = printed.stdout.split()
    own = {name for name in names if name.partition(".")[0] in ("wal", "canopy_tui")}
    return frozenset(own | {name.partition(".")[0] for name in names})


def foreign(module: str) -> set[str]:
    """Modules outside of the standard library that importing ``module`` reaches, but for our own."""
    blank = {name.partition(".")[0] for name in modules_after("sys")}
    found = {name for name in modules_after(module) if "." not in name} - blank
    return {
        name for name in found if name not in sys.stdlib_module_names and name not in ("wal", "canopy_tui")
    }


@pytest.mark.parametrize("module", TRAINING)
def test_training_reaches_the_standard_library_only(module: str) -> None:
    assert foreign(module) == set()


@pytest.mark.parametrize("module", LISTING)
def test_listing_runs_imports_nothing_heavy(module: str) -> None:
    assert modules_after(module).isdisjoint(HEAVY)


@pytest.mark.parametrize("module", ["canopy_tui.charts", "canopy_tui.format", "canopy_tui.listing"])
def test_what_is_pure_knows_no_screen(module: str) -> None:
    assert modules_after(module).isdisjoint({"textual", "cassandra", "click"})


def test_the_node_starts_without_the_driver() -> None:
    assert "cassandra" not in modules_after("wal.cassandra.node")


def test_reading_without_a_cassandra_needs_no_driver() -> None:
    assert modules_after("wal.merged").isdisjoint({"cassandra", "textual", "numpy", "sqlite_utils"})


# -- by reading the imports -----------------------------------------------------------------------------


def sources(package: str) -> list[Path]:
    found = sorted((ROOT / package).rglob("*.py"))
    assert found, f"{package} is empty"
    return found


def imports(path: Path) -> Iterator[str]:
    """Every module that a file imports, at any depth; ``from x import y`` as ``x.y``, and those for types."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: a relative import"
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def offenders(package: str, *forbidden: str, allowed: tuple[str, ...] = ()) -> list[str]:
    """ "file: module" of each import of a forbidden package; ``allowed`` are paths under the root."""
    return [
        f"{path.relative_to(ROOT)}: {name}"
        for path in sources(package)
        if not str(path.relative_to(ROOT)).startswith(allowed)
        for name in imports(path)
        if name.partition(".")[0] in forbidden
    ]


def test_wal_imports_nothing_above_it() -> None:
    assert offenders("wal", "textual", "click", "canopy_tui", "rich") == []


def test_only_wal_cassandra_imports_the_driver() -> None:
    assert offenders("wal", "cassandra", allowed=("wal/cassandra/",)) == []
    assert offenders("canopy_tui", "cassandra") == []


def test_click_is_for_the_command_line_and_textual_for_screens() -> None:
    cli = ("canopy_tui/cli/", "canopy_tui/__main__.py")
    screens = (
        "canopy_tui/app.py", "canopy_tui/screens/", "canopy_tui/widgets/", "canopy_tui/commands.py",
        "canopy_tui/messages.py", "canopy_tui/background.py",
    )  # fmt: skip
    assert offenders("canopy_tui", "click", allowed=cli) == []
    assert offenders("canopy_tui", "textual", allowed=screens) == []


def test_charts_are_pure() -> None:
    found = {
        name
        for path in sources("canopy_tui/charts")
        for name in imports(path)
        if name.startswith(("canopy_tui.", "wal.")) and not name.startswith("canopy_tui.charts")
    }
    assert {name.rpartition(".")[0] for name in found} <= {
        "canopy_tui.format",
        "canopy_tui",
        "wal.pyramid",
        "wal.summary",
    }


def test_the_writing_side_knows_no_reading_side() -> None:
    """A trainer's process must not even hold the code that talks to Cassandra or reads lists."""
    reached = {name for name in modules_after("wal.run") if name.startswith("wal.")}
    assert reached.isdisjoint({"wal.catalog", "wal.merged", "wal.syncer", "wal.settings", "wal.cassandra"})


# -- circles -----------------------------------------------------------------------------------------------


def _unseen_at_run_time(tree: ast.Module) -> Iterator[ast.AST]:
    """What stands under ``if TYPE_CHECKING`` and under ``if __name__ == "__main__"``."""
    for node in ast.walk(tree):
        if isinstance(node, ast.If) and ast.unparse(node.test) in ("TYPE_CHECKING", "__name__ == '__main__'"):
            yield from ast.walk(node)


def imported_modules() -> dict[str, set[str]]:
    """Each module of ours with those of ours that it imports, at any depth of its functions."""
    paths = {
        ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__"): path
        for package in ("wal", "canopy_tui")
        for path in sources(package)
    }
    found: dict[str, set[str]] = {}
    for module, path in paths.items():
        tree = ast.parse(path.read_text(encoding="utf-8"))
        unseen = set(map(id, _unseen_at_run_time(tree)))
        names = [
            f"{node.module}.{alias.name}"
            for node in ast.walk(tree)
            if isinstance(node, ast.ImportFrom) and id(node) not in unseen
            for alias in node.names
        ]
        owners = (name if name in paths else name.rpartition(".")[0] for name in names)
        found[module] = {owner for owner in owners if owner in paths and owner != module}
    return found


def test_modules_do_not_import_each_other_in_a_circle() -> None:
    """Whoever is imported by nobody who is left is taken away, until only circles are left."""
    left = imported_modules()
    while True:
        wanted = set().union(*left.values()) if left else set()
        free = [module for module, owners in left.items() if module not in wanted or not owners & left.keys()]
        if not free:
            break
        for module in free:
            del left[module]
    assert left == {}
