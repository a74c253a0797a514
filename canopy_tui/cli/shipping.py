"""Shipping in the foreground: ``canopy sync --once`` and ``--watch``."""

from __future__ import annotations

import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Generator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import click

from canopy_tui.cli.nocassandra import why
from canopy_tui.format import count, duration, plural

if TYPE_CHECKING:
    from wal.reading.acks import Acks
    from wal.syncer import Outcome, Syncer

EXIT_DRAINED, EXIT_BACKLOG, EXIT_REJECTED = 0, 2, 3
"""Exit codes; 1 is any other error."""

GRACE_S = 10.0
"""How long ``--once`` waits for a Cassandra that does not answer: it may just be starting."""

SETTLE_S = 150.0
"""Rows and pages each need a minute without a lost connection, one perhaps after the other, and a look."""

REDRAW_S = 0.2
POLL_S = 0.2
"""How often the progress line is redrawn, and another syncer's status is read."""


class Progress:
    """One line on stderr while it is a terminal: what is left, how fast, how long."""

    def __init__(self) -> None:
        self._shown = sys.stderr.isatty()
        self._next = 0.0

    def show(self, waiting: int, rate: float, detail: str = "") -> None:
        now = time.monotonic()
        if not self._shown or now < self._next:
            return
        self._next = now + REDRAW_S
        text = f"{count(waiting)} records to ship"
        if detail:
            text += f" · {detail}"
        elif rate > 0:
            text += f" · {count(round(rate))}/s · {duration(int(waiting / rate * 1e9))} left"
        click.echo(f"\r\x1b[K{text}", err=True, nl=False)

    def clear(self) -> None:
        if self._shown:
            click.echo("\r\x1b[K", err=True, nl=False)


def ship_once(directory: Path) -> int:
    """Ship everything; returns the exit code. Waits for the syncer in the background if one runs."""
    from wal.shipping import daemon

    lock = daemon.Lock(directory)
    if not _acquired(lock, directory):
        return _wait_for_other(directory)
    syncer = _make_syncer(directory)
    try:
        code = _ship(syncer)
    finally:
        lock.release()
    if syncer.backlog.wants_syncer:
        daemon.ensure_running(directory)  # a trainer began meanwhile, and the syncer that it started gave way
    return code


def settle(directory: Path) -> None:
    """Where no syncer runs, be one until what was delivered last is certain, which takes a minute.

    A ``canopy sync --once`` ends before that, and the next one sends its last minute again. What was logged
    offline, and never sent, stays here. What is damaged is not waited for longer than :data:`SETTLE_S`.
    """
    from wal.shipping import daemon

    lock = daemon.Lock(directory)
    if not _acquired(lock, directory):
        return  # the syncer in the background sees to it by itself
    click.echo("Waiting a minute, to be certain of what was delivered last …", err=True)
    until: float | None = None

    def settled(syncer: Syncer) -> bool:
        nonlocal until
        until = until or time.monotonic() + SETTLE_S  # from when everything is there
        ended = any(stream.ended for stream in syncer.backlog.streams.values())
        return not ended or time.monotonic() >= until

    try:
        _run(_make_syncer(directory, include_offline=False), settled)
    finally:
        lock.release()


def _acquired(lock: object, directory: Path) -> bool:
    try:
        return lock.acquire()  # type: ignore[attr-defined]
    except OSError as error:
        raise click.ClickException(f"{directory} cannot be synced: {error.strerror}.") from None


def _make_syncer(directory: Path, *, include_offline: bool = True) -> Syncer:
    from wal.link import Finder
    from wal.shipping.loop import connect, log_to_file
    from wal.syncer import Syncer

    log_to_file(directory)
    finder = Finder(os.environ, Path.cwd())
    return Syncer(directory, connect, finder, include_offline=include_offline)


def _ship(syncer: Syncer) -> int:
    began = time.monotonic()
    return _conclude(syncer, _run(syncer), time.monotonic() - began)


def _run(syncer: Syncer, settled: Callable[[Syncer], bool] = lambda _: True) -> Outcome:
    """Ship until everything is there and ``settled``, or there is no hope."""
    from wal.shipping.loop import run

    stop = threading.Event()
    progress, began = Progress(), time.monotonic()
    hope = _Hope(syncer)

    def finished(outcome: Outcome) -> bool:
        elapsed = time.monotonic() - began
        detail = syncer.link.trouble.sentence if syncer.link.trouble else ""
        progress.show(outcome.waiting + outcome.again, syncer.stored / elapsed if elapsed else 0.0, detail)
        return (outcome.drained and settled(syncer)) or hope.is_over(outcome)

    try:
        with _signals(syncer, stop):
            return run(syncer, finished, stop=stop)
    finally:
        progress.clear()
        syncer.close()


class _Hope:
    """Whether waiting for Cassandra still makes sense."""

    def __init__(self, syncer: Syncer) -> None:
        self._syncer = syncer
        self._since = time.monotonic()
        self._stored = 0

    def is_over(self, outcome: Outcome) -> bool:
        from wal.cassandra.trouble import Action

        link, now = self._syncer.link, time.monotonic()
        if link.store is not None and link.trouble is None:
            self._since = now
            return False
        starting = link.target is not None and link.target.node is not None and link.target.endpoint is None
        if starting and outcome.connection.value == "starting":  # a download or a start is under way
            self._since = now
            return False
        if link.trouble is None and link.target is not None and link.target.endpoint is None:
            return True
        if link.trouble is not None and link.trouble.action is Action.STOP:
            return True
        return now - self._since >= GRACE_S


@contextmanager
def _signals(syncer: Syncer, stop: threading.Event) -> Generator[None]:
    """Ctrl-C, or who stops a service, ends the loop after its step; a nudge has it look and try again now."""

    def on_stop(*_: object) -> None:
        stop.set()
        syncer.wake()

    def on_nudge(*_: object) -> None:
        syncer.nudge()

    before = {number: signal.signal(number, on_stop) for number in (signal.SIGINT, signal.SIGTERM)}
    before[signal.SIGUSR1] = signal.signal(signal.SIGUSR1, on_nudge)
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _conclude(syncer: Syncer, outcome: Outcome, seconds: float) -> int:
    link = syncer.link
    endpoint = link.target.endpoint if link.target is not None else None
    where = f"Cassandra at {endpoint.label}, keyspace {syncer.settings.keyspace}" if endpoint else "Cassandra"
    for problem in syncer.backlog.problems:
        click.echo(f"canopy: {problem}", err=True)
    if not outcome.drained or outcome.waiting:
        left = outcome.waiting + outcome.again
        reason = _why(syncer) or "Run it again to go on."
        click.echo(
            f"{plural(syncer.stored, 'record')} shipped, {count(left)} left in the local log. {reason}"
        )
        return EXIT_BACKLOG
    if outcome.rejected:
        click.echo(
            f"{plural(syncer.stored, 'record')} shipped; {plural(outcome.rejected, 'record')} refused by the "
            "server and set aside, see: canopy rejected list"
        )
        return EXIT_REJECTED
    if syncer.stored:
        took = duration(int(seconds * 1e9))
        click.echo(f"{plural(syncer.stored, 'record')} shipped in {took}: everything is in {where}.")
    else:
        click.echo(f"Nothing to ship: everything is in {where}.")
    return EXIT_DRAINED


def _why(syncer: Syncer) -> str:
    link = syncer.link
    if link.trouble is not None:
        return str(link.trouble)
    target = link.target
    if target is not None and target.endpoint is None:
        if target.detail:
            return why({"detail": target.detail, "remedy": target.remedy})
        return "No Cassandra is configured. Start one with: canopy cassandra up"
    return ""


# -- another syncer at work ---------------------------------------------------------------------------


def _wait_for_other(directory: Path) -> int:
    """Wait until the syncer that holds the lock has drained, or cannot."""
    from wal.reading.acks import Acks
    from wal.shipping import daemon

    daemon.nudge(directory)
    acks, progress = Acks(directory), Progress()
    gone_bad_since = None
    # What the row said before the nudge is old news.
    not_before_ns = time.time_ns()
    try:
        while daemon.holder(directory) is not None:
            acks.poll()
            status = acks.status
            waiting = int(str(status.get("waiting", 0)))
            progress.show(waiting, float(str(status.get("rate", 0.0))), str(status.get("detail", "")))
            if status.get("drained") and int(str(status.get("updated_ns", 0))) > not_before_ns:
                break
            bad = status.get("connection") not in ("up", "catching up", "starting")
            gone_bad_since = (gone_bad_since or time.monotonic()) if bad else None
            if gone_bad_since is not None and time.monotonic() - gone_bad_since >= GRACE_S:
                break
            time.sleep(POLL_S)
        else:
            return ship_once(directory)  # it ended meanwhile: the lock is free
    except KeyboardInterrupt:
        pass
    finally:
        progress.clear()
    return _conclude_other(acks)


def _conclude_other(acks: Acks) -> int:
    status = acks.status
    waiting, rejected = int(str(status.get("waiting", 0))), int(str(status.get("rejected", 0)))
    if not status.get("drained") or waiting:
        click.echo(
            f"{plural(waiting, 'record')} left; the syncer in the background goes on. {why(status)}".rstrip()
        )
        return EXIT_BACKLOG
    if rejected:
        click.echo(f"{plural(rejected, 'record')} refused by the server, see: canopy rejected list")
        return EXIT_REJECTED
    click.echo(
        f"Everything is in Cassandra at {status.get('endpoint')}, keyspace {status.get('keyspace')}: the "
        f"syncer in the background (process {status.get('pid')}) shipped it."
    )
    return EXIT_DRAINED


# -- watching ----------------------------------------------------------------------------------------


def watch(directory: Path) -> int:
    """Ship in the foreground until Ctrl-C, a line at every change; returns the exit code."""
    from wal.shipping import daemon
    from wal.shipping.loop import run

    lock = daemon.Lock(directory)
    if not _acquired(lock, directory):
        pid = daemon.holder(directory)
        raise click.ClickException(
            f"Another syncer ships {directory} already (process {pid}): canopy sync --stop ends it."
        )
    stop = threading.Event()
    syncer = _make_syncer(directory)
    click.echo(f"Shipping {directory} until Ctrl-C.")
    try:
        with _signals(syncer, stop):
            outcome = run(syncer, _narrator(syncer, lambda: lock.gone), stop=stop)
        if not lock.gone:
            syncer.close()
    finally:
        lock.release()
    return EXIT_BACKLOG if outcome.waiting else EXIT_REJECTED if outcome.rejected else EXIT_DRAINED


def _narrator(syncer: Syncer, gone: Callable[[], bool]) -> Callable[[Outcome], bool]:
    """Prints a line when the connection changes and when everything is shipped; ends with the directory."""
    said = ""

    def finished(outcome: Outcome) -> bool:
        nonlocal said
        link = syncer.link
        endpoint = link.target.endpoint if link.target is not None else None
        reason = _why(syncer)
        if reason:
            text = f"{outcome.connection.value}: {reason}"
        elif outcome.drained:
            text = f"up: everything is in Cassandra at {endpoint.label if endpoint else ''}"
        else:
            text = f"{outcome.connection.value}: shipping to {endpoint.label if endpoint else ''}"
        if text != said:
            said = text
            click.echo(f"{time.strftime('%H:%M:%S')} {text} ({count(outcome.waiting)} to ship)")
        return gone()

    return finished
