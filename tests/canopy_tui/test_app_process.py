"""The app as a process on a real terminal: it starts and ends at once, whatever hangs behind it."""

from __future__ import annotations

import fcntl
import os
import pty
import re
import select
import signal
import struct
import subprocess
import sys
import termios
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from helpers.hung import hung_server
from helpers.screenlogs import LogWriter, falling

ROOT = Path(__file__).parents[2]
DEADLINE_S = 60.0
"""Far longer than any of it takes; only a failure waits for it."""

_ESCAPES = re.compile(rb"\x1b(?:\[[0-?]*[ -/]*[@-~]|[PX^_\]].*?(?:\x1b\\|\x07)|[()][A-Z0-9]|.)", re.DOTALL)


class Terminal:
    """A program on a pseudo-terminal of 80 × 24."""

    def __init__(self, *arguments: str, env: dict[str, str]) -> None:
        self._master, slave = pty.openpty()
        fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 80, 0, 0))
        self.process = subprocess.Popen(
            arguments, stdin=slave, stdout=slave, stderr=slave, env=env, cwd="/", start_new_session=True
        )
        os.close(slave)
        self._seen = b""

    def wait_for(self, *words: str) -> None:
        """Read until all the words have been drawn."""
        deadline = time.monotonic() + DEADLINE_S
        while not all(word.encode() in self.text for word in words):
            assert time.monotonic() < deadline, self.text.decode(errors="replace")[-2000:]
            self._read()

    @property
    def text(self) -> bytes:
        return _ESCAPES.sub(b"", self._seen)

    def press(self, keys: str) -> None:
        os.write(self._master, keys.encode())

    def wait(self) -> int:
        """The exit code, once it has ended."""
        deadline = time.monotonic() + DEADLINE_S
        while self.process.poll() is None:
            assert time.monotonic() < deadline, "it does not end"
            self._read()
        return self.process.returncode

    def _read(self) -> None:
        if select.select([self._master], [], [], 0.02)[0]:
            try:
                self._seen += os.read(self._master, 65536)
            except OSError:  # the other end is closed
                time.sleep(0.01)

    def close(self) -> None:
        if self.process.poll() is None:
            os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait()
        os.close(self._master)


@pytest.fixture
def log_dir(tmp_path: Path) -> Path:
    writer = LogWriter(tmp_path / "log")
    writer.start("first-run", ago_s=600, host=None)
    writer.log_curves("first-run", {"val/loss": falling(20)}, lasting_s=300)
    writer.close()
    return writer.log_dir


@contextmanager
def canopy(log_dir: Path, **env: str) -> Iterator[Terminal]:
    variables = {
        **os.environ, "PYTHONPATH": str(ROOT), "CANOPY_DIR": str(log_dir), "CANOPY_SYNC": "0",
        "TERM": "xterm-256color", "LC_ALL": "C.UTF-8", **env,
    }  # fmt: skip
    terminal = Terminal(sys.executable, "-m", "canopy_tui", env=variables)
    try:
        yield terminal
    finally:
        terminal.close()


def test_starts_and_quits_while_cassandra_hangs(log_dir: Path) -> None:
    """The rows are on the screen, and the prompt is back, before the node has said a word: it never does."""
    with (
        hung_server() as (port, asked),
        canopy(
            log_dir, CASCOR_CASSANDRA_CONTACT_POINTS="127.0.0.1", CASCOR_CASSANDRA_PORT=str(port)
        ) as terminal,
    ):
        terminal.wait_for("first-run", "val/loss")
        assert asked.wait(DEADLINE_S)
        terminal.press("q")
        assert terminal.wait() == 0


@pytest.mark.parametrize("key", ["q", "\x11", "\x03"], ids=["q", "ctrl+q", "ctrl+c"])
def test_quits(log_dir: Path, key: str) -> None:
    with canopy(log_dir, CANOPY_NODE="none") as terminal:
        terminal.wait_for("first-run", "local only")
        terminal.press(key)
        assert terminal.wait() == 0


def test_quits_from_the_help(log_dir: Path) -> None:
    with canopy(log_dir, CANOPY_NODE="none") as terminal:
        terminal.wait_for("first-run", "local only")
        terminal.press("?")
        terminal.wait_for("Open the command palette")
        terminal.press("q")
        assert terminal.wait() == 0


def test_leaves_the_terminal_as_it_was(log_dir: Path) -> None:
    with canopy(log_dir, CANOPY_NODE="none") as terminal:
        terminal.wait_for("first-run")
        terminal.press("q")
        terminal.wait()
        assert b"\x1b[?1049l" in terminal._seen  # the screen of before is back
        assert b"Traceback" not in terminal.text


def test_draws_ascii_where_only_ascii_arrives(log_dir: Path) -> None:
    with canopy(log_dir, CANOPY_NODE="none", LC_ALL="C") as terminal:
        terminal.wait_for("first-run", "local only")
        terminal.press("q")
        terminal.wait()
        assert terminal.text.isascii()
