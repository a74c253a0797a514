"""Carrying out what others ask of the syncer (:mod:`wal.shipping.inbox`), and asking for it."""

from __future__ import annotations

import logging
import sqlite3
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any
from uuid import UUID

from wal.shipping import daemon, inbox
from wal.shipping.cursors import Doubt, State, VerifiedSegment
from wal.shipping.expecting import UNREADABLE
from wal.shipping.pruning import Pruner

log = logging.getLogger("wal.syncer")

VERIFIED, RESEND, RETRY, PRUNE = "verified", "resend", "retry", "prune"
PRUNE_SEGMENTS = "prune segments"

Tell = Callable[[Path, str, Mapping[str, object]], object]
"""Has an errand done in a log directory: :func:`deliver`, or in the syncer, which must not ask for its own
lock, :func:`wal.shipping.inbox.post`."""

POLL_S = 0.05
PATIENCE_S = 30.0
"""How long it is waited for a syncer that is busy with a request of its own."""


class Errands:
    """The messages in one log directory. The caller holds its lock. ``on_step`` as in
    :class:`wal.shipping.pruning.Pruner`."""

    def __init__(self, log_dir: Path, state: State, on_step: Callable[[str], None] = lambda _: None) -> None:
        self._on_step = on_step
        self._log_dir = log_dir
        self._state = state
        self._known: dict[str, Callable[[Mapping[str, Any]], bool]] = {
            VERIFIED: self._verified,
            RESEND: self._resend,
            RETRY: self._retry,
            PRUNE: self._prune,
            PRUNE_SEGMENTS: self._prune_segments,
        }

    def run(self) -> bool:
        """Carry out what there is. True when ``state.db`` says something else now than a syncer remembers.

        Raises :class:`sqlite3.Error` when it cannot be written; the message stays then.
        """
        changed = False
        if not inbox.waiting(self._log_dir):
            return changed
        for path, errand, content in inbox.messages(self._log_dir):
            carry_out = self._known.get(errand)
            try:
                if carry_out is not None:
                    changed |= carry_out(content)
            except (KeyError, TypeError, ValueError, AttributeError) as error:
                log.warning("%s asks for something that cannot be done (%r): it is ignored", path, error)
            self._state.commit()
            path.unlink(missing_ok=True)
        return changed

    def _verified(self, content: Mapping[str, Any]) -> bool:
        if content["destination"] == self._state.destination:  # else it is about another Cassandra
            for stream, number, first, last, at_ns in content["segments"]:
                self._state.put_verified(
                    VerifiedSegment(UUID(stream), int(number), int(first), int(last), int(at_ns))
                )
        return False

    def _resend(self, content: Mapping[str, Any]) -> bool:
        bases = {UUID(stream): int(base_us) for stream, base_us in content["bases"].items()}
        self._state.send_again(bases)
        for stream_id in bases:  # so that one that was logged offline is not left alone
            self._state.put_doubt(Doubt(stream_id, 1, _mark(), 1, 1))
        log.info("%d streams are sent again", len(bases))
        return True

    def _retry(self, content: Mapping[str, Any]) -> bool:
        by_segment: dict[tuple[UUID, int], list[int]] = {}
        for stream, seq in content["records"]:
            stream_id = UUID(stream)
            cursors = [c for c in self._state.segments(stream_id) if c.first_seq <= int(seq)]
            if cursors:
                by_segment.setdefault((stream_id, cursors[-1].segment), []).append(int(seq))
        mark = _mark()
        for (stream_id, segment), seqs in by_segment.items():
            self._state.retry(Doubt(stream_id, segment, mark, min(seqs), max(seqs)), seqs)
        return bool(by_segment)

    def _prune(self, content: Mapping[str, Any]) -> bool:
        """Take runs off this machine, as far as nothing speaks against it now."""
        if content["destination"] != self._state.destination:
            return False
        runs = {UUID(run) for run in content["runs"]}
        self._state.commit()
        pruner = Pruner(self._log_dir, self._state, time.time_ns(), self._on_step)
        pruner.sweep()
        for found in pruner.candidates(float(content["age_s"]), runs):
            if not found.kept and pruner.is_verified(found):
                try:
                    pruner.prune(found)
                except OSError as error:
                    log.warning("run %s cannot be pruned (%s): it is tried again", found.run_id, error)
                    continue
                log.info("Run %s pruned: %d records, %d bytes", found.run_id, found.records, found.size)
        return False

    def _prune_segments(self, content: Mapping[str, Any]) -> bool:
        """Take segments of runs that stay off this machine, as far as nothing speaks against it now."""
        from wal.shipping.segmentpruning import SegmentPruner  # numpy: no other errand needs it

        if content["destination"] != self._state.destination:
            return False
        wanted: dict[tuple[UUID, UUID], list[int]] = {}
        for run, stream, number in content["segments"]:
            wanted.setdefault((UUID(run), UUID(stream)), []).append(int(number))
        self._state.commit()
        now_ns = time.time_ns()
        pruner = SegmentPruner(self._log_dir, self._state, now_ns, self._on_step)
        for (run_id, stream_id), numbers in wanted.items():
            count = 0
            for found in pruner.of_stream(float(content["age_s"]), run_id, stream_id, sorted(numbers)):
                try:
                    if pruner.is_verified(found):
                        pruner.prune(found)
                        count += 1
                except (*UNREADABLE, sqlite3.Error) as error:
                    log.warning("%s cannot be pruned (%s): it is tried again", found.path, error)
            log.info("Run %s: %d segments of stream %s pruned", run_id, count, stream_id)
        Pruner(self._log_dir, self._state, now_ns, self._on_step).sweep()
        return False


def _mark() -> int:
    """The name of a doubt that no acknowledgement's can be: those are not negative."""
    return -time.time_ns()


def deliver(log_dir: Path, errand: str, content: Mapping[str, object]) -> bool:
    """Have something done by the syncer that runs, or by this process where none does. False when the syncer
    has not come to it in :data:`PATIENCE_S`; it will, later. Raises OSError and :class:`sqlite3.Error`."""
    path = inbox.post(log_dir, errand, content)
    deadline = time.monotonic() + PATIENCE_S
    nudged = False
    while path.exists():
        lock = daemon.Lock(log_dir)
        if lock.acquire():
            try:
                _carry_out(log_dir)
            finally:
                lock.release()
            continue
        nudged = nudged or daemon.nudge(log_dir)
        if time.monotonic() >= deadline:
            return False
        time.sleep(POLL_S)
    return True


def _carry_out(log_dir: Path) -> None:
    state = State(log_dir)
    try:
        Errands(log_dir, state).run()
    finally:
        state.close()
