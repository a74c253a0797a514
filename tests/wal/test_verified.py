"""How far streams were verified: kept in ``state.db`` by the syncer, read by everybody else."""

from __future__ import annotations

from pathlib import Path

from wal.reading.acks import Acks, Verified
from wal.record import uuid7
from wal.shipping.cursors import State, VerifiedSegment


def test_a_stream_is_verified_as_far_as_its_segments_are_without_a_gap(tmp_path: Path) -> None:
    whole, holed, late = uuid7(), uuid7(), uuid7()
    state = State(tmp_path)
    for segment in (
        VerifiedSegment(whole, 2, 101, 200, at_ns=7), VerifiedSegment(whole, 1, 1, 100, at_ns=9),
        VerifiedSegment(holed, 1, 1, 100, at_ns=5), VerifiedSegment(holed, 3, 201, 300, at_ns=8),
        VerifiedSegment(late, 2, 101, 200, at_ns=5),
    ):  # fmt: skip
        state.put_verified(segment)
    state.commit()
    assert state.verified(holed)[3].last_seq == 300
    acks = Acks(tmp_path)
    acks.poll()
    assert acks.verified(whole) == Verified(200, 9)
    assert acks.verified(holed) == Verified(100, 5)
    assert acks.verified(late) is None
    state.start_over()  # another Cassandra: nobody has looked at what it holds
    acks.poll()
    assert acks.verified(whole) is None
    state.close()
