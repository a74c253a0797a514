"""The log wakes the screens: the watcher, and that a screen need not wait for its next poll."""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from uuid import UUID, uuid4

import pytest
from helpers.screenlogs import LogWriter, falling
from helpers.screens import app_on, text_of, until

from canopy_tui.screens import live
from canopy_tui.screens.run import RunScreen
from canopy_tui.wake import Watcher


class Heard:
    """Counts the words of a watcher."""

    def __init__(self) -> None:
        self.words = 0

    def __call__(self) -> None:
        self.words += 1

    def after(self, act: Callable[[], object]) -> bool:
        """Whether a word comes while ``act`` is done again and again: when a watch begins is the system's
        affair."""
        before = self.words
        for _ in range(400):
            act()
            if self.words > before:
                return True
            time.sleep(0.01)
        return False


@contextmanager
def watching(log_dir: Path) -> Iterator[tuple[Watcher, Heard]]:
    heard = Heard()
    watcher = Watcher(log_dir, heard)
    watcher.start()
    try:
        yield watcher, heard
    finally:
        watcher.close()
        watcher._thread.join(10)
        assert not watcher._thread.is_alive()


def stream_of(log_dir: Path, run_id: UUID) -> Path:
    directory = log_dir / str(run_id) / "stream"
    directory.mkdir(parents=True, exist_ok=True)
    return directory


def append(path: Path) -> None:
    with path.open("ab") as file:
        file.write(b"x")


def test_it_tells_that_a_followed_run_was_written(tmp_path: Path) -> None:
    run_id = uuid4()
    stream = stream_of(tmp_path, run_id)
    with watching(tmp_path) as (watcher, heard):
        watcher.follow([run_id], new_runs=False)
        assert heard.after(lambda: append(stream / "000001.db-wal"))


def test_it_tells_of_a_new_run_and_of_a_new_stream(tmp_path: Path) -> None:
    run_id = uuid4()
    stream_of(tmp_path, run_id)
    with watching(tmp_path) as (watcher, heard):
        watcher.follow([run_id], new_runs=True)
        assert heard.after(lambda: (tmp_path / str(uuid4())).mkdir())
        later = tmp_path / str(run_id) / "later"
        later.mkdir()
        assert heard.after(lambda: append(later / "000001.db-wal"))


def test_a_stream_that_appears_while_a_watch_is_set_up_is_found(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run_id = uuid4()
    stream = stream_of(tmp_path, run_id)
    whole, listed = Watcher._directories, itertools.count()

    def too_early(watcher: Watcher) -> Iterator[Path]:
        nth = next(listed)
        return (path for path in whole(watcher) if nth > 0 or path != stream)

    monkeypatch.setattr(Watcher, "_directories", too_early)
    heard = Heard()
    watcher = Watcher(tmp_path, heard)
    watcher.follow([run_id], new_runs=False)
    watcher.start()
    try:
        assert heard.after(lambda: append(stream / "000001.db-wal"))
    finally:
        watcher.close()
        watcher._thread.join(10)


def test_it_is_silent_about_what_nobody_follows(tmp_path: Path) -> None:
    """And about its readers: SQLite opens what it reads for writing."""
    followed, other = uuid4(), uuid4()
    stream, elsewhere = stream_of(tmp_path, followed), stream_of(tmp_path, other)
    with watching(tmp_path) as (watcher, heard):
        watcher.follow([followed], new_runs=False)
        assert heard.after(lambda: append(stream / "000001.db-wal"))
        watcher.follow([other], new_runs=False)
        assert heard.after(lambda: append(elsewhere / "000001.db-wal"))
        words = heard.words
        for _ in range(20):
            append(stream / "000001.db-wal")
            (elsewhere / "000001.db-wal").open("r+b").close()
            append(elsewhere / "000001.db-shm")
        assert heard.after(lambda: append(elsewhere / "000002.db-wal"))
        assert heard.words == words + 1


def test_of_a_directory_that_is_not_there_yet(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("canopy_tui.wake.AGAIN_SECONDS", 0.01)
    log_dir, run_id = tmp_path / "absent", uuid4()
    with watching(log_dir) as (watcher, heard):
        watcher.follow([run_id], new_runs=True)
        stream = stream_of(log_dir, run_id)
        assert heard.after(lambda: append(stream / "000001.db-wal"))


def test_it_ends_while_it_waits(tmp_path: Path) -> None:
    with watching(tmp_path / "absent"):
        pass


# -- the screens ------------------------------------------------------------------------------------


@pytest.fixture
def writer(tmp_path: Path) -> Iterator[LogWriter]:
    writer = LogWriter(tmp_path / "log")
    writer.start("live", ago_s=60)
    writer.log_curves("live", {"val/loss": falling(20)}, lasting_s=59)
    yield writer
    writer.close()


@pytest.fixture
def unpolled(monkeypatch: pytest.MonkeyPatch) -> None:
    """No screen reads again by itself: only a word of the watcher makes it."""
    monkeypatch.setattr(live, "POLL_SECONDS", 3600.0)


def logging(writer: LogWriter) -> Callable[[], None]:
    """Logs one more record each time: whichever comes after the watch has begun wakes."""
    steps = itertools.count(1000)
    return lambda: writer.log("live", {"val/loss": 0.1234}, next(steps))


@pytest.mark.usefixtures("unpolled")
async def test_the_list_is_woken(writer: LogWriter) -> None:
    app = app_on(writer)
    async with app.run_test(size=(80, 24)) as pilot:
        await until(pilot, lambda: app.listed)
        log = logging(writer)
        await until(pilot, lambda: (log(), "0.1234" in text_of(app))[1])
        writer.start("new", ago_s=1)
        await until(pilot, lambda: (log(), len(app.listed) == 2)[1])


@pytest.mark.usefixtures("unpolled")
async def test_run_is_woken(writer: LogWriter) -> None:
    app = app_on(writer, open_run=writer.journals["live"].run.run_id)
    async with app.run_test(size=(80, 24)) as pilot:
        await until(pilot, lambda: isinstance(app.screen, RunScreen) and "val/loss ★" in text_of(app))
        log = logging(writer)
        await until(pilot, lambda: (log(), "val/loss ★  0.1234" in text_of(app))[1])
