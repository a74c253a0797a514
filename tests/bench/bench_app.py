"""The app as a process in a terminal of its own: from the command to the first frame with rows, and to quit.

Measured with no Cassandra at all and with one that is blackholed (a listener whose queue is full drops the
packets of every further connection), in turn.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import pty
import select
import signal
import socket
import struct
import subprocess
import sys
import tempfile
import termios
import time
from collections.abc import Iterator
from pathlib import Path
from statistics import median

from helpers.logs import START_NS, make_run, write_run

RUNS = 100
REPETITIONS = 5
DEADLINE_S = 20.0
FIRST_FRAME_BAR_S = 1.0
QUIT_BAR_S = 0.5


def run() -> list[dict[str, object]]:
    with tempfile.TemporaryDirectory(prefix="canopy-bench-") as scratch, blackhole() as port:
        log_dir = Path(scratch) / "log"
        for number in range(RUNS):
            at_ns = START_NS + number * 1_000_000_000
            losses = [{"loss": 1 / (step + 1), "lr": 0.1} for step in range(50)]
            run_info = make_run(name=f"train-{number:03}", at_ns=at_ns)
            write_run(log_dir, losses, run_info, clock_ns=lambda at_ns=at_ns: at_ns)
        plain = environment(Path(scratch), log_dir)
        hung = plain | {
            "CASCOR_CASSANDRA_CONTACT_POINTS": "127.0.0.1",
            "CASCOR_CASSANDRA_PORT": str(port),
        }
        first_look(plain)  # writes the catalogue, as any earlier look would have
        figures: dict[str, list[tuple[float, float]]] = {"no Cassandra": [], "Cassandra blackholed": []}
        for _ in range(REPETITIONS):
            figures["no Cassandra"].append(first_look(plain))
            figures["Cassandra blackholed"].append(first_look(hung))
    rows: list[dict[str, object]] = []
    for setting, pairs in figures.items():
        frames, quits = ([round(pair[i], 3) for pair in pairs] for i in (0, 1))
        for name, seconds, bar in (
            ("first frame with rows", frames, FIRST_FRAME_BAR_S),
            ("from q to the end of the process", quits, QUIT_BAR_S),
        ):
            rows.append(
                {"name": f"app, {setting}: {name}", "value": median(seconds), "unit": "s",
                 "bar": f"≤ {bar} s", "ok": median(seconds) <= bar, "detail": f"all: {sorted(seconds)}"}
            )  # fmt: skip
    return rows


def environment(scratch: Path, log_dir: Path) -> dict[str, str]:
    """A user's environment with everything of Canopy's in a scratch directory, and no syncer of its own."""
    kept = {name: os.environ[name] for name in ("PATH", "HOME", "LANG", "LC_ALL") if name in os.environ}
    return kept | {
        "TERM": "xterm-256color", "LC_ALL": "C.UTF-8", "CANOPY_DIR": str(log_dir), "CANOPY_SYNC": "0",
        "XDG_STATE_HOME": str(scratch / "state"), "XDG_CONFIG_HOME": str(scratch / "config"),
    }  # fmt: skip


@contextlib.contextmanager
def blackhole() -> Iterator[int]:
    """A port of this machine on which a connection is neither accepted nor refused."""
    listener = socket.socket()
    listener.bind(("127.0.0.1", 0))
    listener.listen(0)
    fillers = [socket.socket() for _ in range(8)]
    for filler in fillers:
        filler.setblocking(False)
        with contextlib.suppress(BlockingIOError):
            filler.connect(listener.getsockname())
    try:
        yield listener.getsockname()[1]
    finally:
        for end in (*fillers, listener):
            end.close()


def first_look(environ: dict[str, str]) -> tuple[float, float]:
    """Seconds from starting ``canopy`` to a frame that shows the newest run, and from ``q`` to its end."""
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 30, 100, 0, 0))
    started = time.monotonic()
    app = subprocess.Popen(
        [sys.executable, "-m", "canopy_tui"],
        stdin=theirs, stdout=theirs, stderr=theirs, env=environ, start_new_session=True,
        cwd=Path(__file__).parent.parent.parent,
    )  # fmt: skip
    os.close(theirs)
    try:
        read_until(ours, f"train-{RUNS - 1:03}".encode(), started)
        first_frame = time.monotonic() - started
        os.write(ours, b"q")
        asked = time.monotonic()
        while app.poll() is None:
            if select.select([ours], [], [], 0.005)[0]:
                with contextlib.suppress(OSError):  # Linux says EIO when the last writer is gone
                    os.read(ours, 65536)
            if time.monotonic() - asked > DEADLINE_S:
                raise RuntimeError("the app does not quit")
        return first_frame, time.monotonic() - asked
    finally:
        if app.poll() is None:
            os.killpg(app.pid, signal.SIGKILL)
            app.wait()
        os.close(ours)


def read_until(descriptor: int, text: bytes, started: float) -> None:
    seen = b""
    while text not in seen:
        if time.monotonic() - started > DEADLINE_S:
            raise RuntimeError(
                f"no frame with {text!r} after {DEADLINE_S:.0f} s; the screen got {seen[-2000:]!r}"
            )
        if select.select([descriptor], [], [], 0.05)[0]:
            try:
                seen += os.read(descriptor, 65536)
            except OSError:  # Linux says EIO when the last writer is gone
                raise RuntimeError(f"the app ended early; the screen got {seen[-2000:].decode()}") from None
