"""What other processes ask of the syncer: done once it is durable, by it or, without one, by who asks."""

from __future__ import annotations

from pathlib import Path

from helpers.logs import write_run
from helpers.syncing import step_until

from wal.link import Target
from wal.reading.acks import Acks
from wal.record import uuid7
from wal.settings import Settings
from wal.shipping import inbox
from wal.shipping.cursors import SegmentState, State, StreamState
from wal.shipping.errands import RESEND, RETRY, VERIFIED, deliver
from wal.syncer import Syncer

PLACE = "cascor 1"


def remembered(log_dir: Path, *streams: tuple[object, object]) -> None:
    """A ``state.db`` in which these (run, stream) were shipped to their end."""
    state = State(log_dir)
    state.put_destination(PLACE)
    for run_id, stream_id in streams:
        state.put_stream(
            StreamState(stream_id, run_id, base_us=1_000, registered=True, end_shipped=True, announced=21)  # type: ignore[arg-type]
        )
        state.put_segment(SegmentState(stream_id, 1, 1, 20, stated=True))  # type: ignore[arg-type]
        state.put_rejected(stream_id, 7, "too large", 5)  # type: ignore[arg-type]
    state.commit()
    state.close()


def test_without_a_syncer_it_is_done_at_once(tmp_path: Path) -> None:
    run_id, stream_id = uuid7(), uuid7()
    remembered(tmp_path, (run_id, stream_id))
    told = {"destination": PLACE, "segments": [[str(stream_id), 1, 1, 20, 9]]}
    assert deliver(tmp_path, VERIFIED, told)
    assert deliver(tmp_path, VERIFIED, {**told, "destination": "another", "segments": [[str(stream_id), 2]]})
    acks = Acks(tmp_path)
    acks.poll()
    verified = acks.verified(stream_id)
    assert verified is not None
    assert (verified.seq, inbox.waiting(tmp_path)) == (20, False)


def test_a_running_syncer_does_it_and_goes_on_from_there(tmp_path: Path) -> None:
    run_id, stream_id = write_run(tmp_path, ({"x": float(n)} for n in range(20)))
    remembered(tmp_path, (run_id, stream_id))
    target = Target(Settings(flush_interval=0.02), None)
    syncer = Syncer(tmp_path, lambda _: None, lambda: target)  # type: ignore[arg-type, return-value]
    step_until(syncer, lambda outcome: not outcome.unpaged)
    assert syncer.backlog.waiting == 0
    inbox.post(tmp_path, RESEND, {"bases": {str(stream_id): 2_000}})
    outcome = step_until(syncer, lambda outcome: outcome.waiting > 0)
    assert (outcome.waiting, outcome.rejected) == (20, 0)
    stream = syncer.backlog.streams[stream_id]
    assert (stream.remembered.base_us, stream.remembered.registered) == (2_000, False)
    syncer.close()
    state = State(tmp_path)
    assert state.streams()[stream_id].base_us == 2_000
    state.close()


def test_what_was_set_aside_becomes_doubtful(tmp_path: Path) -> None:
    run_id, stream_id = uuid7(), uuid7()
    remembered(tmp_path, (run_id, stream_id))
    assert deliver(tmp_path, RETRY, {"records": [[str(stream_id), 7]]})
    state = State(tmp_path)
    assert state.rejected_count() == 0
    assert [(doubt.segment, doubt.first_seq, doubt.last_seq) for doubt in state.doubts()] == [(1, 7, 7)]
    state.close()


def test_a_message_that_makes_no_sense_is_taken_away(tmp_path: Path) -> None:
    remembered(tmp_path)
    nonsense = ((RESEND, {"bases": "all"}), ("dance", {}), (RETRY, {"records": [["no uuid", 1]]}))
    for errand, content in nonsense:
        assert deliver(tmp_path, errand, content)
    (tmp_path / inbox.INBOX / "1.json").write_text("{")
    assert list(inbox.messages(tmp_path)) == []
    assert not inbox.waiting(tmp_path)
