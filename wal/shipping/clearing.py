"""Making room: proving which runs may go, and having them pruned. The looking is anybody's, the unlinking is
done by whoever is the syncer (:mod:`wal.shipping.errands`)."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from uuid import UUID

from wal.shipping.delivery import Delivery
from wal.shipping.errands import PRUNE, deliver
from wal.shipping.pruning import Candidate, plan

Tell = Callable[[Path, str, Mapping[str, object]], object]
"""Has an errand done; see :func:`wal.shipping.errands.deliver`."""


def clear(
    delivery: Delivery,
    now_ns: int,
    age_s: float,
    *,
    only: UUID | None = None,
    dry_run: bool = False,
    tell: Tell = deliver,
) -> list[Candidate]:
    """Prune what may go of the runs older than ``age_s`` (or of the run ``only``); all of these come back,
    each that is still here with the reason in ``kept``.

    A run that was not verified of late is verified first. Raises StoreError, OSError, :class:`sqlite3.Error`.
    """
    candidates: list[Candidate] = []
    for candidate, is_verified in plan(delivery.log_dir, now_ns, age_s):
        if only is not None and candidate.run_id != only:
            continue
        candidates.append(candidate)
        if not candidate.kept and delivery.prover().ledger.destination != delivery.place:
            candidate.kept = "it was delivered to another Cassandra"
        if not candidate.kept and not is_verified and not dry_run:
            proof = delivery.prove(candidate.run_id)
            if proof.faults or proof.open:
                candidate.kept = "it is not in Cassandra as it was logged: canopy verify names what is wrong"
    going = [candidate for candidate in candidates if not candidate.kept]
    if going and not dry_run:
        runs = [str(candidate.run_id) for candidate in going]
        tell(delivery.log_dir, PRUNE, {"destination": delivery.place, "age_s": age_s, "runs": runs})
        for candidate in going:
            if any(stream.directory.exists() for stream in candidate.streams):
                candidate.kept = "the syncer has not come to it yet, or something was logged meanwhile"
    return candidates
