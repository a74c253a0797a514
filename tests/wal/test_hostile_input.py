"""What somebody else wrote is refused with a sentence: it crashes nothing, takes no more memory than it is
large, and is never run. The inputs are made in :mod:`helpers.fuzzing`.
"""

from __future__ import annotations

import ast
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from uuid import UUID

import pytest
from helpers.logs import write_run
from helpers.syncing import drain, target_of
from helpers.trainer import environment

from wal.cassandra.session import connect
from wal.cassandra.store import open_store
from wal.cassandra.trouble import StoreError
from wal.record import week_of
from wal.settings import Settings

ROOT = Path(__file__).parents[2]
PYTHONPATH = os.pathsep.join(map(str, (ROOT, ROOT / "tests")))
SEED = "1"
ENOUGH = 20_000


def python(tmp_path: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    env = environment(PYTHONPATH=PYTHONPATH, FUZZ_DIR=str(tmp_path))
    return subprocess.run(
        [sys.executable, *arguments], env=env, cwd=tmp_path, capture_output=True, text=True, timeout=300
    )


def test_hostile_bytes_files_and_rows_are_refused_or_read_in_bounded_memory(tmp_path: Path) -> None:
    done = python(tmp_path, "-m", "helpers.fuzzing", SEED)
    assert done.returncode == 0, done.stderr[-3000:]
    counts = [list(map(int, line.split()[1:])) for line in done.stdout.splitlines()]
    assert sum(inputs for inputs, _ in counts) >= ENOUGH
    for inputs, refused in counts:  # neither hopeless nor harmless
        assert inputs // 10 < refused < inputs


def test_the_harness_notices_a_crash_and_a_large_allocation(tmp_path: Path) -> None:
    crash = (
        "from helpers import fuzzing; import wal.paging.pages as pages\n"
        "pages._check_heads = lambda head, exponent: None\n"
        "fuzzing.run('pages', 1)"
    )
    done = python(tmp_path, "-c", crash)
    assert (done.returncode, "target pages, seed 1, input " in done.stderr) == (1, True)
    greedy = "from helpers import fuzzing; fuzzing.limit_memory(); bytearray(2 * fuzzing.ROOM_BYTES)"
    assert "MemoryError" in python(tmp_path, "-c", greedy).stderr


# -- rows that any client can write, on a real node -----------------------------------------------------


def test_rows_that_another_client_wrote(tmp_path: Path, keyspace5: Settings) -> None:
    """A run whose rows make no sense is in nobody's way."""
    write_run(tmp_path, ({"loss": float(n)} for n in range(20)))
    drain(tmp_path, keyspace5)
    target = target_of(keyspace5)
    assert target.endpoint is not None
    bad, stream = UUID("019a0000-0000-7000-8000-000000000001"), UUID(int=2, version=4)
    start_ms = bad.int >> 80
    session = connect(target.endpoint, keyspace5)
    try:
        for cql, values in (
            ("runs_by_week(week, start_time, run_id, project, name, status, revision, records, curves)",
             (week_of(start_ms), start_ms, bad, "\x1b[31m[/x]", "\0" * 99, "no state", -1, -(2**63),
              {"loss": b"short", "": b"\xff" * 400})),
            ("run_weeks(scope, week)", ("*", week_of(start_ms))),
            ("training_runs(run_id, start_time, project, config_json)", (bad, start_ms, "p", "[" * 50_000)),
            ("run_streams(run_id, stream, started_ns, acknowledged, paged_shift, paged_seq, coarse_seq)",
             (bad, stream, 1, [1, 2**62], -(2**31), 2**62, 2**62)),
            ("run_metrics(run_id, stream, metric, summary)", (bad, stream, "loss", b"\x01" + b"\xff" * 300)),
        ):  # fmt: skip
            marks = ", ".join("?" * len(values))
            session.write(f"INSERT INTO {keyspace5.keyspace}.{cql} VALUES ({marks})", values)
    finally:
        session.close()
    store = open_store(target.endpoint, keyspace5)
    try:
        rows = {row.run_id: row for row in store.runs()}
        assert len(rows) == 2
        (good,) = (row for run_id, row in rows.items() if run_id != bad)
        assert good.metrics["loss"].summary.n == 20
        assert list(rows[bad].metrics) == []
        with pytest.raises(StoreError, match="The summary of the metric 'loss' cannot be read"):
            store.run(bad)
        assert store.paged(bad, stream) is None
        assert store.records(bad, stream, 0, 10) == []
    finally:
        store.close()


# -- nothing that is read is run --------------------------------------------------------------------------

FORBIDDEN_MODULES = {"pickle", "cPickle", "dill", "cloudpickle", "marshal", "shelve", "joblib", "jsonpickle"}
FORBIDDEN_CALLS = {
    "eval", "exec", "compile", "__import__", "os.system", "os.popen", "yaml.load", "yaml.full_load",
    "yaml.unsafe_load", "np.load", "numpy.load",
}  # fmt: skip


def what_could_run_data(source: str) -> Iterator[str]:
    """Modules and calls in a program that turn data into code."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            yield from (a.name for a in node.names if a.name.split(".")[0] in FORBIDDEN_MODULES)
        elif isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] in FORBIDDEN_MODULES:
            yield str(node.module)
        elif isinstance(node, ast.Call):
            name = ast.unparse(node.func)
            if name in FORBIDDEN_CALLS:
                yield name
            for keyword in node.keywords:
                if keyword.arg == "shell" and ast.unparse(keyword.value) != "False":
                    yield f"{name}(shell=…)"


def test_nothing_turns_data_into_code() -> None:
    found = [
        f"{path.relative_to(ROOT)}: {what}"
        for package in ("wal", "canopy_tui")
        for path in (ROOT / package).rglob("*.py")
        for what in what_could_run_data(path.read_text(encoding="utf-8"))
    ]
    assert found == []


def test_what_turns_data_into_code_is_found() -> None:
    program = (
        "import os, pickle\nfrom marshal import loads\neval('1')\nos.system('x')\nrun('x', shell=True)\n"
        "import yaml; yaml.load(x); yaml.safe_load(x); re.compile(x)\n"
    )
    assert sorted(what_could_run_data(program)) == [
        "eval", "marshal", "os.system", "pickle", "run(shell=…)", "yaml.load"
    ]  # fmt: skip
