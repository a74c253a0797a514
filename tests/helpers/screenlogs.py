"""Logs for the screens' tests, written by the real journal with a clock that the test moves."""

from __future__ import annotations

import os
import random
import subprocess
import sys
from collections.abc import Generator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from unittest.mock import patch
from uuid import UUID

from wal.journal import Journal
from wal.record import Kind, key_order, packer, uuid7
from wal.segments.meta import Limits, RunInfo

SECOND_NS = 1_000_000_000
START_NS = 1_790_000_000 * SECOND_NS
"""2026-09-21, 14:13:20 UTC: where every test's clock begins."""

HOST = "node-1"
"""The machine of every log here, unless a test says otherwise; see :func:`on_host`."""

QUIET = Limits(tick_seconds=3600.0)
"""No background work while a screen is looked at."""


def run_id_at(started_ns: int, number: int) -> UUID:
    """A UUIDv7 of that start whose random part is ``number``: the same in every test run."""
    return UUID(int=(uuid7(started_ns).int >> 62 << 62) | number)


@contextmanager
def on_host(name: str = HOST) -> Generator[None]:
    """Look at logs from a machine of that name: who died is known on the machine itself only."""
    with patch("wal.segments.liveness.host_name", lambda: name):
        yield


class LogWriter:
    """Writes runs into a log directory. ``now_ns`` is the clock of the writer and of who looks."""

    def __init__(self, log_dir: Path, now_ns: int = START_NS, first_number: int = 1) -> None:
        self.log_dir = log_dir
        self.now_ns = now_ns
        self.journals: dict[str, Journal] = {}
        self._number = first_number - 1

    def next_number(self) -> int:
        """A number that no other run of this log has."""
        self._number += 1
        return self._number

    def clock_ns(self) -> int:
        return self.now_ns

    def start(
        self,
        name: str,
        *,
        project: str = "digits",
        ago_s: float = 3600.0,
        host: str | None = HOST,
        config: Mapping[str, object] | None = None,
        tags: Sequence[str] = (),
        notes: str = "",
        group: str = "",
    ) -> UUID:
        """Start a run so many seconds before now; it runs until it is ended. ``host`` None: this machine."""
        now_ns, self.now_ns = self.now_ns, self.now_ns - int(ago_s * SECOND_NS)
        run = RunInfo(
            run_id_at(self.now_ns, self.next_number()), project, name, config=dict(config or {}),
            tags=tuple(tags), notes=notes, group=group,
        )  # fmt: skip
        self.journals[name] = Journal(self.log_dir, run, clock_ns=self.clock_ns, host=host, limits=QUIET)
        self.now_ns = now_ns
        return run.run_id

    def resume(self, name: str) -> None:
        """End a run's stream as failed and go on with another after it."""
        before = self.journals[name]
        self.end(name, "failed", 1)
        self.journals[name] = Journal(
            self.log_dir, before.run, after=before.stream_id, clock_ns=self.clock_ns, host=HOST, limits=QUIET
        )

    def log(
        self, name: str, values: Mapping[str, float], step: int | None = None, ts_ns: int | None = None
    ) -> None:
        """One record of a run that was started."""
        names = key_order(values)
        body = packer(len(names)).pack(*(values[one] for one in names))
        seq = self.journals[name].append(Kind.LOG, step, self.now_ns if ts_ns is None else ts_ns, names, body)
        assert seq is not None

    def log_curves(
        self, name: str, curves: Mapping[str, Sequence[float]], *, every: int = 10, lasting_s: float
    ) -> None:
        """One record for each place of the curves, spread over the time since the run started."""
        start_ns = self.journals[name].stream.started_ns
        count = len(next(iter(curves.values())))
        for place in range(count):
            ts_ns = start_ns + int(lasting_s * SECOND_NS * (place + 1) / count)
            self.log(name, {one: values[place] for one, values in curves.items()}, place * every, ts_ns)

    def end(self, name: str, state: str = "done", exit_code: int = 0, *, ago_s: float = 0.0) -> None:
        """End a run so many seconds before now."""
        now_ns, self.now_ns = self.now_ns, self.now_ns - int(ago_s * SECOND_NS)
        self.journals.pop(name).close(state, exit_code)
        self.now_ns = now_ns

    def close(self) -> None:
        """End what still runs."""
        for name in list(self.journals):
            self.end(name)


def falling(
    count: int, seed: int = 0, start: float = 2.3, floor: float = 0.2, noise: float = 0.02
) -> list[float]:
    """A loss that falls, with noise; the same for the same seed."""
    rng = random.Random(seed)
    return [
        floor + (start - floor) * 0.5 ** (place / (count / 6)) + rng.gauss(0, noise) ** 2
        for place in range(count)
    ]


def rising(count: int, seed: int = 0, ceiling: float = 0.97) -> list[float]:
    """An accuracy that rises."""
    rng = random.Random(seed)
    return [
        ceiling - (ceiling - 0.1) * 0.5 ** (place / (count / 6)) - rng.gauss(0, 0.01) ** 2
        for place in range(count)
    ]


_CRASH = """
import os, sys, time
from pathlib import Path
from helpers.screenlogs import LogWriter, falling
log_dir, now_ns, number, name, project, host, ago_s, lasting_s, count = sys.argv[1:]
writer = LogWriter(Path(log_dir), int(now_ns), int(number))
writer.start(name, project=project, ago_s=float(ago_s), host=host)
writer.log_curves(name, {"val/loss": falling(int(count), seed=5)}, lasting_s=float(lasting_s))
# The next segment is made in the background: a process that dies meanwhile leaves either this or that.
ahead = writer.journals[name].directory / "000002.db-wal"
while not (ahead.exists() and ahead.stat().st_size):
    time.sleep(0.002)
os._exit(9)
"""


def crash(
    writer: LogWriter,
    name: str,
    *,
    project: str = "digits",
    host: str = HOST,
    ago_s: float,
    lasting_s: float,
    count: int = 60,
) -> None:
    """A run whose process dies in the middle of it: a real process, which never says that it ends.

    On another ``host`` nobody here can know that it died: the run is stale. Its files are given the time of
    its last record, as if it had happened then.
    """
    number = writer.next_number()
    arguments = (
        writer.log_dir.absolute(),
        writer.now_ns,
        number,
        name,
        project,
        host,
        ago_s,
        lasting_s,
        count,
    )
    root = Path(__file__).parents[2]
    before = set(writer.log_dir.glob("*/*"))
    subprocess.run(
        [sys.executable, "-c", _CRASH, *map(str, arguments)],
        check=False, cwd=root, env={"PYTHONPATH": f"{root}:{root / 'tests'}", "PATH": "/usr/bin:/bin"},
    )  # fmt: skip
    died_ns = writer.now_ns - int((ago_s - lasting_s) * SECOND_NS)
    for stream in set(writer.log_dir.glob("*/*")) - before:
        for path in (*stream.iterdir(), stream):
            os.utime(path, ns=(died_ns, died_ns))
