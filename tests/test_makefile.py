"""The Makefile on machines that lack something: each remedy is one clear sentence."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
OLD_PYTHON = '#!/bin/sh\n[ "$1" = -V ] && echo Python 3.9.2 && exit 0\nexit 1\n'
NO_VENV = f"""#!/bin/sh
case "$2" in *venv*) exit 1;; esac
exec {sys.executable} "$@"
"""


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """A checkout's Makefile beside an empty bin/, which the tests fill with what the machine has."""
    for name in ("Makefile", "pyproject.toml"):
        shutil.copy(ROOT / name, tmp_path)
    binaries = tmp_path / "bin"
    binaries.mkdir()
    for tool in ("make", "sh", "sed", "touch", "echo"):
        found = shutil.which(tool)
        assert found, f"this machine has no {tool}"
        (binaries / tool).symlink_to(found)
    return tmp_path


def add_tool(checkout: Path, name: str, script: str) -> None:
    path = checkout / "bin" / name
    path.write_text(script)
    path.chmod(0o755)


def run_make(checkout: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    environment = {"PATH": str(checkout / "bin"), "HOME": str(checkout)}
    return subprocess.run(
        ["make", "-C", str(checkout), *arguments], env=environment, capture_output=True, text=True, timeout=60
    )


def test_an_old_python_is_named_with_the_remedy(checkout: Path) -> None:
    add_tool(checkout, "python3", OLD_PYTHON)
    done = run_make(checkout, "test")
    assert done.returncode != 0
    assert "needs Python 3.11 or newer; this machine's python3 is Python 3.9.2" in done.stderr
    assert "apt install python3.11" in done.stderr
    assert "make PYTHON=/path/to/python3.11 test" in done.stderr


def test_no_python_at_all_is_named(checkout: Path) -> None:
    done = run_make(checkout, "demo")
    assert done.returncode != 0
    assert "this machine's python3 is missing" in done.stderr


def test_a_missing_venv_module_is_named_with_the_package_to_install(checkout: Path) -> None:
    add_tool(checkout, "python3.11", NO_VENV)
    done = run_make(checkout, "test")
    assert done.returncode != 0
    assert "python3.11 has no venv module. Debian and Ubuntu: apt install python3.11-venv" in done.stderr


def test_the_newest_python_is_chosen(checkout: Path) -> None:
    for name in ("python3.11", "python3.13", "python3"):
        add_tool(checkout, name, f'#!/bin/sh\nexec {sys.executable} "$@"\n')
    done = run_make(checkout, "-n", "test")
    assert '"python3.13" -m venv .venv' in done.stdout


def test_help_lists_every_target(checkout: Path) -> None:
    done = run_make(checkout, "help")
    assert done.returncode == 0
    for target in ("demo", "test", "check", "bench", "faults", "screenshots"):
        assert f"make {target}" in done.stdout


def test_readme_gives_the_lines_without_make() -> None:
    readme = (ROOT / "README.md").read_text()
    for line in ("python3 -m venv .venv", ".venv/bin/pip install -e '.[dev]'", ".venv/bin/python -m tests"):
        assert line in readme
    assert os.access(ROOT / ".ci" / "run", os.X_OK)
