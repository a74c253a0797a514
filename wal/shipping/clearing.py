"""Making room: proving which runs may go, or which of their segments, and having them pruned. The looking is
anybody's, the unlinking is done by whoever is the syncer (:mod:`wal.shipping.errands`)."""

from __future__ import annotations

import time
from collections.abc import Set
from dataclasses import dataclass
from uuid import UUID

from wal import journal
from wal.shipping.delivery import Delivery
from wal.shipping.errands import PRUNE, PRUNE_SEGMENTS, VERIFIED
from wal.shipping.expecting import UNREADABLE
from wal.shipping.pruning import Candidate, plan
from wal.shipping.segmentpruning import PrunableSegment, plan_segments

UNDER_WAY = "the syncer has not come to it yet, or something was logged meanwhile"
"""Why a run is still here that nothing speaks against."""

RUNS_AT_ONCE = 16
"""Runs pruned by one errand: a syncer that ships is not held up for long."""

SEGMENTS_AT_ONCE = 16
"""Segments pruned by one errand: some ten milliseconds each."""


@dataclass(slots=True)
class Shortened:
    """A run that stays, and what of its log went: segments, their records and bytes."""

    run_id: UUID
    name: str
    segments: int = 0
    records: int = 0
    size: int = 0


def clear(
    delivery: Delivery, now_ns: int, age_s: float, *, only: Set[UUID] | None = None, dry_run: bool = False
) -> list[Candidate]:
    """Prune what may go of the runs older than ``age_s`` (or of ``only``); all of these come back, each that
    is still here with the reason in ``kept``.

    A run that was not verified of late is verified first. Raises StoreError, OSError, :class:`sqlite3.Error`.
    """
    candidates: list[Candidate] = []
    going: list[Candidate] = []
    is_its_own = delivery.prover().ledger.destination == delivery.place
    for candidate, is_verified in plan(delivery.log_dir, now_ns, age_s, only):
        candidates.append(candidate)
        if not candidate.kept and not is_its_own:
            candidate.kept = "it was delivered to another Cassandra"
        if not candidate.kept and not is_verified and not dry_run:
            proof = delivery.prove(candidate.run_id)
            if proof.faults or proof.open:
                candidate.kept = "it is not in Cassandra as it was logged: canopy verify names what is wrong"
        if not candidate.kept and not dry_run:
            going.append(candidate)
        if len(going) == RUNS_AT_ONCE:
            _prune(delivery, age_s, going)
            going.clear()
    if going:
        _prune(delivery, age_s, going)
    return candidates


def _prune(delivery: Delivery, age_s: float, going: list[Candidate]) -> None:
    runs = [str(candidate.run_id) for candidate in going]
    delivery.tell(delivery.log_dir, PRUNE, {"destination": delivery.place, "age_s": age_s, "runs": runs})
    for candidate in going:
        if any(stream.directory.exists() for stream in candidate.streams):
            candidate.kept = UNDER_WAY


def clear_segments(
    delivery: Delivery,
    now_ns: int,
    age_s: float,
    *,
    only: Set[UUID] | None = None,
    but: Set[UUID] = frozenset(),
    dry_run: bool = False,
) -> list[Shortened]:
    """Prune the segments that may go of runs that stay: of all, or of ``only``, ``but`` not of these.

    Those not verified of late are read back first; a ``dry_run`` takes them for fine. Raises like
    :func:`clear`.
    """
    if delivery.prover().ledger.destination != delivery.place:
        return []
    found: dict[UUID, Shortened] = {}
    going: list[PrunableSegment] = []
    proven: list[PrunableSegment] = []

    def go() -> None:
        if going and not dry_run:
            _prune_segments(delivery, age_s, proven, going)
        for segment in going:
            if dry_run or _is_pruned(segment):
                run = found.setdefault(segment.run_id, Shortened(segment.run_id, segment.name))
                run.segments += 1
                run.records += segment.seal.count
                run.size += segment.size
        going.clear()
        proven.clear()

    for segment, is_verified in plan_segments(delivery.log_dir, now_ns, age_s, only):
        if segment.run_id in but:
            continue
        if not dry_run and not delivery.prove_segment(segment, is_verified=is_verified):
            continue
        going.append(segment)
        if not is_verified:
            proven.append(segment)
        if len(going) == SEGMENTS_AT_ONCE:
            go()
    go()
    return list(found.values())


def _prune_segments(
    delivery: Delivery, age_s: float, proven: list[PrunableSegment], going: list[PrunableSegment]
) -> None:
    at_ns = time.time_ns()
    verified = [[str(one.stream_id), one.number, one.first_seq, one.last_seq, at_ns] for one in proven]
    delivery.tell(delivery.log_dir, VERIFIED, {"destination": delivery.place, "segments": verified})
    segments = [[str(one.run_id), str(one.stream_id), one.number] for one in going]
    content = {"destination": delivery.place, "age_s": age_s, "segments": segments}
    delivery.tell(delivery.log_dir, PRUNE_SEGMENTS, content)


def _is_pruned(segment: PrunableSegment) -> bool:
    """Whether the syncer has come to it."""
    try:
        meta = journal.read_meta(segment.path)
    except UNREADABLE:
        return False
    return meta is not None and meta.receipt is not None
