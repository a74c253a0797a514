"""Work off the screen's thread that never keeps the app from ending.

Textual's thread workers run in an executor whose threads are waited for at exit, so one hung read would
hold the user's shell for as long as it hangs. Daemon threads are not waited for.
"""

from __future__ import annotations

import contextvars
import threading
from collections.abc import Callable
from dataclasses import dataclass

from textual.message import Message
from textual.message_pump import MessagePump

from canopy_tui.messages import SourceFailed
from wal.source import SourceError

Work = Callable[[], Message | None]


@dataclass
class _Lane:
    """The jobs of one key: one under way and at most one waiting, the newest asked for."""

    waiting: tuple[Work, MessagePump] | None = None


class Background:
    """Runs jobs on daemon threads and posts the one message that each returns.

    Jobs of one key run one after the other; of those that wait only the newest is kept, since each answers
    "what is it now". A job that returns None posts nothing.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._lanes: dict[str, _Lane] = {}
        self._closed = False

    def submit(self, key: str, work: Work, target: MessagePump) -> None:
        """Run ``work`` soon and post its message to ``target``. To be called on the screen's thread."""
        with self._lock:
            if self._closed:
                return
            lane = self._lanes.get(key)
            if lane is not None:
                lane.waiting = (work, target)
                return
            self._lanes[key] = _Lane()
        context = contextvars.copy_context()
        thread = threading.Thread(
            target=context.run, args=(self._run, key, work, target), name=f"canopy-{key}", daemon=True
        )
        thread.start()

    def busy(self, key: str | None = None) -> bool:
        """Whether a job (of ``key``) is under way."""
        with self._lock:
            return key in self._lanes if key is not None else bool(self._lanes)

    def close(self) -> None:
        """Start nothing more and post nothing more. What is under way is left to itself."""
        with self._lock:
            self._closed = True
            for lane in self._lanes.values():
                lane.waiting = None

    def _run(self, key: str, work: Work, target: MessagePump) -> None:
        while True:
            message = _outcome(key, work)
            if message is not None and not self._closed:
                try:
                    target.post_message(message)
                except RuntimeError:
                    return  # the event loop has closed between the question and the answer
            with self._lock:
                lane = self._lanes[key]
                if lane.waiting is None:
                    del self._lanes[key]
                    return
                work, target = lane.waiting
                lane.waiting = None


def _outcome(key: str, work: Work) -> Message | None:
    try:
        return work()
    except SourceError as error:
        return SourceFailed(key, str(error))
    except Exception as error:  # noqa: BLE001 - a thread's traceback would be written across the screen
        return SourceFailed(key, f"{type(error).__name__}: {error} (please report this)")
