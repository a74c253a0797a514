"""The trainer processes of the demo: started, killed, resumed and stopped as its plan says."""

from __future__ import annotations

import subprocess
import sys
import threading
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from canopy_tui.demo.plan import Fate, Training
from wal.paths import make_private_directory, open_private

STOP_SECONDS = 5.0
"""A trainer that was asked to stop gets this long to finish its run before it is killed."""

KILLED_SECONDS = 4.0
"""The run that is to be killed is paced, so that it cannot end before the kill on any machine."""

POLL_SECONDS = 0.02

EXIT_KILLED = -9
EXIT_FAILED = 1


class DemoError(Exception):
    """The demo cannot go on. The message is one sentence that says what happened and what to do."""


@dataclass(frozen=True, slots=True)
class _Process:
    training: Training
    popen: subprocess.Popen[str]
    output: Path


class Crew:
    """Starts trainers and answers for all of them: after :meth:`stop` none is left.

    What they print goes to files in ``directory``; ``session`` tells them and the run ids from an earlier
    demo's.
    Methods may be called from any thread.
    """

    def __init__(self, directory: Path, environment: Mapping[str, str], session: str) -> None:
        self._directory = directory
        self._environment = dict(environment)
        self._session = session
        self._processes: list[_Process] = []
        self._lock = threading.Lock()
        self._stopped = False
        make_private_directory(directory)

    def watchable(self, trainings: Sequence[Training]) -> None:
        """Start all of these at once, each paced to last its ``seconds``; does not wait for them."""
        for training in trainings:
            self._start(training, "--pace", str(training.seconds))

    def run(self, trainings: Sequence[Training], at_once: int) -> None:
        """Run all of these at full speed, ``at_once`` at a time; returns when the last has ended.

        Raises :class:`DemoError` when one ends otherwise than planned.
        """
        with ThreadPoolExecutor(at_once, thread_name_prefix="demo-trainer") as pool:
            try:
                for ended in [pool.submit(self._run_one, training) for training in trainings]:
                    ended.result()
            except BaseException:
                self.stop()  # or leaving the pool would wait for the rest
                raise

    def stop(self) -> None:
        """Stop every trainer that still runs, and start no more."""
        with self._lock:
            self._stopped = True
            running = [process for process in self._processes if process.popen.poll() is None]
        for process in running:
            process.popen.terminate()
        for process in running:
            try:
                process.popen.wait(STOP_SECONDS)
            except subprocess.TimeoutExpired:
                process.popen.kill()
                process.popen.wait()

    # -- one run ------------------------------------------------------------------------------------

    def _run_one(self, training: Training) -> None:
        unit = str(training.at_unit)
        match training.fate:
            case Fate.FINISHES:
                self._expect(self._start(training), 0)
            case Fate.FAILS:
                self._expect(self._start(training, "--fail-at-unit", unit), EXIT_FAILED)
            case Fate.IS_KILLED:
                self._kill_at(training)
            case Fate.IS_RESUMED:
                identity = ("--id", f"{training.name}-{self._session}")
                checkpoint = ("--checkpoint", str(self._directory / f"{training.name}-{self._session}.json"))
                self._expect(self._start(training, *identity, *checkpoint, "--stop-after-units", unit), 0)
                self._expect(self._start(training, *identity, *checkpoint, "--resume"), 0)

    def _start(self, training: Training, *arguments: str) -> _Process | None:
        """Start a trainer, in a session of its own: ctrl-c reaches the demo alone, which then stops them."""
        output = self._directory / f"{training.name}-{self._session}.txt"
        command = [
            sys.executable, "-m", "canopy_tui.demo.train",
            "--project", training.project, "--name", training.name, *training.arguments, *arguments,
        ]  # fmt: skip
        with self._lock, open(output, "a", encoding="utf-8", opener=open_private) as sink:
            if self._stopped:
                return None
            popen = subprocess.Popen(
                command,
                env=self._environment,
                stdin=subprocess.DEVNULL,
                stdout=sink,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                text=True,
            )
            process = _Process(training, popen, output)
            self._processes.append(process)
        return process

    def _kill_at(self, training: Training) -> None:
        """kill -9 the trainer once it has printed that it installed its ``at_unit``-th unit."""
        process = self._start(training, "--pace", str(KILLED_SECONDS))
        if process is None:
            return
        mark = f"unit {training.at_unit}:"
        while process.popen.poll() is None:
            if mark in process.output.read_text(encoding="utf-8", errors="replace"):
                process.popen.kill()
                break
            try:
                process.popen.wait(POLL_SECONDS)
            except subprocess.TimeoutExpired:
                pass
        self._expect(process, EXIT_KILLED)

    def _expect(self, process: _Process | None, code: int) -> None:
        if process is None or process.popen.wait() == code or self._stopped:
            return
        lines = process.output.read_text(encoding="utf-8", errors="replace").splitlines()
        raise DemoError(
            f"the trainer of {process.training.name!r} ended with exit code {process.popen.returncode}, "
            f"not {code}: {lines[-1] if lines else 'it printed nothing'} (see {process.output})"
        )
