"""``canopy ls`` and ``canopy show`` on a log that the real journal wrote."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from helpers.rows import run_row
from helpers.screenlogs import LogWriter, falling, rising

from canopy_tui.cli import canopy
from canopy_tui.cli.pick import PickError, pick_run, short_id

Invoke = Callable[..., Result]


@pytest.fixture
def invoke(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Invoke]:
    """Runs ``canopy`` in this process on four runs in two projects."""
    writer = LogWriter(tmp_path / "log")
    writer.start("diverged", ago_s=9000, tags=("bad",))
    writer.log_curves("diverged", {"val/loss": [*falling(20), math.nan], "lr": [0.1] * 21}, lasting_s=600)
    writer.end("diverged", "failed", 3, ago_s=8000)
    writer.start("walker", project="rl", ago_s=8500)
    writer.log_curves("walker", {"reward": rising(20)}, lasting_s=600)
    writer.end("walker", ago_s=7000)
    for ago_s, floor in ((5000, 0.5), (4000, 0.1)):
        writer.start("twin", ago_s=ago_s, config={"lr": 0.01, "model": {"layers": 3}})
        writer.log_curves("twin", {"val/loss": falling(20, floor=floor)}, lasting_s=600)
        writer.end("twin", ago_s=ago_s - 1000)
    monkeypatch.setenv("CANOPY_DIR", str(writer.log_dir))
    monkeypatch.setenv("CANOPY_NODE", "none")
    monkeypatch.setenv("COLUMNS", "100")
    monkeypatch.chdir(tmp_path)

    def run(*arguments: str) -> Result:
        return CliRunner().invoke(canopy, arguments)

    yield run
    writer.close()


def names_in(result: Result) -> list[str]:
    return [run["name"] for run in json.loads(result.stdout)]


def test_newest_first(invoke: Invoke) -> None:
    lines = invoke("ls").stdout.splitlines()
    assert [line.split()[3] for line in lines[1:]] == ["twin", "twin", "walker", "diverged"]
    assert lines[0].split() == [
        "state",
        "project",
        "name",
        "main",
        "metric",
        "last",
        "best",
        "step",
        "age",
        "sync",
    ]
    assert all(len(line) < 100 for line in lines)


@pytest.mark.parametrize(
    ("arguments", "names"),
    [
        (["--project", "rl"], ["walker"]),
        (["--filter", "loss<0.3"], ["twin"]),
        (["--filter", "-twin state:failed"], ["diverged"]),
        (["--limit", "1"], ["twin"]),
        (["--limit", "0"], []),
        (["--sort", "name"], ["diverged", "twin", "twin", "walker"]),
        (["--sort", "name", "--reverse"], ["walker", "twin", "twin", "diverged"]),
        (["--reverse"], ["diverged", "walker", "twin", "twin"]),
    ],
)
def test_filters_and_sorts(invoke: Invoke, arguments: list[str], names: list[str]) -> None:
    assert names_in(invoke("ls", "--json", *arguments)) == names


def test_json_says_nan_in_words(invoke: Invoke) -> None:
    run = json.loads(invoke("ls", "--json", "--filter", "diverged").stdout, parse_constant=pytest.fail)[0]
    assert run["last"] == "NaN"
    assert run["best"] == pytest.approx(min(falling(20)))
    assert run["main_metric"] == "val/loss"
    assert run["sync"] == "local"
    assert run["state"] == "failed"


def test_a_bad_filter_is_said(invoke: Invoke) -> None:
    result = invoke("ls", "--filter", "loss<")
    assert result.exit_code == 2
    assert "loss< needs a number" in result.stderr


def test_no_match_is_said_on_stderr(invoke: Invoke) -> None:
    result = invoke("ls", "--filter", "nothing-like-it")
    assert result.stdout == ""
    assert "no run matches" in result.stderr
    assert "4 runs" in result.stderr


def test_no_runs_is_said_on_stderr(invoke: Invoke, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CANOPY_DIR", str(tmp_path / "elsewhere"))
    assert "canopy demo" in invoke("ls").stderr
    assert json.loads(invoke("ls", "--json").stdout) == []
    assert not (tmp_path / "elsewhere").exists()


def test_plain_is_ascii_words(invoke: Invoke) -> None:
    result = invoke("ls", "--plain")
    assert result.stdout.isascii()
    assert "x failed" in result.stdout


# -- show -------------------------------------------------------------------------------------------


def test_show_tells_the_run(invoke: Invoke) -> None:
    text = invoke("show", "diverged").stdout
    for words in (
        "diverged", "✗ failed · exit code 3", "digits", "21 · on this machine only", "bad", "val/loss", "lr",
        "val/loss: last NaN at step 200; best 0.2", "1 value not finite", "step",
    ):  # fmt: skip
        assert words in text
    assert any(0x2800 < ord(char) < 0x2900 for char in text)
    assert "×" in text


def test_show_tells_the_config(invoke: Invoke) -> None:
    text = invoke("show", "@last").stdout
    assert "model.layers 3" in text
    assert "lr           0.01" in text


def test_show_plain_is_ascii(invoke: Invoke) -> None:
    result = invoke("show", "--plain", "diverged")
    assert result.exit_code == 0
    assert result.stdout.isascii()


def test_show_json(invoke: Invoke) -> None:
    run = json.loads(invoke("show", "--json", "@last").stdout, parse_constant=pytest.fail)
    assert run["config"] == {"lr": 0.01, "model": {"layers": 3}}
    assert [metric["name"] for metric in run["metrics"]] == ["val/loss"]
    assert run["metrics"][0]["points"] == 20
    assert run["metrics"][0]["goal"] == "min"
    assert run["streams"][0]["state"] == "done"
    assert run["streams"][0]["records"] == 20


def test_an_ambiguous_name_lists_the_candidates(invoke: Invoke) -> None:
    result = invoke("show", "twin")
    assert result.exit_code == 1
    assert isinstance(result.exception, PickError)
    said = str(result.exception)
    ids = [run["id"].replace("-", "")[-6:] for run in json.loads(invoke("ls", "--json").stdout)[:2]]
    assert all(one in said for one in ids)
    assert "names 2 runs" in said
    assert invoke("show", ids[0]).exit_code == 0


# -- which run --------------------------------------------------------------------------------------

ROWS = [run_row(f"run-{place}", hours_ago=place) for place in range(1, 6)]


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.name)
def test_a_run_is_picked_by_name_or_id(row) -> None:
    for text in (
        row.name,
        str(row.run_id),
        row.run_id.hex,
        row.run_id.hex[:30],
        short_id(row),
        row.run_id.hex[-5:].upper(),
    ):
        assert pick_run(ROWS, text) is row


def test_last_is_the_newest() -> None:
    assert pick_run(ROWS, "@last") is ROWS[0]


def test_a_users_own_id_picks_its_run() -> None:
    from wal.record import run_uuid

    row = run_row("mine", run_id=run_uuid("digits", "exp-17"))
    assert pick_run([*ROWS, row], "exp-17") is row


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("run-0", "did you mean 'run-"),
        ("zzz", "'canopy ls' lists them"),
        ("", "there is no run ''"),
        ("---", "no run"),
    ],
)
def test_an_unknown_run_is_said(text: str, words: str) -> None:
    with pytest.raises(PickError, match=words):
        pick_run(ROWS, text)


def test_no_runs_at_all() -> None:
    with pytest.raises(PickError, match="canopy demo"):
        pick_run([], "@last")
