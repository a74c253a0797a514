"""``import wal as wandb`` runs a basic W&B script, unchanged."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from helpers.trainer import environment, run_script
from helpers.waiting import stream_records, streams_in

from wal.journal import SegmentMeta, read_meta, segment_paths
from wal.record import Kind

SCRIPT = """
import argparse
import math
import random

import wal as wandb

parser = argparse.ArgumentParser()
parser.add_argument("--lr", type=float, default=0.1)
args = parser.parse_args([])

random.seed(0)
assert wandb.login(key="0" * 40, relogin=True)
with wandb.init(
    entity="my-team", project="my-project", config=args, settings=None, reinit=True,
    sync_tensorboard=False, save_code=True, tags=["a", "b"], notes="first try", group="g", job_type="train",
) as run:
    config = wandb.config
    assert config.lr == 0.1 and config["lr"] == run.config.lr
    wandb.config.update({"epochs": 10, "betas": (0.9, 0.999)}, allow_val_change=True)
    wandb.run.name = "first-" + run.name
    wandb.define_metric("val/acc", summary="max")
    model = object()
    assert wandb.watch(model, log="all", log_freq=10) is None
    run.watch(model, criterion=None)
    wandb.define_metric("val/*", step_metric="epoch")
    for epoch in range(config.epochs):
        loss = math.exp(-epoch / 3) + random.random() / 10
        wandb.log({"epoch": epoch, "train": {"loss": loss}, "val/acc": 1 - loss}, step=epoch, commit=True)
        run.log({"lr": config.lr}, step=epoch)
    wandb.alert(title="done", text="it is over", level=wandb.AlertLevel.WARN, wait_duration=300)
    wandb.save("model.pt")
    run.save("*.pt", policy="now")
    wandb.run.summary["best_acc"] = 0.9
    wandb.summary.update({"note": "fine"})
    assert wandb.run is run
assert wandb.run is None
wandb.finish()
"""


def newest_meta(stream: Path) -> SegmentMeta:
    meta = read_meta(segment_paths(stream)[-1])
    assert meta is not None
    return meta


def test_a_basic_script_runs_unchanged(tmp_path: Path) -> None:
    script = tmp_path / "train.py"
    script.write_text(SCRIPT)
    finished = subprocess.run(
        [sys.executable, str(script)],
        env=environment(CANOPY_DIR=str(tmp_path / "log")), capture_output=True, text=True, timeout=60,
    )  # fmt: skip
    assert finished.returncode == 0, finished.stderr
    assert finished.stdout == ""
    ignored = ("entity", "settings", "reinit", "sync_tensorboard", "save_code", "commit", "wait_duration")
    for keyword in ignored:
        assert finished.stderr.count(f"({keyword}=...) means nothing to Canopy and is ignored") == 1, keyword
    said = ("watch() records no gradients", "save() keeps no files")
    for sentence in said:
        assert finished.stderr.count(sentence) == 1, sentence
    assert len(finished.stderr.splitlines()) == len(ignored) + len(said)

    (stream,) = streams_in(tmp_path / "log")
    meta = newest_meta(stream)
    run = meta.run
    assert (run.project, run.name, run.group, run.job_type) == ("my-project", "first-train-1", "g", "train")
    assert (run.tags, run.notes) == (("a", "b"), "first try")
    assert run.config == {"lr": 0.1, "epochs": 10, "betas": [0.9, 0.999]}
    assert run.metrics == {
        "val/acc": {"goal": "max", "step_metric": None},
        "val/*": {"goal": None, "step_metric": "epoch"},
    }
    assert meta.end is not None
    assert meta.end.state == "done"
    records = stream_records(stream)
    logged = [record for record in records if record.kind is Kind.LOG]
    assert [record.step for record in logged] == [epoch for epoch in range(10) for _ in range(2)]
    assert set(logged[0].values) == {"epoch", "train/loss", "val/acc"}
    assert [record.kind for record in records[20:]] == [Kind.ALERT, Kind.SUMMARY, Kind.SUMMARY]
    assert records[20].texts == {"title": "done", "text": "it is over", "level": "WARN"}
    assert (records[21].values, records[22].texts) == ({"best_acc": 0.9}, {"note": "fine"})


def test_a_second_init_finishes_the_first(tmp_path: Path) -> None:
    script = """
import sys, wal as wandb
first = wandb.init(project="p", name="one", dir=sys.argv[1])
wandb.log({"loss": 1.0})
second = wandb.init(project="p", name="two", dir=sys.argv[1])
assert first.finished and not second.finished
assert first.log({"loss": 2.0}) is None
wandb.log({"loss": 3.0})
"""
    finished = run_script(script, str(tmp_path))
    assert finished.returncode == 0, finished.stderr
    metas = [newest_meta(stream) for stream in streams_in(tmp_path)]
    assert [meta.run.name for meta in metas] == ["one", "two"]
    assert len({meta.run.run_id for meta in metas}) == 2
    assert all(meta.end is not None and meta.end.last_seq == 1 for meta in metas)
    assert finished.stderr.count("log() after finish()") == 1


def test_log_without_init_starts_a_run(tmp_path: Path) -> None:
    finished = run_script("import wal; assert wal.log({'loss': 1.0}) == 1", CANOPY_DIR=str(tmp_path))
    assert finished.returncode == 0, finished.stderr
    (stream,) = streams_in(tmp_path)
    end = newest_meta(stream).end
    assert end is not None
    assert (end.state, end.last_seq) == ("done", 1)


@pytest.mark.parametrize(
    "use", ["wal.config.lr = 1", "wal.summary['a'] = 1", "wal.define_metric('loss', goal='min')"]
)
def test_other_uses_without_init_start_a_run_too(tmp_path: Path, use: str) -> None:
    finished = run_script(f"import wal; {use}", CANOPY_DIR=str(tmp_path))
    assert finished.returncode == 0, finished.stderr
    assert len(streams_in(tmp_path)) == 1


def test_looking_at_the_module_starts_nothing(tmp_path: Path) -> None:
    script = "import inspect, wal; inspect.getmembers(wal); repr(wal.config); hasattr(wal, 'watch')"
    finished = run_script(script, CANOPY_DIR=str(tmp_path))
    assert (finished.returncode, finished.stderr) == (0, "")
    assert streams_in(tmp_path) == []


def test_what_canopy_does_not_have_is_said_in_a_sentence() -> None:
    finished = run_script("import wal as wandb; wandb.Image([1])")
    assert "wal has no 'Image': Canopy keeps numbers, texts and topologies" in finished.stderr


EXITS_IN_A_HANDLER = """
signal.signal(signal.SIGUSR1, lambda *_: sys.exit(5))
signal.raise_signal(signal.SIGUSR1)
"""


@pytest.mark.parametrize(
    ("ending", "state", "code"),
    [
        ("raise ValueError('diverged')", "failed", 1),
        ("raise KeyboardInterrupt", "failed", 130),
        ("wal.finish(exit_code=3)", "failed", 3),
        ("wal.finish()", "done", 0),
        ("pass", "done", 0),
        ("sys.exit(3)", "failed", 3),
        ("sys.exit(-1)", "failed", 255),
        ("sys.exit('out of data')", "failed", 1),
        ("sys.exit(0)", "done", 0),
        ("sys.exit()", "done", 0),
        ("sys.exit(None)", "done", 0),
        ("try: sys.exit(3)\nfinally: print('finally')", "failed", 3),
        ("try: sys.exit(3)\nexcept SystemExit: print('caught')", "done", 0),
        ("try: sys.exit(3)\nexcept SystemExit: raise ValueError", "failed", 1),
        ("t = threading.Thread(target=sys.exit, args=(3,))\nt.start(); t.join()", "done", 0),
        (EXITS_IN_A_HANDLER, "failed", 5),
        ("with wal.init(project='p') as run:\n run.log({'loss': 1.0})\n raise SystemExit(3)", "failed", 3),
    ],
)
def test_how_a_process_ends_is_how_its_run_ends(tmp_path: Path, ending: str, state: str, code: int) -> None:
    script = f"import signal, sys, threading, wal\nwal.init(project='p')\nwal.log({{'loss': 1.0}})\n{ending}"
    finished = run_script(script, CANOPY_DIR=str(tmp_path))
    if ending.startswith("raise"):
        assert ending.removeprefix("raise ").partition("(")[0] in finished.stderr, (
            "its traceback is still shown"
        )
    if ending.startswith("sys.exit"):
        assert finished.returncode == code
    end = newest_meta(streams_in(tmp_path)[-1]).end
    assert end is not None
    assert (end.state, end.exit_code, end.last_seq) == (state, code, 1)


def test_an_exception_inside_with_fails_the_run_and_goes_on(tmp_path: Path) -> None:
    script = "import wal\nwith wal.init(project='p'):\n    raise RuntimeError('boom')"
    finished = run_script(script, CANOPY_DIR=str(tmp_path))
    assert "RuntimeError: boom" in finished.stderr
    end = newest_meta(streams_in(tmp_path)[0]).end
    assert end is not None
    assert (end.state, end.exit_code) == ("failed", 1)
