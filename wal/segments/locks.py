"""The two locks that every write to the log goes through, and what a fork does to them.

A fork while another thread is inside SQLite leaves the child with SQLite's own mutexes held for ever. So no
thread is inside SQLite at a fork: the hooks take both locks before it and release them after it.

``APPEND`` guards the live segments and is all that a ``log()`` call ever waits for. ``MAINTENANCE`` guards
every other connection (the next segment being made, old ones being sealed), so that a checkpoint never holds
up a call. No thread waits for one while it holds the other, hence no order in which a deadlock is possible.
Both are re-entrant: a signal handler, a finaliser or a fork may come upon a thread that holds one. One that
ends the run waits for the background thread, which may be waiting for that very lock: see :class:`Yielding`.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from typing import Protocol

APPEND = threading.RLock()
MAINTENANCE = threading.RLock()

YIELD_LOOK_SECONDS = 0.05
"""How often a :class:`Yielding` lock that is held by somebody else asks whether to go on waiting."""

_in_child: list[Callable[[], None]] = []
_leaked: list[object] = []


class _Lock(Protocol):
    def acquire(self, blocking: bool = ..., timeout: float = ...) -> bool: ...
    def release(self) -> None: ...


class GivenUp(BaseException):
    """A :class:`Yielding` lock was not to be had. Not an Exception: what deals with the errors of a disk is
    not to take it for one."""


class Yielding:
    """A lock, for ``with``, that is waited for only as long as ``gives_up()`` is false.

    Raises :class:`GivenUp` else, and never when the lock is free.
    """

    __slots__ = ("_gives_up", "_lock")

    def __init__(self, lock: _Lock, gives_up: Callable[[], bool]) -> None:
        self._lock = lock
        self._gives_up = gives_up

    def __enter__(self) -> None:
        while not self._lock.acquire(timeout=YIELD_LOOK_SECONDS):
            if self._gives_up():
                raise GivenUp

    def __exit__(self, *_: object) -> None:
        self._lock.release()


def in_forked_child(callback: Callable[[], None]) -> None:
    """Run ``callback`` in every forked child before anything else can log there."""
    _in_child.append(callback)


def leak(thing: object) -> None:
    """Keep ``thing`` for the rest of the process, beyond the end of the interpreter.

    For connections that must never be closed here: one inherited over a fork is its parent's (closing it
    would checkpoint and unlink under the parent), one to a deleted directory would unlink by path whatever
    now lies there.
    """
    _leaked.append(thing)
    try:
        import ctypes  # only here: it costs a few milliseconds, and minimal builds lack it

        ctypes.pythonapi.Py_IncRef(ctypes.py_object(thing))
    except (ImportError, AttributeError):
        return  # the list keeps it until the interpreter ends


def _before() -> None:
    MAINTENANCE.acquire()
    APPEND.acquire()


def _after_in_parent() -> None:
    APPEND.release()
    MAINTENANCE.release()


def _after_in_child() -> None:
    try:
        for callback in _in_child:
            callback()
    finally:
        _after_in_parent()


os.register_at_fork(before=_before, after_in_parent=_after_in_parent, after_in_child=_after_in_child)
