"""Calls that cannot be committed now, in call order, in bounded memory. Standard library only."""

from __future__ import annotations

import sys
from collections import deque

from wal.record import Kind, pack_texts, packer

Call = tuple[Kind, int, int, tuple[str, ...], bytes]
"""kind, step, ts (ns), names in key order, packed body: a record that has no seq yet."""

CALL_OVERHEAD_BYTES = 200
"""A queued call beside its body: a tuple, two integers, its place in the queue."""

GAP_NAMES = ("dropped",)
OVERFLOW_REASON = "the log could not be written, and the memory for waiting calls was full"


class Gap:
    """Calls dropped at this place in the order."""

    __slots__ = ("dropped", "step", "ts")

    def __init__(self, step: int, ts: int) -> None:
        self.step = step
        self.ts = ts
        self.dropped = 0


def gap_call(step: int, ts: int, dropped: int, reason: str) -> Call:
    """The record that says how many calls are missing here, and why."""
    return Kind.GAP, step, ts, GAP_NAMES, packer(1).pack(dropped) + pack_texts({"reason": reason})


class Spill:
    """A queue of calls holding at most ``max_bytes``.

    Beyond that, calls are dropped and counted at their place in the order until half of the memory is free
    again, so that one full disk leaves one gap and not thousands.
    """

    def __init__(self, max_bytes: int) -> None:
        self._max_bytes = max_bytes
        self._bytes = 0
        self._dropping = False
        self._queue: deque[Call | Gap] = deque()

    def __len__(self) -> int:
        return len(self._queue)

    def add(self, call: Call) -> None:
        """Queue a call behind the others, or count it as dropped."""
        if self._dropping and self._bytes > self._max_bytes // 2:
            self._drop(call)
            return
        self._dropping = False
        size = CALL_OVERHEAD_BYTES + sys.getsizeof(call[4])
        if self._bytes + size > self._max_bytes:
            self._dropping = True
            self._drop(call)
            return
        self._bytes += size
        self._queue.append(call)

    def _drop(self, call: Call) -> None:
        last = self._queue[-1] if self._queue else None
        if not isinstance(last, Gap):
            last = Gap(step=call[1], ts=call[2])
            self._queue.append(last)
        last.dropped += 1

    @property
    def head(self) -> Call | Gap | None:
        """The oldest call, or what stands for the dropped ones; None when empty."""
        return self._queue[0] if self._queue else None

    def remove(self, head: Call | Gap | None) -> None:
        """Take away the head, once it is committed; nothing if it was taken away already."""
        if not self._queue or self._queue[0] is not head:
            return
        self._queue.popleft()
        if not isinstance(head, Gap | None):
            self._bytes -= CALL_OVERHEAD_BYTES + sys.getsizeof(head[4])


def call_of(head: Call | Gap) -> Call:
    """The call itself, or the record that says how many are missing."""
    if isinstance(head, Gap):
        return gap_call(head.step, head.ts, head.dropped, OVERFLOW_REASON)
    return head
