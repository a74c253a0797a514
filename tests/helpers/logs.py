"""Logs for tests, written by the real journal."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from uuid import UUID

from helpers.waiting import eventually
from wal.journal import Journal, Limits, RunInfo
from wal.record import Kind, key_order, pack_texts, pack_topology, packer, uuid7

START_NS = 1_790_000_000_000_000_000
"""An instant in 2026 that tests begin at."""

SECOND = 1_000_000_000


class Ticking:
    """A clock that moves only when it is told to."""

    def __init__(self, now_ns: int = START_NS) -> None:
        self.now_ns = now_ns

    def __call__(self) -> int:
        return self.now_ns

    def tick(self, seconds: float) -> None:
        self.now_ns += int(seconds * SECOND)


def make_run(
    project: str = "spirals", name: str = "train-1", at_ns: int = START_NS, **fields: object
) -> RunInfo:
    """A run's facts, with a new id of that instant."""
    return RunInfo(run_id=uuid7(at_ns), project=project, name=name, **fields)  # type: ignore[arg-type]


def open_journal(
    log_dir: Path,
    run: RunInfo | None = None,
    clock_ns: Callable[[], int] = lambda: START_NS,
    records_per_segment: int = 8_000,
    **options: object,
) -> Journal:
    """The writer of a new stream."""
    limits = Limits(records=records_per_segment)
    return Journal(log_dir, run or make_run(), clock_ns=clock_ns, limits=limits, **options)  # type: ignore[arg-type]


def log(journal: Journal, step: int, values: Mapping[str, float], ts: int | None = None, **texts: str) -> int:
    """One log call; its seq comes back."""
    names = key_order(values)
    body = packer(len(names)).pack(*(values[name] for name in names)) + pack_texts(texts)
    seq = journal.append(Kind.LOG, step, START_NS + step * SECOND if ts is None else ts, names, body)
    assert seq is not None
    return seq


def log_special(journal: Journal, kind: Kind, step: int, values: Mapping[str, float], **texts: str) -> int:
    """A record of another kind than a log call."""
    names = key_order(values)
    body = packer(len(names)).pack(*(values[name] for name in names)) + pack_texts(texts)
    seq = journal.append(kind, step, START_NS + step * SECOND, names, body)
    assert seq is not None
    return seq


def log_topology(journal: Journal, step: int, topology: Mapping[str, object]) -> int:
    seq = journal.append(Kind.TOPOLOGY, step, START_NS + step * SECOND, (), pack_topology(topology))
    assert seq is not None
    return seq


def write_run(
    log_dir: Path,
    records: Iterable[Mapping[str, float]],
    run: RunInfo | None = None,
    state: str = "done",
    clock_ns: Callable[[], int] = lambda: START_NS,
    records_per_segment: int = 8_000,
) -> tuple[UUID, UUID]:
    """A whole run of one stream, a step per record from 1; its (run id, stream id) come back.

    It waits for the journal to have the next segment ready before each rotation, so that segments are as long
    as they should be.
    """
    journal = open_journal(log_dir, run, clock_ns, records_per_segment)
    for step, values in enumerate(records, start=1):
        if step % records_per_segment == 0:
            eventually(lambda: journal._next is not None)
        log(journal, step, values)
    journal.close(state, 0 if state == "done" else 1)
    return journal.run.run_id, journal.stream.stream_id
