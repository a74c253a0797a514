"""What is known of a stream without asking Cassandra: its seed, and how many records were acknowledged."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from uuid import UUID

from helpers.waiting import stream_records

from faults.records import Logged, record

Key = tuple[UUID, UUID, int]
"""(run, stream, seq)."""


@dataclass(frozen=True)
class Truth:
    """One stream: its records are those of ``seed``; of ``acked`` of them, log() had returned the number."""

    run_id: UUID
    stream_id: UUID
    seed: int
    acked: int
    directory: Path

    @cached_property
    def committed(self) -> int:
        """Records in the log: those acknowledged, and one more when the writer was killed in between."""
        seqs = [found.seq for found in stream_records(self.directory)]
        assert seqs == list(range(1, len(seqs) + 1)), f"{self.directory}: a hole in the log"
        assert self.acked <= len(seqs) <= self.acked + 1, f"{self.directory}: {len(seqs)} of {self.acked}"
        return len(seqs)

    def records(self) -> Iterable[tuple[Key, Logged]]:
        for seq in range(1, self.committed + 1):
            yield (self.run_id, self.stream_id, seq), record(self.seed, seq)
