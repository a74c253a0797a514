"""What Canopy writes is its owner's alone, whatever the user's umask: files 0600, directories 0700."""

from __future__ import annotations

import os
import re
import stat
import subprocess
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from helpers.nodes import running_node
from helpers.trainer import environment

from wal.paths import make_private_directory

TRAINING = """
import os, sys, wal
os.umask(int(sys.argv[1], 8))
run = wal.init(project="spirals", config={"api_key": "hunter2"})
for step in range(9_000):  # beyond a segment
    run.log({"loss": 1.0 / (step + 1)})
run.log_topology({"hidden_units": 3})
run.finish()
"""
COMMAND = """
import os, sys
os.umask(int(sys.argv.pop(1), 8))
from canopy_tui.__main__ import main
main()
"""
UMASKS = ("000", "022", "077")


def open_to_others(root: Path) -> Iterator[str]:
    """What below ``root``, itself included, others may read, write or enter; sockets and links aside."""
    for path in (root, *root.rglob("*")):
        try:
            mode = path.lstat().st_mode
        except FileNotFoundError:  # a node compacts while it is looked at
            continue
        # What the owner may do is not asked: a node unpacks libraries, which it executes.
        if (stat.S_ISDIR(mode) or stat.S_ISREG(mode)) and stat.S_IMODE(mode) & 0o077:
            yield f"{oct(stat.S_IMODE(mode))} {path.relative_to(root)}"


@pytest.mark.parametrize("umask", UMASKS)
def test_a_training_and_the_commands_write_private_files(tmp_path: Path, umask: str) -> None:
    home = tmp_path / "home" / "state"
    env = environment(
        CANOPY_DIR=str(home / "canopy" / "log"), XDG_STATE_HOME=str(home), CANOPY_NODE="none", CANOPY_SYNC="0"
    )
    for code, *arguments in (
        (TRAINING, umask),
        (COMMAND, umask, "sync", "--once"),  # builds the pages, and finds no Cassandra
        (COMMAND, umask, "ls"),
    ):
        done = subprocess.run(
            [sys.executable, "-c", code, *arguments], env=env, cwd=tmp_path, capture_output=True, text=True
        )
        assert "Traceback" not in done.stderr, done.stderr
    names = {path.name for path in home.rglob("*") if path.is_file()}
    assert {"000001.db", "000002.db", "lock", "pages.db", "state.db", "syncer.log", "index.db"} <= names
    assert list(open_to_others(tmp_path / "home")) == []


def listening(pid: int) -> set[str]:
    """Addresses that a process accepts TCP connections at, as ``/proc`` writes them: hexadecimal, no port."""
    inodes: set[str] = set()
    for link in Path(f"/proc/{pid}/fd").iterdir():
        try:
            inodes.update(re.findall(r"socket:\[(\d+)\]", os.readlink(link)))
        except FileNotFoundError:  # closed meanwhile
            continue
    rows = [
        line.split()
        for name in ("tcp", "tcp6")
        for line in Path(f"/proc/{pid}/net/{name}").read_text().splitlines()[1:]
    ]
    return {row[1].partition(":")[0] for row in rows if row[3] == LISTENS and row[9] in inodes}


LISTENS = "0A"
LOOPBACK = "0100007F"
"""127.0.0.1, in the byte order of the machines that this runs on."""


def test_many_threads_make_the_same_directories(tmp_path: Path) -> None:
    """As those that download jars do: another may make the parent between two looks at it."""
    threads, depth = 8, 12
    with ThreadPoolExecutor(threads) as pool:
        for turn in range(50):
            deep = tmp_path.joinpath(str(turn), *"d" * depth)
            together = threading.Barrier(threads)

            def make(deep: Path = deep, together: threading.Barrier = together) -> None:
                together.wait()
                make_private_directory(deep)

            for made in [pool.submit(make) for _ in range(threads)]:
                made.result()
            assert deep.is_dir()
    if sys.platform == "linux":
        with pytest.raises(FileNotFoundError):
            make_private_directory(Path("/proc/no/such"))


@pytest.mark.cassandra
def test_a_nodes_files_are_private_and_it_listens_on_loopback_alone(tmp_path: Path) -> None:
    before = os.umask(0o000)
    try:
        with running_node(tmp_path / "node") as node:
            found = list(open_to_others(tmp_path / "node"))
            heard_at = listening(node.pid) if sys.platform == "linux" else {LOOPBACK}
    finally:
        os.umask(before)
    assert found == []
    assert heard_at == {LOOPBACK}
