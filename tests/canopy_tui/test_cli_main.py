"""The command line as a user meets it: real processes."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from helpers.hung import hung_server
from helpers.screenlogs import LogWriter, falling

from canopy_tui.cli import VERBS
from wal.record import FORMAT

ROOT = Path(__file__).parents[2]
HEAVY = ("textual", "numpy", "cassandra", "sqlite_utils", "yaml", "watchfiles", "jgo")


def canopy(*arguments: str, log_dir: Path | None = None, **env: str) -> subprocess.CompletedProcess[str]:
    """Run ``canopy`` without a terminal, on its own log directory, with no Cassandra."""
    variables = {
        **os.environ, "PYTHONPATH": str(ROOT), "CANOPY_NODE": "none", "CANOPY_SYNC": "0", "COLUMNS": "100",
        "CANOPY_DIR": str(log_dir or "/nonexistent"), "LC_ALL": "C.UTF-8", **env,
    }  # fmt: skip
    return subprocess.run(
        [sys.executable, "-m", "canopy_tui", *arguments],
        env=variables, cwd="/", stdin=subprocess.DEVNULL, capture_output=True, text=True, encoding="utf-8",
        timeout=120, check=False,
    )  # fmt: skip


def imported(code: str, log_dir: Path) -> set[str]:
    """Which of the heavy modules a piece of code imports, in a fresh interpreter."""
    ask = f"{code}\nimport sys\nprint([name for name in {HEAVY!r} if name in sys.modules], file=sys.stderr)"
    result = subprocess.run(
        [sys.executable, "-c", ask], capture_output=True, text=True, timeout=120, check=True, cwd="/",
        env={**os.environ, "PYTHONPATH": str(ROOT), "CANOPY_NODE": "none", "CANOPY_DIR": str(log_dir)},
    )  # fmt: skip
    return set(eval(result.stderr.strip().splitlines()[-1]))


@pytest.fixture
def log_dir(tmp_path: Path) -> Path:
    writer = LogWriter(tmp_path / "log")
    for name in ("first", "second"):
        writer.start(name, ago_s=600, host=None)
        writer.log_curves(name, {"val/loss": falling(20)}, lasting_s=300)
    writer.close()
    return writer.log_dir


def test_help_imports_nothing_heavy(tmp_path: Path) -> None:
    code = (
        "from click.testing import CliRunner\nfrom canopy_tui.cli import canopy\n"
        "assert CliRunner().invoke(canopy, ['--help']).exit_code == 0"
    )
    assert imported(code, tmp_path) == set()


def test_ls_imports_neither_textual_nor_numpy_nor_the_driver(log_dir: Path) -> None:
    code = (
        "from click.testing import CliRunner\nfrom canopy_tui.cli import canopy\n"
        "result = CliRunner().invoke(canopy, ['ls'])\nassert 'second' in result.output, result"
    )
    assert imported(code, log_dir) <= {"yaml"}  # the settings may name a Cassandra


def test_help_lists_every_verb() -> None:
    result = canopy("--help")
    assert result.returncode == 0
    for name, verb in VERBS.items():
        assert f"  {name}" in result.stdout
        assert verb.help in result.stdout


@pytest.mark.parametrize("name", VERBS)
def test_every_verb_has_help(name: str) -> None:
    result = canopy(name, "--help")
    assert result.returncode == 0, result.stderr
    assert "Usage: canopy" in result.stdout


def test_a_slip_is_put_right() -> None:
    result = canopy("shwo")
    assert result.returncode == 2
    assert "did you mean 'canopy show'?" in result.stderr


def test_an_unknown_verb_points_to_the_help() -> None:
    result = canopy("zzz")
    assert result.returncode == 2
    assert "there is no command 'zzz'" in result.stderr


def test_version() -> None:
    result = canopy("--version")
    assert result.returncode == 0
    assert result.stdout.startswith("canopy ")


@pytest.mark.parametrize("env", [{}, {"TERM": "dumb"}])
def test_without_a_terminal_the_runs_are_listed(log_dir: Path, env: dict[str, str]) -> None:
    assert canopy(log_dir=log_dir, **env).stdout == canopy("ls", log_dir=log_dir, **env).stdout
    assert "second" in canopy(log_dir=log_dir, **env).stdout


@pytest.mark.parametrize("arguments", [["ls"], ["show", "@last"], []])
def test_another_locale_gets_ascii(log_dir: Path, arguments: list[str]) -> None:
    for env in (
        {"LC_ALL": "C"},
        {"LC_ALL": "", "LC_CTYPE": "", "LANG": "C"},
        {"LC_ALL": "de_DE.ISO-8859-1"},
        {"TERM": "linux"},
        {"PYTHONIOENCODING": "ascii"},
    ):
        result = canopy(*arguments, log_dir=log_dir, **env)
        assert result.returncode == 0, result.stderr
        assert result.stdout.isascii()
        assert "second" in result.stdout
    assert not canopy(*arguments, log_dir=log_dir).stdout.isascii()


@pytest.mark.parametrize("arguments", [["ls"], ["show", "@last"]])
def test_a_cassandra_that_hangs_is_said_and_the_log_is_shown(log_dir: Path, arguments: list[str]) -> None:
    with hung_server() as (port, _):
        result = canopy(
            *arguments, log_dir=log_dir,
            CASCOR_CASSANDRA_CONTACT_POINTS="127.0.0.1", CASCOR_CASSANDRA_PORT=str(port),
        )  # fmt: skip
    assert result.returncode == 0
    assert "second" in result.stdout
    assert f"Cassandra 127.0.0.1:{port} did not answer" in result.stderr
    assert "Traceback" not in result.stderr


def test_a_bad_setting_is_one_sentence(tmp_path: Path) -> None:
    result = canopy("ls", log_dir=tmp_path, CANOPY_NODES="x")
    assert "CANOPY_NODE" in result.stderr
    assert "Traceback" not in result.stderr


def test_a_segment_of_a_newer_format_is_said_and_the_rest_listed(log_dir: Path) -> None:
    import sqlite3

    path = next(log_dir.glob("*/*/000001.db"))
    connection = sqlite3.connect(path)
    connection.execute("UPDATE meta SET v = ? WHERE k = 'format'", (str(FORMAT + 1),))
    connection.commit()
    connection.close()
    result = canopy("ls", "--json", log_dir=log_dir)
    assert result.returncode == 0
    runs = json.loads(result.stdout)
    assert len(runs) == 2
    assert sum(run["problem"] is not None for run in runs) == 1
    assert "Traceback" not in result.stderr


def test_a_reader_that_leaves_early_is_no_error(log_dir: Path) -> None:
    command = f"{sys.executable} -m canopy_tui show @last | head -1"
    env = {**os.environ, "PYTHONPATH": str(ROOT), "CANOPY_NODE": "none", "CANOPY_DIR": str(log_dir)}
    result = subprocess.run(
        ["sh", "-c", command], env=env, cwd="/", capture_output=True, text=True, timeout=120, check=False
    )
    assert result.stderr == ""
