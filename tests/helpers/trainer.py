"""A trainer in a process of its own, to be killed: logs as fast as it can and notes each acknowledged seq.

``python trainer.py LOG_DIR ACK_FILE RECORDS_PER_SEGMENT [SQL NTH]`` kills itself at the NTH statement that
begins with SQL.
"""

from __future__ import annotations

import mmap
import os
import random
import signal
import sqlite3
import struct
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

from helpers.waiting import wait_until

ACK = struct.Struct("<q")
ROOT = Path(__file__).resolve().parents[2]


def environment(**more: str) -> dict[str, str]:
    """An environment for a process that imports this checkout and starts no syncer."""
    kept = {key: value for key, value in os.environ.items() if not key.startswith(("CANOPY_", "PYTHONPATH"))}
    paths = os.pathsep.join((str(ROOT), str(ROOT / "tests")))
    return kept | {"PYTHONPATH": paths, "CANOPY_SYNC": "0", "CANOPY_SILENT": "1"} | more


def run_script(script: str, *arguments: str, **more: str) -> subprocess.CompletedProcess[str]:
    """A Python script in a process of its own, to its end."""
    return subprocess.run(
        [sys.executable, "-c", script, *arguments], env=environment(**more), capture_output=True, text=True,
        timeout=120,
    )  # fmt: skip


class Trainer:
    """The parent's side."""

    def __init__(self, scratch: Path, records_per_segment: int, *fatal: str) -> None:
        scratch.mkdir(parents=True, exist_ok=True)
        self.log_dir = scratch / "log"
        self._acks = scratch / "acks"
        self._acks.write_bytes(ACK.pack(0))
        self.process = subprocess.Popen(
            [sys.executable, __file__, str(self.log_dir), str(self._acks), str(records_per_segment), *fatal],
            env=environment(), stderr=subprocess.PIPE,
        )  # fmt: skip

    @property
    def acked(self) -> int:
        """The newest seq that a log() call had returned."""
        return ACK.unpack(self._acks.read_bytes())[0]

    def kill_after(self, seed: int, most_seconds: float) -> None:
        """Kill it at a random instant after its first record."""
        wait_until(lambda: self.acked > 0 or self.process.poll() is not None)
        time.sleep(random.Random(seed).uniform(0, most_seconds))
        self.process.kill()

    def wait(self) -> int:
        """Its exit code; what it wrote on stderr is the failure's text."""
        try:
            _, errors = self.process.communicate(timeout=60)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.communicate()
            raise
        assert self.process.returncode == -signal.SIGKILL, errors.decode()
        return self.process.returncode


def fatal_connect(statement: str, nth: int) -> Callable[..., sqlite3.Connection]:
    """``sqlite3.connect`` for a process that kills itself at the ``nth`` statement that begins so; a plain
    one where ``statement`` is empty."""
    remaining = nth

    def trace(text: str) -> None:
        nonlocal remaining
        if text.strip().startswith(statement):
            remaining -= 1
            if remaining == 0:
                os.kill(os.getpid(), signal.SIGKILL)

    def connect(path: str, **how: object) -> sqlite3.Connection:
        connection = sqlite3.connect(path, **how)  # type: ignore[arg-type]
        connection.set_trace_callback(trace if statement else None)
        return connection

    return connect


def main() -> None:
    from wal.segments.meta import Limits
    from wal.training.current import start_run
    from wal.training.starting import Wishes

    log_dir, ack_file, records = sys.argv[1:4]
    fatal, nth = (sys.argv[4], int(sys.argv[5])) if len(sys.argv) > 4 else ("", 0)
    run = start_run(
        Path(log_dir), Wishes(project="kill", name="kill"), connect=fatal_connect(fatal, nth),
        limits=Limits(records=int(records), tick_seconds=0.02),
    )  # fmt: skip
    with (
        open(ack_file, "r+b") as file,
        mmap.mmap(file.fileno(), ACK.size) as memory,
        memoryview(memory).cast("q") as acks,
    ):
        for step in range(1_000_000):
            seq = run.log({"loss": 1.0 / (step + 1), "step": step, "nan": float("nan")})
            assert seq is not None
            acks[0] = seq  # in one store: pack_into() writes a zero first, and a kill may leave it


if __name__ == "__main__":
    main()
