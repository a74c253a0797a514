"""Ending the demo whatever ends it: ctrl-c, a kill, a terminal that is closed."""

from __future__ import annotations

import signal
import sys
from collections.abc import Generator
from contextlib import contextmanager
from types import FrameType

_LEAVING = (signal.SIGTERM, signal.SIGHUP)


def leave_on_signals() -> None:
    """Let a kill and a closed terminal do what ctrl-c does: unwind the main thread."""
    for number in _LEAVING:
        signal.signal(number, _leave)


def _leave(number: int, _frame: FrameType | None) -> None:
    sys.exit(128 + number)


@contextmanager
def undisturbed() -> Generator[None]:
    """Ignore such signals while things are being stopped: a second ctrl-c must not leave half of them.

    To be used in the main thread.
    """
    before = {number: signal.signal(number, signal.SIG_IGN) for number in (signal.SIGINT, *_LEAVING)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
