"""The proof of delivery of whole runs: each of their streams, and whether one is a copy of another."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING
from uuid import UUID

from wal.segments.segment import stream_dirs
from wal.shipping.expecting import Expected, expected_of
from wal.shipping.ledger import Ledger
from wal.shipping.loading import CHUNK_RECORDS
from wal.shipping.verifying import StreamProof, StreamVerifier

if TYPE_CHECKING:
    from wal.cassandra.proofreads import ProofReader

STRAYS_READ = 1_000
"""Partitions that nobody announced, of which the rows are read; more are a sign of something else at work."""


@dataclass(slots=True)
class RunProof:
    """What was found of a run, by stream in the order of their start. ``stray``: nobody announced it, a scan
    of the table found it."""

    run_id: UUID
    streams: list[StreamProof]
    stray: bool = False

    @property
    def faults(self) -> bool:
        return self.stray or any(stream.faults for stream in self.streams)

    @property
    def open(self) -> bool:
        """Whether something is still to be delivered."""
        return any(stream.open for stream in self.streams)

    @property
    def rejected(self) -> int:
        """Records that are set aside."""
        return sum(stream.rejected.count for stream in self.streams)

    @property
    def rows(self) -> int:
        """Rows that were read."""
        return sum(stream.rows for stream in self.streams)

    @property
    def complete(self) -> int:
        """Records that are in Cassandra as they were logged."""
        return sum(stream.complete.count for stream in self.streams)


@dataclass(slots=True)
class Prover:
    """Proves the runs of one log directory and one keyspace. ``ledger`` is what ``state.db`` says, about this
    very keyspace (else give an empty one: nothing was delivered to it). ``on_rows`` is told of rows read."""

    reader: ProofReader
    log_dir: Path
    ledger: Ledger
    on_rows: Callable[[int], None] = lambda _: None
    _ttl_s: int | None = None
    _local: dict[UUID, dict[UUID, Path]] | None = None
    _known: dict[tuple[UUID, UUID], int] = field(default_factory=dict[tuple[UUID, UUID], int])
    _totals: dict[tuple[int, int], tuple[UUID, UUID]] = field(
        default_factory=dict[tuple[int, int], tuple[UUID, UUID]]
    )

    def run(self, run_id: UUID) -> RunProof:
        """Prove one run. Raises :class:`wal.cassandra.trouble.StoreError`."""
        streams = [self._stream(expected) for expected in self._expected(run_id)]
        self._find_copies(streams)
        return RunProof(run_id, streams)

    def everything(self) -> Iterator[RunProof]:
        """Prove every run that the log or Cassandra has, newest first, then whatever else lies in the table.
        Raises like :meth:`run`."""
        local = {run_id for run_id, _, _ in stream_dirs(self.log_dir)}
        for run_id in sorted(local | self.reader.run_ids(), key=lambda run_id: run_id.int, reverse=True):
            yield self.run(run_id)
        yield from self._strays()

    # -- one run -------------------------------------------------------------------------------------

    def _expected(self, run_id: UUID) -> list[Expected]:
        stated = self.reader.streams(run_id)
        directories = self._directories(run_id)
        known = {stream_id for stream_id, of_run in self.ledger.runs.items() if of_run == run_id}
        found: list[Expected] = []
        for stream_id in sorted(stated.keys() | directories.keys() | known, key=lambda one: one.int):
            segments = self.reader.segments(run_id, stream_id)
            found.append(
                expected_of(
                    run_id,
                    stream_id,
                    directories.get(stream_id),
                    self.ledger,
                    stated.get(stream_id),
                    segments,
                )
            )
        return found

    def _directories(self, run_id: UUID) -> dict[UUID, Path]:
        if self._local is None:
            self._local = {}
            for of_run, stream_id, directory in stream_dirs(self.log_dir):
                self._local.setdefault(of_run, {})[stream_id] = directory
        return self._local.get(run_id, {})

    def _stream(self, expected: Expected) -> StreamProof:
        if self._ttl_s is None:
            self._ttl_s = self.reader.ttl_s()
        now_ns = self.reader.server_ns() if self._ttl_s else 0
        verifier = StreamVerifier(
            self.reader, expected, ttl_s=self._ttl_s, now_ns=now_ns, on_rows=self.on_rows
        )
        proof = verifier.prove()
        newest = max((last for _, last in proof.added), default=proof.last_seq)
        self._known[expected.run_id, expected.stream_id] = max(proof.last_seq, newest) // CHUNK_RECORDS + 1
        return proof

    def _find_copies(self, streams: list[StreamProof]) -> None:
        """Streams with the very rows of another: one that the log has is the original, else the older."""
        for proof in sorted(
            streams, key=lambda proof: (not proof.expected.local, proof.expected.stream_id.int)
        ):
            if not proof.rows:
                continue
            key = (proof.rows, proof.total)
            original = self._totals.setdefault(key, (proof.expected.run_id, proof.expected.stream_id))
            if original[1] != proof.expected.stream_id:
                proof.repeats = original[1]

    # -- what nobody announced -----------------------------------------------------------------------

    def _strays(self) -> Iterator[RunProof]:
        """Partitions that belong to no known stream, or lie outside of what theirs should have."""
        found: dict[tuple[UUID, UUID], set[int]] = {}
        count = 0
        for run_id, stream_id, chunk in self.reader.partitions():
            if not 0 <= chunk <= self._known.get((run_id, stream_id), -1):
                found.setdefault((run_id, stream_id), set()).add(chunk)
                count += 1
                if count >= STRAYS_READ:
                    break
        for (run_id, stream_id), chunks in found.items():
            stated = {expected.stream_id: expected for expected in self._expected(run_id)}
            expected = stated.get(stream_id)
            announced = expected is not None  # since the run was proven, or it has rows where none belong
            if expected is None:
                expected = Expected(run_id, stream_id)
            expected.stray_chunks = chunks
            proof = self._stream(expected)
            self._find_copies([proof])
            if proof.rows and (proof.faults or not announced):
                yield RunProof(run_id, [proof], stray=not announced)
