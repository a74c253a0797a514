"""A real trainer for the trials: logs the records of a seed and notes each acknowledged seq.

``python -m faults.trainer JSON`` with the fields of :class:`Order`.
"""

from __future__ import annotations

import json
import mmap
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING
from uuid import UUID

from helpers.trainer import ACK, environment, fatal_connect

from faults.records import record
from faults.truth import Truth

if TYPE_CHECKING:
    from wal.run import Run

_IDS = 32
"""Bytes of run and stream id ahead of the acknowledged seq in the file."""

END_SECONDS = 60.0

PROJECT = "faults"
"""Of every run of the trials."""


@dataclass(frozen=True)
class Order:
    """What a trainer shall do. ``pace_s`` is slept after every record, ``clock_shift_ns`` added to its clock;
    it ends when ``enough`` is there or after ``records``, and kills itself at the ``nth`` statement that
    begins with ``fatal``."""

    log_dir: str
    acks: str
    enough: str
    seed: int
    run: str = "trial"
    rank: int = 0
    records: int = 1_000_000
    records_per_segment: int = 8_000
    pace_s: float = 0.001
    clock_shift_ns: int = 0
    fatal: str = ""
    nth: int = 0


class SeededTrainer:
    """The parent's side of one process, which is one stream."""

    def __init__(self, order: Order) -> None:
        self.order = order
        self._acks = Path(order.acks)
        self._acks.parent.mkdir(parents=True, exist_ok=True)
        self._acks.write_bytes(bytes(_IDS) + ACK.pack(0))
        self.process = subprocess.Popen(
            [sys.executable, "-m", "faults.trainer", json.dumps(asdict(order))],
            env=environment(RANK=str(order.rank)), stderr=subprocess.PIPE,
        )  # fmt: skip

    @property
    def acked(self) -> int:
        """The newest seq that a log() call had returned, 0 before the first."""
        return int(ACK.unpack_from(self._acks.read_bytes(), _IDS)[0])

    @property
    def ids(self) -> tuple[UUID, UUID]:
        """Run and stream; both zero until the process has begun."""
        data = self._acks.read_bytes()
        return UUID(bytes=data[:16]), UUID(bytes=data[16:_IDS])

    @property
    def truth(self) -> Truth:
        """What an oracle has to know of the stream, once the process is gone."""
        run_id, stream_id = self.ids
        directory = Path(self.order.log_dir) / str(run_id) / str(stream_id)
        return Truth(run_id, stream_id, self.order.seed, self.acked, directory)

    @property
    def alive(self) -> bool:
        return self.process.poll() is None

    def kill(self) -> None:
        """kill -9, whatever it does; one that ended stays as it ended."""
        self.process.kill()
        self.process.wait()
        assert self.process.stderr is not None
        self.process.stderr.close()

    def finish(self) -> None:
        """Have it end in order, and wait for that; what it said on stderr is the failure's text."""
        Path(self.order.enough).touch()
        self.wait_for(0)

    def wait_for(self, status: int) -> None:
        """Wait for its end, which must have that exit status."""
        try:
            _, errors = self.process.communicate(timeout=END_SECONDS)
        except subprocess.TimeoutExpired:
            self.kill()
            raise
        assert self.process.returncode == status, errors.decode()

    def send(self, number: signal.Signals) -> None:
        self.process.send_signal(number)


def log_seeded(run: Run, seed: int, count: int, noted: Callable[[int], object] = lambda seq: None) -> None:
    """Log the next ``count`` records of the seed's stream; ``noted`` is told of each acknowledged seq."""
    assert run._journal is not None
    first = run._journal.last_seq + 1
    for seq in range(first, first + count):
        step, ts, data = record(seed, seq)
        assert run.log(data, step=step, ts=ts) == seq
        noted(seq)


def main(order: Order) -> None:
    from wal.record import run_uuid, uuid7
    from wal.segments.meta import Limits
    from wal.training.current import start_run
    from wal.training.starting import Wishes

    with open(order.acks, "r+b") as file, mmap.mmap(file.fileno(), _IDS + ACK.size) as memory:
        memory[:16] = run_uuid(PROJECT, order.run).bytes

        def noted(now_ns: int) -> UUID:
            """Told before there is a stream: what prepares its next segment may be the first to be killed."""
            stream_id = uuid7(now_ns)
            memory[16:_IDS] = stream_id.bytes
            return stream_id

        run = start_run(
            Path(order.log_dir), Wishes(project=PROJECT, user_id=order.run, resume="allow"),
            connect=fatal_connect(order.fatal, order.nth),
            clock_ns=lambda: time.time_ns() + order.clock_shift_ns,
            new_id=noted,
            limits=Limits(records=order.records_per_segment, tick_seconds=0.05),
        )  # fmt: skip
        assert memory[:_IDS] == run.run_id.bytes + (run.stream_id or run.run_id).bytes
        with memoryview(memory) as view, view[_IDS:].cast("q") as acks:

            def note(seq: int) -> None:
                acks[0] = seq  # in one store: pack_into() writes a zero first, and a kill may leave it
                time.sleep(order.pace_s)

            for _ in range(order.records):
                if os.path.exists(order.enough):
                    break
                log_seeded(run, order.seed, 1, note)
    run.finish()


if __name__ == "__main__":
    main(Order(**json.loads(sys.argv[1])))
