"""Which run a process logs into: a new one, one to go on with, or the one of the process that started it.

Standard library only, and no network: what this log directory knows is all that counts.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import NamedTuple, cast
from uuid import UUID, uuid5

from wal.record import RUN_NAMESPACE, NewerFormat, run_uuid
from wal.segments.liveness import Liveness, host_name, liveness, start_ticks
from wal.segments.meta import CorruptSegment, LogError, RunInfo, SegmentMeta, starts_of
from wal.segments.plain import clean
from wal.segments.segment import last_step, read_meta, segment_paths, stream_dirs
from wal.training.naming import next_number, rank_of, script_stem

RUN_ID_VARIABLE = "CANOPY_RUN_ID"
"""Set by ``init`` to "run/stream", so that ranks and children join the run; a user may set an id instead."""

RESUME = ("never", "allow", "must", "auto")
MAX_RUNS_SEARCHED = 50
"""resume="auto" looks at the newest runs only: starting must not depend on how long the log is."""


class Wishes(NamedTuple):
    """What the user said to ``init``; None where nothing was said."""

    project: str | None = None
    name: str | None = None
    user_id: str | None = None
    group: str | None = None
    job_type: str | None = None
    tags: tuple[str, ...] | None = None
    notes: str | None = None
    config: Mapping[str, object] | None = None
    resume: str | None = None


class Start(NamedTuple):
    """The answer: the run as the new stream states it, and how the stream stands to the run's others."""

    run: RunInfo
    rank: int
    after: UUID | None
    parent: UUID | None
    first_step: int
    resumed: bool


class _Stream(NamedTuple):
    """A stream of the run that is there already."""

    directory: Path
    meta: SegmentMeta

    @property
    def alive(self) -> bool:
        return liveness(self.directory, self.meta.stream) is Liveness.ALIVE


def choose(
    log_dir: Path,
    default_project: str,
    wishes: Wishes,
    environ: Mapping[str, str],
    new_id: Callable[[], UUID],
    nth_run: int = 0,
) -> Start:
    """Decide which run to log into. ``nth_run`` counts this process' earlier runs.

    Raises LogError for a ``resume`` that cannot be, OSError when the log directory cannot be used.
    """
    project = wishes.project or default_project
    rank = rank_of(environ)
    inherited = environ.get(RUN_ID_VARIABLE, "")
    parent_run, parent_stream = _parse_inherited(inherited)
    user_id = wishes.user_id or (inherited if inherited and parent_run is None else None)
    if user_id is not None:
        run_id = run_uuid(project, user_id)
        streams = _streams_of(log_dir, run_id)
        starter = _find(streams, parent_stream)
        if starter is None:
            _check_resume(wishes.resume, user_id, bool(streams), log_dir)
        return _join(log_dir, run_id, streams, wishes, project, rank, starter, user_id)
    if wishes.resume == "must":
        raise LogError("resume='must' needs the id of the run to go on with: init(id=..., resume='must')")
    if parent_run is not None:
        streams = _streams_of(log_dir, parent_run)
        starter = _find(streams, parent_stream)
        if starter is not None and _same_run(starter.meta.run, wishes):
            return _join(log_dir, parent_run, streams, wishes, project, rank, starter, None)
    if wishes.resume == "auto":
        crashed = _newest_crashed(log_dir, project, wishes.name)
        if crashed is not None:
            return _join(log_dir, crashed, _streams_of(log_dir, crashed), wishes, project, rank, None, None)
    launch = _launch_key(environ)
    if launch is not None:
        run_id = uuid5(RUN_NAMESPACE, f"launch\0{launch}\0{nth_run}")
        return _join(log_dir, run_id, _streams_of(log_dir, run_id), wishes, project, rank, None, None)
    return _join(log_dir, new_id(), [], wishes, project, rank, None, None)


def _parse_inherited(text: str) -> tuple[UUID | None, UUID | None]:
    run, slash, stream = text.partition("/")
    if not slash:
        return None, None
    try:
        return UUID(run), UUID(stream)
    except ValueError:
        return None, None


def _find(streams: list[_Stream], stream_id: UUID | None) -> _Stream | None:
    return next((stream for stream in streams if stream.meta.stream.stream_id == stream_id), None)


def _check_resume(resume: str | None, user_id: str, exists: bool, log_dir: Path) -> None:
    if resume == "must" and not exists:
        raise LogError(
            f"there is no run {user_id!r} in {log_dir} to go on with: check the id and the project, or pass "
            "resume='allow' to start it"
        )
    if resume == "never" and exists:
        raise LogError(
            f"the run {user_id!r} exists in {log_dir} already: pass resume='allow' to go on with it, or "
            "another id"
        )


def _same_run(run: RunInfo, wishes: Wishes) -> bool:
    """A child that asks for another name or project wants a run of its own, as a sweep's trials do."""
    return wishes.name in (None, run.name) and wishes.project in (None, run.project)


def _join(
    log_dir: Path,
    run_id: UUID,
    streams: list[_Stream],
    wishes: Wishes,
    project: str,
    rank: int,
    starter: _Stream | None,
    user_id: str | None,
) -> Start:
    """Start a stream in a run that has ``streams`` (newest first), maybe none."""
    parent = starter.meta.stream.stream_id if starter and starter.meta.stream.rank == rank else None
    same_rank = [s for s in streams if s.meta.stream.rank == rank and s.meta.stream.parent is None]
    ended = [s for s in same_rank if not s.alive] if parent is None else []
    known = max((s.meta.run for s in streams), key=lambda run: run.version, default=None)
    if known is None:
        name = wishes.name or _new_name(log_dir, project, rank)
        known = RunInfo(run_id, project, name, user_id)
    return Start(
        run=_with_wishes(known, wishes, bool(streams)),
        rank=rank,
        after=ended[0].meta.stream.stream_id if ended else None,
        parent=parent,
        first_step=_next_step(ended),
        resumed=bool(ended),
    )


def _new_name(log_dir: Path, project: str, rank: int) -> str:
    stem = script_stem()
    return f"{stem}-{next_number(log_dir, project, stem)}" if rank == 0 else stem


def _with_wishes(run: RunInfo, wishes: Wishes, exists: bool) -> RunInfo:
    return run._replace(
        name=wishes.name or run.name,
        group=run.group if wishes.group is None else wishes.group,
        job_type=run.job_type if wishes.job_type is None else wishes.job_type,
        tags=run.tags if wishes.tags is None else wishes.tags,
        notes=run.notes if wishes.notes is None else wishes.notes,
        config={**run.config, **cast("dict[str, object]", clean(wishes.config or {}))},
        version=run.version + 1 if exists else run.version,
    )


def unwritten(wishes: Wishes, project: str, run_id: UUID) -> Start:
    """The start of a run of which nothing is kept."""
    run = RunInfo(run_id, wishes.project or project, wishes.name or script_stem(), wishes.user_id)
    return Start(_with_wishes(run, wishes, False), 0, None, None, 0, False)


def _next_step(streams: list[_Stream]) -> int:
    """The step after the last one of the newest of ``streams`` that logged any."""
    for stream in streams:
        for path in reversed(segment_paths(stream.directory)):
            try:
                step = last_step(path)
            except (CorruptSegment, NewerFormat, OSError):
                continue
            if step is not None:
                return step + 1
    return 0


def _streams_of(log_dir: Path, run_id: UUID) -> list[_Stream]:
    """The readable streams of a run, newest first."""
    found: list[_Stream] = []
    for directory in _directories(log_dir / str(run_id)):
        meta = newest_meta(directory)
        if meta is not None:
            found.append(_Stream(directory, meta))
    starts = starts_of(stream.meta.stream for stream in found)
    return sorted(found, key=lambda stream: starts[stream.meta.stream.stream_id], reverse=True)


def _directories(folder: Path) -> Iterator[Path]:
    try:
        with os.scandir(folder) as entries:
            yield from [Path(entry.path) for entry in entries if entry.is_dir()]
    except OSError:
        return


def newest_meta(stream_dir: Path) -> SegmentMeta | None:
    """What the newest readable segment of a stream states, None without one."""
    for path in reversed(segment_paths(stream_dir)):
        try:
            meta = read_meta(path)
        except (CorruptSegment, NewerFormat, OSError):
            continue
        if meta is not None:
            return meta
    return None


def _newest_crashed(log_dir: Path, project: str, name: str | None) -> UUID | None:
    """The newest run of the project, if its newest rank-0 stream died or failed; by name or by script."""
    run_ids = sorted({run_id for run_id, _, _ in stream_dirs(log_dir) if run_id.version == 7}, reverse=True)
    stem = script_stem()
    for run_id in run_ids[:MAX_RUNS_SEARCHED]:
        streams = [s for s in _streams_of(log_dir, run_id) if s.meta.stream.rank == 0]
        if not streams or streams[0].meta.run.project != project:
            continue
        newest = streams[0]
        if name not in (None, newest.meta.run.name):
            continue
        if name is None and newest.meta.run.name.rpartition("-")[0] != stem:
            continue
        ended_well = newest.meta.end is not None and newest.meta.end.state == "done"
        return None if ended_well or newest.alive else run_id
    return None


def _launch_key(environ: Mapping[str, str]) -> str | None:
    """What the ranks of one launch share, so that they log into one run; None for a process on its own."""
    if not environ.get("RANK", environ.get("SLURM_PROCID", environ.get("OMPI_COMM_WORLD_RANK", ""))):
        return None
    if environ.get("SLURM_JOB_ID"):
        return f"slurm {environ['SLURM_JOB_ID']}.{environ.get('SLURM_STEP_ID', '')}"
    elastic = environ.get("TORCHELASTIC_RUN_ID", "none")
    if elastic != "none":
        return f"elastic {elastic}"
    launcher = os.getppid()
    return f"{host_name()} {launcher} {start_ticks(launcher)} {environ.get('MASTER_PORT', '')}"
