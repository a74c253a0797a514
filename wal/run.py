"""The training side: a run and what can be logged into it. Standard library only, never a socket.

After a run has started nothing here raises into training but what a signal raises: a value that cannot be
kept is left out and named once on stderr, a disk that takes nothing makes records wait in memory.
"""

from __future__ import annotations

import sqlite3
import sys
import threading
import time
from collections.abc import Callable, Generator, Mapping
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import Any, cast
from uuid import UUID

from wal.journal import Journal
from wal.record import Kind, pack_texts, pack_topology, uuid7
from wal.segments import notice
from wal.segments.locks import in_forked_child
from wal.segments.meta import Limits
from wal.segments.plain import clean, clean_text, text_of
from wal.segments.spill import gap_call
from wal.segments.writing import Connect
from wal.training import foreign
from wal.training.config import Config, Summary
from wal.training.convert import Converter, Packed, nanoseconds, whole_number
from wal.training.ending import exit_code_of
from wal.training.report import closing_lines, delivered_records, opening_line
from wal.training.starting import Start

RETRY_SECONDS = 1.0
"""Between attempts of a forked child to start its stream on a disk that takes nothing."""

_GOALS = {"min": "min", "max": "max", "minimize": "min", "maximize": "max"}

_child_lock = threading.Lock()
"""Held while a forked child starts its stream, so that its threads start one."""


class Run:
    """One run of this process; made by :func:`wal.init`.

    ``run_id`` is its UUID, ``id`` the user's own id or the UUID's text. ``config`` and ``summary`` are
    dictionaries whose changes are kept.
    """

    def __init__(
        self,
        log_dir: Path,
        start: Start,
        *,
        config: Mapping[str, Any],
        mode: str = "online",
        silent: bool = False,
        connect: Connect = sqlite3.connect,
        clock_ns: Callable[[], int] = time.time_ns,
        new_id: Callable[[int], UUID] = uuid7,
        host: str | None = None,
        limits: Limits = Limits(),  # noqa: B008 - frozen
    ) -> None:
        """Start a stream. ``config`` are the values as the user gave them. ``mode`` is "online", "offline"
        or "disabled" (nothing is written at all).

        ``connect``, ``clock_ns``, ``new_id``, ``host`` and ``limits`` are for tests. Raises OSError or
        sqlite3.Error when the log directory takes nothing.
        """
        self.log_dir = log_dir
        self.mode = mode
        self.resumed = start.resumed
        self.rank = start.rank
        self._info = start.run
        self._silent = silent or start.rank != 0 or start.parent is not None
        self._clock_ns = clock_ns
        self._converter = Converter()
        self._finished = False
        self._missed = 0
        self._retry_at = 0.0
        self._when_finished: Callable[[], None] | None = None
        self._new_journal = partial(
            Journal, log_dir, rank=start.rank, mode=mode, connect=connect, clock_ns=clock_ns, new_id=new_id,
            host=host, limits=limits,
        )  # fmt: skip
        self.config = Config({**start.run.config, **config}, self._config_changed)
        self.summary = Summary(self._record_summary)
        self._journal: Journal | None = None
        if mode != "disabled":
            self._journal = self._new_journal(
                self._info, after=start.after, parent=start.parent, first_step=start.first_step
            )
            if not self._silent:
                notice.say(opening_line(self.name, self.run_id, log_dir))

    # -- what it is ---------------------------------------------------------------------------------

    @property
    def run_id(self) -> UUID:
        return self._info.run_id

    @property
    def id(self) -> str:
        return self._info.user_id or str(self._info.run_id)

    @property
    def name(self) -> str:
        return self._info.name

    @name.setter
    def name(self, name: str) -> None:
        self._change(name=text_of(name))

    @property
    def project(self) -> str:
        return self._info.project

    @property
    def group(self) -> str:
        return self._info.group

    @property
    def job_type(self) -> str:
        return self._info.job_type

    @property
    def tags(self) -> tuple[str, ...]:
        return self._info.tags

    @tags.setter
    def tags(self, tags: object) -> None:
        self._change(tags=tag_tuple(tags))

    @property
    def notes(self) -> str:
        return self._info.notes

    @notes.setter
    def notes(self, notes: str) -> None:
        self._change(notes=text_of(notes))

    @property
    def step(self) -> int:
        """The step that the next ``log()`` without one gets."""
        return self._journal.last_step + 1 if self._journal is not None else 0

    @property
    def stream_id(self) -> UUID | None:
        """The stream of this process in the run; None when disabled, and in a fork that logged nothing."""
        return self._journal.stream_id if self._journal is not None and not self._is_forked else None

    @property
    def left_out(self) -> int:
        """Values that could not be kept because they are neither numbers nor texts."""
        return self._converter.left_out

    # -- logging ------------------------------------------------------------------------------------

    def log(
        self, data: Mapping[str, Any], step: int | None = None, ts: int | None = None, **unknown: object
    ) -> int | None:
        """Keep a record and return its seq: 1, 2, 3 … within this process' stream.

        A number means that it is committed and survives the process, and a loss of power within about a
        second (or after :meth:`flush`). None means that there was nothing to keep, or that the disk takes
        nothing now and the record waits in memory. ``data`` maps names to numbers or texts, nested
        dictionaries are flattened with "/". ``step`` is by default the last one + 1; repeated and backward
        steps are kept. ``ts`` is nanoseconds since the epoch, by default now.
        """
        if unknown:
            ignore_unknown("log", unknown)
        try:
            packed = self._converter.pack(data)
            return None if packed is None else self._append(Kind.LOG, packed, step, ts)
        except Exception as error:  # noqa: BLE001 - never an exception into training
            notice.once("log", f"log() failed: {error!r}")
            return None

    def log_topology(self, topology: Mapping[str, Any], step: int | None = None) -> int | None:
        """Keep a snapshot of a network's structure, as JSON; ``step`` is by default the last logged one."""
        try:
            plain = clean(topology)
            if not isinstance(plain, dict):
                notice.once("topology", "log_topology() takes a dictionary")
                return None
            body = pack_topology(cast("dict[str, object]", plain))
            return self._append(Kind.TOPOLOGY, ((), body), step, None)
        except Exception as error:  # noqa: BLE001 - never an exception into training
            notice.once("topology", f"log_topology() failed: {error!r}")
            return None

    def alert(self, title: str, text: str = "", level: object = "INFO", **unknown: object) -> int | None:
        """Keep an alert beside the metrics."""
        ignore_unknown("alert", unknown)
        with never_raising("alert()"):
            level_text = text_of(getattr(level, "value", level))
            texts = {"title": text_of(title), "text": text_of(text), "level": level_text}
            return self._append(Kind.ALERT, ((), pack_texts(texts)), None, None)
        return None

    def define_metric(
        self,
        name: str,
        step_metric: str | None = None,
        goal: str | None = None,
        summary: str | None = None,
        **unknown: object,
    ) -> None:
        """Say what is best of a metric (``goal`` "min" or "max") and which metric is its x axis.

        ``summary="min"`` or ``"max"`` says the goal too, as in scripts written for W&B.
        """
        ignore_unknown("define_metric", unknown)
        with never_raising("define_metric()"):
            wanted = _GOALS.get(text_of(goal or "")) or _GOALS.get(text_of(summary or ""))
            if goal is not None and text_of(goal) not in _GOALS:
                notice.once(
                    f"goal {goal!r}", f"define_metric() knows the goals 'min' and 'max', not {goal!r:.40}"
                )
            step_name = text_of(step_metric) if step_metric is not None else None
            definition: Mapping[str, str | None] = {"goal": wanted, "step_metric": step_name}
            self._change(metrics={**self._info.metrics, text_of(name): definition})

    watch = staticmethod(foreign.watch)
    save = staticmethod(foreign.save)

    def _append(self, kind: Kind, packed: Packed, step: object, ts: object) -> int | None:
        journal = self._journal
        if journal is None or journal.abandoned or self._finished:
            journal = self._find_journal()
            if journal is None:
                return None
        if step is not None:
            step = whole_number(step)
            if step is None:
                notice.once("step", "log() takes whole numbers as steps: this one is the last step + 1")
        if ts is not None:
            ts = nanoseconds(ts)
            if ts is None:
                notice.once("ts", "log() takes nanoseconds since the epoch as ts: this one is now")
        if step is None and kind is not Kind.LOG:
            step = max(journal.last_step, 0)
        seq = journal.append(kind, step, self._clock_ns() if ts is None else ts, *packed)
        if seq is None and self._finished:  # by another thread, or a signal handler, since we looked
            _say_finished()
        return seq

    def _record_summary(self, values: Mapping[str, Any]) -> None:
        with never_raising("summary"):
            packed = self._converter.pack(dict(values))
            if packed is not None:
                self._append(Kind.SUMMARY, packed, None, None)

    # -- what the user says about the run -----------------------------------------------------------

    def _config_changed(self) -> None:
        self._change(config=cast("dict[str, object]", clean(self.config.as_dict())))

    def _change(self, **changes: Any) -> None:
        self._info = self._info._replace(**changes)
        if self._journal is not None and not self._is_forked and not self._finished:
            self._journal.update_run(self._info)

    # -- forks --------------------------------------------------------------------------------------

    @property
    def _is_forked(self) -> bool:
        return self._journal is not None and self._journal.abandoned

    def _find_journal(self) -> Journal | None:
        """The journal to write to when the usual one is of no use: a forked child's own stream, or none."""
        if self._finished:
            _say_finished()
            return None
        if not self._is_forked:
            return self._journal  # disabled
        with _child_lock:
            if self._is_forked:
                self._start_child_stream()
        return None if self._is_forked else self._journal

    def _start_child_stream(self) -> None:
        parent = cast("Journal", self._journal)
        if time.monotonic() < self._retry_at:
            self._missed += 1
            return
        try:
            journal = self._new_journal(self._info, parent=parent.stream_id, first_step=parent.last_step + 1)
        except (OSError, sqlite3.Error, RuntimeError) as error:  # RuntimeError: the interpreter is ending
            notice.once("child", f"a forked process cannot start a stream in {self.log_dir} ({error})")
            self._missed += 1
            self._retry_at = time.monotonic() + RETRY_SECONDS
            return
        if self._missed:
            reason = "the stream of a forked process could not be started"
            journal.append(*gap_call(max(parent.last_step, 0), self._clock_ns(), self._missed, reason))
            self._missed = 0
        self._journal = journal
        self._silent = True
        _at_worker_exit(self.finish)

    # -- the end ------------------------------------------------------------------------------------

    def flush(self, durable: bool = True) -> bool:
        """Wait until all that was logged is committed and, if ``durable``, beyond a loss of power."""
        if self._journal is None or self._is_forked or self._finished:
            return True
        return self._journal.flush(durable)

    @property
    def finished(self) -> bool:
        return self._finished

    def when_finished(self, callback: Callable[[], None]) -> None:
        """Run ``callback`` when the run ends."""
        self._when_finished = callback

    def finish(self, exit_code: int | None = 0, **unknown: object) -> None:
        """End the run: "done" for exit code 0, "failed" for any other. The second call does nothing."""
        ignore_unknown("finish", unknown)
        if self._finished or self._is_forked:
            return
        stored = cast("dict[str, object]", clean(self.config.as_dict()))
        if stored != self._info.config:  # a list or dictionary inside was changed in place
            self._change(config=stored)
        self._finished = True
        if self._when_finished is not None:
            self._when_finished()
        journal = self._journal
        if journal is None:
            return
        code = exit_code or 0
        state = "failed" if code else "done"
        with never_raising("finish()"):
            journal.close(state, code)
            if not self._silent:
                delivered = delivered_records(self.log_dir, journal.stream_id)
                for line in closing_lines(self.name, state, journal.last_seq, delivered, journal.summaries()):
                    notice.say(line)

    def __enter__(self) -> Run:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.finish(exit_code_of(error))

    def __repr__(self) -> str:
        return f"<Run {self.name!r} of {self.project!r}, {self.run_id}>"


@contextmanager
def never_raising(call: str) -> Generator[None]:
    """Keep what goes wrong inside out of training; it is said once on stderr."""
    try:
        yield
    except Exception as error:  # noqa: BLE001 - never an exception into training
        notice.once(call, f"{call} failed: {error!r}")


def tag_tuple(tags: object) -> tuple[str, ...]:
    """Tags from a string or any sequence of them."""
    if isinstance(tags, str):
        return (clean_text(tags),)
    if isinstance(tags, list | tuple | set | frozenset):
        return tuple(map(text_of, cast("list[object]", tags)))
    return ()


def ignore_unknown(where: str, unknown: Mapping[str, object]) -> None:
    """Say once that keywords of other trackers mean nothing here."""
    for keyword in unknown:
        notice.once(f"keyword {keyword}", f"{where}({keyword}=...) means nothing to Canopy and is ignored")


def _say_finished() -> None:
    notice.once("finished", "log() after finish(): nothing is kept; start a run with init()")


def _at_worker_exit(finish: Callable[[], None]) -> None:
    """End a forked multiprocessing worker's stream: such a process ends without its ``atexit``."""
    util = sys.modules.get("multiprocessing.util")
    if util is not None:
        util.Finalize(None, finish, exitpriority=0)


def _new_lock_in_child() -> None:
    global _child_lock
    _child_lock = threading.Lock()


in_forked_child(_new_lock_in_child)
