"""A program in a pseudo-terminal, and what a user would see there."""

from __future__ import annotations

import fcntl
import os
import pty
import select
import signal
import struct
import subprocess
import sys
import termios
import time
from collections.abc import Callable, Mapping
from pathlib import Path

import pyte

from helpers.waiting import DEADLINE_S

READ_SECONDS = 0.02
"""A look at the screen waits so long for something new: a frame is seen within that time."""

# Makes the terminal the session's own, as a login does, so that closing it hangs up; then is the program.
_OWN_TERMINAL = """
import fcntl, os, sys, termios
fcntl.ioctl(0, termios.TIOCSCTTY, 0)
os.execv(sys.argv[1], sys.argv[1:])
"""
_LEFT_SCREEN = b"\x1b[?1049l"


class Terminal:
    """Starts ``command`` (its first word is a path) on a terminal of its own; :meth:`close` ends it."""

    def __init__(
        self,
        *command: str,
        env: Mapping[str, str],
        columns: int = 120,
        rows: int = 40,
        cwd: Path | None = None,
    ) -> None:
        self._master, slave = pty.openpty()
        fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))
        self._screen = pyte.Screen(columns, rows)
        self._parser = pyte.ByteStream(self._screen)
        self._seen = b""
        self._started = time.monotonic()
        self.process = subprocess.Popen(
            [sys.executable, "-S", "-c", _OWN_TERMINAL, *command],
            stdin=slave, stdout=slave, stderr=slave, env=dict(env), cwd=cwd, start_new_session=True,
        )  # fmt: skip
        os.close(slave)

    @property
    def seconds(self) -> float:
        """Time since the program was started."""
        return time.monotonic() - self._started

    @property
    def lines(self) -> list[str]:
        """The screen, a line each, without trailing blanks."""
        return [line.rstrip() for line in self._screen.display]

    @property
    def printed(self) -> list[str]:
        """What was printed after the program had left its own screen, a line each."""
        rest = self._seen.rpartition(_LEFT_SCREEN)[2]
        plain = pyte.Screen(self._screen.columns, self._screen.lines)
        pyte.ByteStream(plain).feed(rest)
        return [line.rstrip() for line in plain.display if line.strip()]

    def press(self, keys: str) -> None:
        os.write(self._master, keys.encode())

    def look(self) -> bool:
        """Take in what came meanwhile; False when one of the two ends is closed."""
        if self._master < 0:
            return False
        if select.select([self._master], [], [], READ_SECONDS)[0]:
            try:
                data = os.read(self._master, 65536)
            except OSError:  # Linux says EIO when the last writer is gone
                return False
            if not data:
                return False
            self._seen += data
            self._parser.feed(data)
        return True

    def until(
        self, condition: Callable[[list[str]], object], what: str, deadline_s: float = DEADLINE_S
    ) -> float:
        """Look until ``condition`` holds for the screen's lines; returns the seconds since the start."""
        deadline = time.monotonic() + deadline_s
        while not condition(self.lines):
            shown = "\n".join(self.lines)
            assert time.monotonic() < deadline, f"not within {deadline_s} s: {what}\n{shown}"
            assert self.look() or self.process.poll() is None, f"it ended before: {what}\n{shown}"
        return self.seconds

    def until_shown(self, text: str) -> float:
        return self.until(lambda lines: any(text in line for line in lines), f"{text!r} on the screen")

    def wait(self) -> int:
        """The exit code, once it has ended. Its screen is read meanwhile, or its last words block it."""
        deadline = time.monotonic() + DEADLINE_S
        while self.process.poll() is None:
            assert time.monotonic() < deadline, "it does not end:\n" + "\n".join(self.lines)
            if not self.look():
                time.sleep(READ_SECONDS)
        while self._master >= 0 and select.select([self._master], [], [], 0)[0] and self.look():
            pass
        return self.process.returncode

    def hang_up(self) -> None:
        """Close the terminal, as a user does who closes the window."""
        os.close(self._master)
        self._master = -1

    def close(self) -> None:
        if self.process.poll() is None:
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()
        if self._master >= 0:
            self.hang_up()
