"""With which exit code this process ends, for its run to end with the same. Standard library only.

An exception that reaches the top goes by ``sys.excepthook``, that of ``sys.exit`` does not, and ``atexit`` is
told of neither. So both are wrapped. ``raise SystemExit(3)`` passes nothing that could be wrapped: only a
``with wal.init()`` sees it, as it sees everything that leaves its block.
"""

from __future__ import annotations

import atexit
import sys
from collections.abc import Callable
from types import FrameType, TracebackType
from typing import NoReturn


def at_exit(finish: Callable[[int], None]) -> None:
    """Call ``finish`` with the exit code when this process ends."""
    failure = 0
    asked_for: tuple[int, FrameType] | None = None
    show, leave = sys.excepthook, sys.exit

    def note_failure(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
        nonlocal failure
        failure = exit_code_of(error)
        show(kind, error, trace)

    def note_exit(status: object = None, /) -> NoReturn:
        nonlocal asked_for
        asked_for = exit_code_of(SystemExit(status)), _outermost(sys._getframe())  # pyright: ignore[reportPrivateUsage]
        leave(status)  # pyright: ignore[reportArgumentType] - whatever it takes

    def end() -> None:
        left = failure == 0 and asked_for is not None and _was_left_by_exception(asked_for[1])
        finish(asked_for[0] if left and asked_for is not None else failure)

    sys.excepthook, sys.exit = note_failure, note_exit
    atexit.register(end)


def exit_code_of(error: BaseException | None) -> int:
    """The exit code, as the parent process sees it, of an exception at the top of a program; 0 for none."""
    if error is None:
        return 0
    if isinstance(error, SystemExit):
        return error.code & 0xFF if isinstance(error.code, int) else int(error.code is not None)
    return 130 if isinstance(error, KeyboardInterrupt) else 1


def _outermost(frame: FrameType) -> FrameType:
    """Where an exception ends that nobody catches: the main module, or the start of a thread."""
    while frame.f_back is not None:
        frame = frame.f_back
    return frame


def _was_left_by_exception(frame: FrameType) -> bool:
    """Whether a frame that has ended did not end by returning: then nobody caught the ``SystemExit``.

    A script that catches it (around an argument parser, say) goes on and may end well; in a thread it ends
    the thread alone.
    """
    import opcode  # only here: at the end

    return not opcode.opname[frame.f_code.co_code[frame.f_lasti]].startswith("RETURN")
