"""Making room: proving which runs may go, and having them pruned. The looking is anybody's, the unlinking is
done by whoever is the syncer (:mod:`wal.shipping.errands`)."""

from __future__ import annotations

from collections.abc import Set
from uuid import UUID

from wal.shipping.delivery import Delivery
from wal.shipping.errands import PRUNE
from wal.shipping.pruning import Candidate, plan

RUNS_AT_ONCE = 16
"""Runs pruned by one errand: a syncer that ships is not held up for long."""


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
            candidate.kept = "the syncer has not come to it yet, or something was logged meanwhile"
