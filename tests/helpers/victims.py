"""Processes that kill themselves, each forked from one that has its imports: to start Python anew for each
would be most of their time.

The process that forks runs :func:`fork_for_orders`, the test's own side is :class:`Victims`.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

ENDS_WITHIN_S = 60
"""A victim that was not killed by then never came to its step: SIGALRM ends it."""


def fork_for_orders(live: Callable[..., int | None]) -> None:
    """Fork a process that calls ``live`` with the arguments of each order, until there are no more; what it
    returns is the exit code."""
    for line in sys.stdin:
        said, *arguments = json.loads(line)
        child = os.fork()
        if child == 0:
            signal.alarm(ENDS_WITHIN_S)
            output = os.open(said, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
            os.dup2(output, 1)
            os.dup2(output, 2)
            code = live(*arguments)
            sys.stdout.flush()
            os._exit(code or 0)
        _, status = os.waitpid(child, 0)
        print(os.waitstatus_to_exitcode(status), flush=True)


class Victims:
    """Them, one after the other. ``program``: what Python is to run. End it with :meth:`close`."""

    def __init__(self, program: Sequence[str], env: Mapping[str, str]) -> None:
        self._process = subprocess.Popen(
            [sys.executable, *program], env=env, text=True, stdin=subprocess.PIPE, stdout=subprocess.PIPE
        )

    def run(self, said: Path, *arguments: str | int) -> tuple[int, str]:
        """Exit code and output of one; its output goes to the file ``said`` meanwhile."""
        self.start(said, *arguments)
        return self.ended(), said.read_text()

    def start(self, said: Path, *arguments: str | int) -> None:
        """The next one; :meth:`ended` waits for it."""
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps([str(said), *arguments]) + "\n")
        self._process.stdin.flush()

    def ended(self) -> int:
        """Its exit code, negative for a signal."""
        assert self._process.stdout is not None
        return int(self._process.stdout.readline())

    def steps(self, said: Path, *arguments: str | int) -> int | None:
        """The number that one printed, or None when it was killed."""
        code, output = self.run(said, *arguments)
        if code == -signal.SIGKILL:
            return None
        assert code == 0, output
        return int(output)

    def close(self) -> None:
        self._process.communicate()
