"""The run of this process: starting it, ending it with the process, and the functions of the module ``wal``.

Standard library only.
"""

from __future__ import annotations

import os
import sqlite3
import time
from collections.abc import Callable, Iterator, Mapping, MutableMapping
from importlib.util import find_spec
from pathlib import Path
from typing import Any
from uuid import UUID

from wal.environment import not_known, unknown_variables
from wal.paths import log_dir as find_log_dir
from wal.paths import make_private_directory
from wal.record import uuid7
from wal.run import Run, ignore_unknown, tag_tuple
from wal.segments import notice
from wal.segments.meta import Limits, LogError
from wal.segments.plain import text_of
from wal.segments.writing import Connect
from wal.shipping.daemon import ensure_running
from wal.training.config import config_dict
from wal.training.ending import at_exit
from wal.training.filesystem import cost_of
from wal.training.naming import default_project, working_directory
from wal.training.starting import RESUME, RUN_ID_VARIABLE, Wishes, choose, unwritten

MODES = ("online", "offline", "disabled")


class _Process:
    """What this process knows of its runs. ``exported`` is the pid and the environment variables that
    ``init`` set for this process' children, ``inherited`` what they were before."""

    def __init__(self) -> None:
        self.run: Run | None = None
        self.started_runs = 0
        self.hooked = False
        self.exported: tuple[int, dict[str, str]] = (0, {})
        self.inherited: dict[str, str | None] = {}


_process = _Process()


def init(
    project: str | None = None,
    name: str | None = None,
    id: str | None = None,  # noqa: A002 - the name that users of other trackers know
    config: object = None,
    tags: object = None,
    notes: str | None = None,
    group: str | None = None,
    job_type: str | None = None,
    resume: str | bool | None = None,
    mode: str = "online",
    dir: str | os.PathLike[str] | None = None,  # noqa: A002 - likewise
    **unknown: object,
) -> Run:
    """Start a run, and end the one before it.

    ``resume``: "never" refuses an ``id`` that exists, "must" one that does not, "auto" goes on with this
    script's newest run if that crashed or failed; else a run with the same ``id`` is gone on with. ``mode``:
    "offline" starts no syncer, "disabled" does nothing at all. ``dir`` is the log directory (else
    ``CANOPY_DIR``, else the user's state directory). Raises :class:`wal.LogError` with one sentence when the
    run cannot be started.
    """
    ignore_unknown("init", unknown)
    for variable in unknown_variables(os.environ):
        notice.once(f"variable {variable}", not_known(variable))
    if mode not in MODES:
        raise LogError(f"mode={mode!r} is not known: use one of {', '.join(MODES)}")
    if isinstance(resume, bool):
        resume = "auto" if resume else None
    if resume is not None and resume not in RESUME:
        raise LogError(f"resume={resume!r} is not known: use one of {', '.join(RESUME)}")
    try:
        settings = config_dict(config)
    except TypeError as error:
        raise LogError(str(error)) from None
    wishes = Wishes(
        project=_text(project), name=_text(name), user_id=_text(id), group=_text(group),
        job_type=_text(job_type), tags=None if tags is None else tag_tuple(tags), notes=_text(notes),
        config=settings, resume=resume,
    )  # fmt: skip
    finish()
    run = start_run(Path() if mode == "disabled" else _log_dir(dir), wishes, mode=mode)
    _process.run = run
    _process.started_runs += 1
    if mode != "disabled":
        _export(run)
        _end_with_process()
        cost = cost_of(run.log_dir)
        if cost is not None:
            notice.once(f"file system {run.log_dir}", cost)
    if mode == "online":
        _start_syncer(run.log_dir)
    return run


def start_run(
    log_dir: Path,
    wishes: Wishes,
    *,
    mode: str = "online",
    connect: Connect = sqlite3.connect,
    clock_ns: Callable[[], int] = time.time_ns,
    new_id: Callable[[int], UUID] = uuid7,
    host: str | None = None,
    limits: Limits = Limits(),  # noqa: B008 - frozen
) -> Run:
    """Start a run without making it the process' own: :func:`init` but for its effects on the process.

    Tests pass the clock and the ids: ``new_id`` gets nanoseconds since the epoch and gives the run's id,
    then the stream's. Raises LogError.
    """
    project = default_project(os.environ, working_directory())
    environ = dict(os.environ)
    pid, exported = _process.exported
    if pid == os.getpid() and environ.get(RUN_ID_VARIABLE) == exported.get(RUN_ID_VARIABLE, ""):
        del environ[RUN_ID_VARIABLE]
    try:
        if mode == "disabled":
            start = unwritten(wishes, project, new_id(clock_ns()))
        else:
            make_private_directory(log_dir)
            started_runs = _process.started_runs
            start = choose(log_dir, project, wishes, environ, lambda: new_id(clock_ns()), started_runs)
        return Run(
            log_dir, start, config=wishes.config or {}, mode=mode, silent=_is_set("CANOPY_SILENT"),
            connect=connect, clock_ns=clock_ns, new_id=new_id, host=host, limits=limits,
        )  # fmt: skip
    except (OSError, sqlite3.Error) as error:
        raise LogError(
            f"the log directory {log_dir} cannot be written ({error}): set CANOPY_DIR, or dir=, to one that "
            "can"
        ) from None


def _log_dir(explicit: str | os.PathLike[str] | None) -> Path:
    try:
        return find_log_dir(explicit)
    except (OSError, RuntimeError) as error:  # a working directory that is gone, a home that nobody knows
        raise LogError(
            f"the log directory cannot be found ({error}): set CANOPY_DIR, or dir=, to an absolute path"
        ) from None


def _text(value: object) -> str | None:
    return None if value is None else text_of(value)


def _is_set(variable: str) -> bool:
    return os.environ.get(variable, "").strip().lower() in ("1", "true", "yes", "on")


def _export(run: Run) -> None:
    """Let ranks and children of this process find the run and its log directory, until it ends."""
    values = {RUN_ID_VARIABLE: f"{run.run_id}/{run.stream_id}", "CANOPY_DIR": str(run.log_dir)}
    _process.inherited = {name: os.environ.get(name) for name in values}
    _process.exported = (os.getpid(), values)
    os.environ.update(values)
    run.when_finished(_unexport)


def _unexport() -> None:
    pid, exported = _process.exported
    if pid != os.getpid():
        return  # a forked child's run ends
    for name, value in exported.items():
        if os.environ.get(name) != value:
            continue  # set by somebody else since
        before = _process.inherited[name]
        if before is None:
            del os.environ[name]
        else:
            os.environ[name] = before
    _process.exported = (0, {})


def _start_syncer(log_dir: Path) -> None:
    """Start a syncer for the log directory unless one runs; it outlives this process.

    It needs packages that a training environment may lack: then records wait for a syncer started elsewhere.
    """
    try:
        if find_spec("sqlite_utils") is not None:
            ensure_running(log_dir, working_directory() or log_dir)
    except Exception as error:  # noqa: BLE001 - shipping must not keep a training from starting
        notice.once("syncer", f"the syncer could not be started ({error}); records stay in {log_dir}")


def _end_with_process() -> None:
    if not _process.hooked:
        _process.hooked = True
        at_exit(finish)


# -- the functions of the module --------------------------------------------------------------------


def active() -> Run | None:
    """The run of this process, None before its start and after its end."""
    run = _process.run
    return None if run is None or run.finished else run


def _run_or_new() -> Run:
    """The run of this process, started now if there was none yet; where that fails, one that does nothing.

    Nobody asked for a run here, so nobody would catch its error: that is said once, and training goes on.
    """
    if _process.run is not None:
        return _process.run
    try:
        return init()
    except Exception as error:  # noqa: BLE001 - never an exception into training
        notice.once("no run", f"nothing is kept: {error}")
        return init(mode="disabled")


def log(
    data: Mapping[str, Any], step: int | None = None, ts: int | None = None, **unknown: object
) -> int | None:
    """:meth:`wal.run.Run.log` of this process' run, which is started if there was none."""
    return (_process.run or _run_or_new()).log(data, step, ts, **unknown)


def log_topology(topology: Mapping[str, Any], step: int | None = None) -> int | None:
    """:meth:`wal.run.Run.log_topology` of this process' run."""
    return _run_or_new().log_topology(topology, step)


def alert(title: str, text: str = "", level: object = "INFO", **unknown: object) -> int | None:
    """:meth:`wal.run.Run.alert` of this process' run."""
    return _run_or_new().alert(title, text, level, **unknown)


def define_metric(
    name: str,
    step_metric: str | None = None,
    goal: str | None = None,
    summary: str | None = None,
    **unknown: object,
) -> None:
    """:meth:`wal.run.Run.define_metric` of this process' run."""
    _run_or_new().define_metric(name, step_metric, goal, summary, **unknown)


def finish(exit_code: int | None = 0, **unknown: object) -> None:
    """End this process' run, if there is one."""
    if _process.run is not None:
        _process.run.finish(exit_code, **unknown)


class Proxy(MutableMapping[str, Any]):
    """``wal.config`` and ``wal.summary``: the dictionary of whichever run is this process' own when used."""

    _which: str

    def __init__(self, which: str) -> None:
        object.__setattr__(self, "_which", which)

    def _target(self) -> Any:
        return getattr(_run_or_new(), self._which)

    def __getitem__(self, key: str) -> Any:
        return self._target()[key]

    def __setitem__(self, key: str, value: Any) -> None:
        self._target()[key] = value

    def __delitem__(self, key: str) -> None:
        del self._target()[key]

    def __iter__(self) -> Iterator[str]:
        return iter(self._target())

    def __len__(self) -> int:
        return len(self._target())

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)  # introspection must not start a run
        return getattr(self._target(), name)

    def __setattr__(self, name: str, value: Any) -> None:
        setattr(self._target(), name, value)

    def __repr__(self) -> str:
        run = active()
        return repr(getattr(run, self._which)) if run is not None else f"<{self._which} of no run yet>"

    def update(self, *args: Any, **more: Any) -> None:
        self._target().update(*args, **more)
