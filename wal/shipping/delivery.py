"""What was delivered and how to mend it: proving runs against one Cassandra, noting what is proven, sending
again what this machine's log still has."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING
from uuid import UUID

from wal.segments.segment import stream_dirs
from wal.shipping.errands import RESEND, VERIFIED, Tell, deliver
from wal.shipping.ledger import Ledger, read_ledger
from wal.shipping.proof import Prover, RunProof
from wal.shipping.ranges import Ranges
from wal.source import SourceError

if TYPE_CHECKING:
    from wal.cassandra.store import CassandraStore
    from wal.shipping.segmentpruning import PrunableSegment

EXIT_VERIFIED, EXIT_FAULTY, EXIT_BACKLOG, EXIT_REJECTED = 0, 1, 2, 3
"""What a proof comes to, as an exit code: the gravest that holds."""


RUNS_PER_NOTE = 64
"""Runs whose verified streams are noted together: each time is an fsync or two."""


class CannotResend(SourceError):
    """Nothing of the run can be sent from here. The message says why."""


def exit_code(faults: bool, backlog: bool, rejected: int) -> int:
    """Rows that are lost or changed, records that are still to be delivered, records that were refused."""
    if faults:
        return EXIT_FAULTY
    if backlog:
        return EXIT_BACKLOG
    return EXIT_REJECTED if rejected else EXIT_VERIFIED


class Delivery:
    """One log directory and one Cassandra. ``on_rows`` is told how many rows of a stream were read; ``tell``
    has the syncer do what only it may."""

    def __init__(
        self,
        log_dir: Path,
        store: CassandraStore,
        on_rows: Callable[[int], None] = lambda _: None,
        tell: Tell = deliver,
    ) -> None:
        from wal.cassandra.place import identity
        from wal.cassandra.proofreads import ProofReader

        self.log_dir = log_dir
        self.store = store
        self.tell = tell
        self.place = identity(store)
        self._reader = ProofReader(store)
        self._on_rows = on_rows

    # -- proving -------------------------------------------------------------------------------------

    def prover(self) -> Prover:
        """Proves by what is known now. Of another Cassandra than the syncer's, nothing is known."""
        ledger = read_ledger(self.log_dir)
        if ledger.destination != self.place:
            ledger = Ledger()
        return Prover(self._reader, self.log_dir, ledger, self._on_rows)

    def prove(self, run_id: UUID) -> RunProof:
        """Prove one run and note what is verified. Raises :class:`wal.cassandra.trouble.StoreError`."""
        proof = self.prover().run(run_id)
        self.note([proof])
        return proof

    def prove_all(self) -> Iterator[RunProof]:
        """Prove everything; what is verified is noted every so many runs."""
        proven: list[RunProof] = []
        try:
            for proof in self.prover().everything():
                proven.append(proof)
                if len(proven) == RUNS_PER_NOTE:
                    self.note(proven)
                    proven.clear()
                yield proof
        finally:
            self.note(proven)

    def note(self, proofs: Iterable[RunProof]) -> None:
        """Keep in ``state.db`` how far this machine's streams are verified."""
        at_ns = time.time_ns()
        segments = [
            [str(stream.expected.stream_id), part.number, part.first_seq, last, at_ns]
            for proof in proofs
            for stream in proof.streams
            if stream.expected.local and stream.repeats is None
            for part, last in stream.verified_parts()
        ]
        if segments:
            self.tell(self.log_dir, VERIFIED, {"destination": self.place, "segments": segments})

    def prove_segment(self, segment: PrunableSegment, *, is_verified: bool = False) -> bool:
        """Whether Cassandra has a segment as it was logged, and pages to its end; of one that is verified the
        rows are not read again. Raises like :meth:`prove`."""
        from wal.shipping.segmentpruning import is_delivered, is_paged  # numpy

        return is_paged(self._reader, segment) and (is_verified or is_delivered(self._reader, segment))

    # -- mending -------------------------------------------------------------------------------------

    def mend(self, run_id: UUID, ship: Callable[[], object], *, remove: bool = False) -> RunProof:
        """Send a run again from the log, as often as it takes; the proof of the outcome comes back.

        ``ship`` delivers what waits (as ``canopy sync --once`` does). With ``remove``, rows that are not
        what was logged are deleted first. Every row is sent with the timestamp that it had, so one that is
        there already is not changed. Where something newer stands in the way (a row deleted or changed by
        hand), the streams get a newer base and are sent once more. Raises :class:`CannotResend` and
        StoreError.
        """
        streams = self._streams_here(run_id)
        proof = self.prove(run_id)
        if not proof.faults:
            if proof.open:
                ship()
            return self.prove(run_id) if proof.open else proof
        removed = remove and self._remove(proof)
        # What is logged from now on must be newer than the deletion, or it would be gone with it.
        for newer in (True,) if removed else (False, True):
            base_us = self.store.clock_us() if newer else 0
            self.tell(self.log_dir, RESEND, {"bases": {str(stream): base_us for stream in streams}})
            ship()
            proof = self.prove(run_id)
            if not proof.faults:
                break
        return proof

    def _streams_here(self, run_id: UUID) -> list[UUID]:
        """The streams of a run that can be sent. Raises :class:`CannotResend`."""
        if self.store.deleted_at_us(run_id) is not None:
            raise CannotResend("The run was deleted in Cassandra: it is not sent again.")
        streams = [stream for of_run, stream, _ in stream_dirs(self.log_dir) if of_run == run_id]
        if not streams:
            if run_id in read_ledger(self.log_dir).pruned:
                raise CannotResend(
                    "The run was pruned from this machine once it was verified: the log is gone."
                )
            raise CannotResend(
                f"{self.log_dir} has nothing of this run: the machine that logged it can send it again."
            )
        return streams

    def _remove(self, proof: RunProof) -> bool:
        """Delete rows that nobody logged, as far as the log vouches for it: rows of its own streams that are
        not its records, and streams that are copies of them. False when there are none."""
        from wal.cassandra.removing import remove_rows, remove_stream

        local = {stream.expected.stream_id for stream in proof.streams if stream.expected.local}
        removed = False
        for stream in proof.streams:
            expected = stream.expected
            if stream.repeats in local and not expected.local:
                remove_stream(self.store, expected.run_id, expected.stream_id, stream.last_row)
                removed = True
            elif expected.local and (stream.added or stream.differing):
                differing = Ranges(stream.differing)
                for part in expected.parts:
                    if part.base_us is not None:  # pruned: nobody could send them again
                        differing.remove(part.first_seq, part.last_seq)
                for ranges in (stream.added, differing):
                    remove_rows(self.store, expected.run_id, expected.stream_id, ranges)
                removed = True
        return removed
