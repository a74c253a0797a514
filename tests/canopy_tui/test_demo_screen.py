"""``canopy demo`` as a user meets it: a real process, on a terminal and off it, with its own real node."""

from __future__ import annotations

import re
import signal
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from helpers.demo import CANOPY, ROOT, clean_up, curves, dots, processes_of, user_environment
from helpers.terminal import Terminal
from helpers.waiting import wait_until

from canopy_tui.demo.place import Place
from canopy_tui.demo.plan import LIVE, SHORT
from wal.cassandra import jars
from wal.cassandra.server import START_SECONDS

pytestmark = pytest.mark.cassandra

CTRL_C, CTRL_P = "\x03", "\x10"
GONE_SECONDS = 10.0
"""A syncer that finds another one at work needs a moment to end."""

Demo = Callable[..., Terminal]


@pytest.fixture
def scratch(tmp_path: Path) -> Iterator[Path]:
    jars.fetch("5.0")  # what a download looks like is another test's
    yield tmp_path
    clean_up(tmp_path)


@pytest.fixture
def terminal(scratch: Path) -> Iterator[Demo]:
    """Starts a command on a terminal of 120 × 40: the demo, if none is named."""
    opened: list[Terminal] = []

    def start(*command: str) -> Terminal:
        opened.append(Terminal(*(command or (CANOPY, "demo")), env=user_environment(scratch), cwd=ROOT))
        return opened[-1]

    yield start
    for each in opened:
        each.close()


def rows(lines: list[str]) -> dict[str, str]:
    """The lines of the list, by run name."""
    names = [training.name for training in (*LIVE, *SHORT)]
    listed = [line for line in lines if re.match(r" \S (running|done|failed|crashed) ", line)]
    return {name: line for name in names for line in listed if f" {name} " in line}


def waiting(lines: list[str]) -> int:
    """Records of the live runs that the list shows as on their way."""
    shown = rows(lines)
    counts = (re.search(r" ↑(\d+)", shown.get(training.name, "")) for training in LIVE)
    return sum(int(count[1]) for count in counts if count)


def says(pattern: str) -> Callable[[list[str]], object]:
    """Whether the status line, above the footer, matches."""
    return lambda lines: re.search(pattern, "\n".join(lines[-4:]))


def command(terminal: Terminal, typed: str, found: str) -> None:
    """Run a command of the palette by typing some of its name."""
    terminal.press(CTRL_P)
    terminal.until_shown("Search for commands")
    terminal.press(typed)
    terminal.until(lambda lines: shows(lines, found) and not shows(lines, "Theme"), f"{found} alone")
    terminal.press("\r")
    terminal.until(lambda lines: not shows(lines, "Search for commands"), "the palette closed")


def shows(lines: list[str], text: str) -> bool:
    return any(text in line for line in lines)


def pasted(line: str, start: Demo) -> Terminal:
    """Run what a closing line recommends, in a shell."""
    return start("/bin/sh", "-c", line.partition(": ")[2])


def test_the_whole_demo_on_a_terminal(terminal: Demo, scratch: Path) -> None:
    demo = terminal()
    live = {training.name for training in LIVE}
    demo.until(lambda lines: live <= set(rows(lines)), "the three live runs")
    assert not shows(demo.lines, "No runs yet")
    seen = dict[str, str]()

    def moved(lines: list[str]) -> bool:
        now = curves(lines)
        grown = [name for name in seen.keys() & now.keys() if now[name] != seen[name]]
        seen.update(now)
        return bool(grown)

    demo.until(moved, "a curve that moves in the list")
    before = demo.until(dots, "a chart") and dots(demo.lines)
    demo.until(lambda lines: dots(lines) not in ((), before), "a chart that moves")
    demo.until(says(r"Cassandra .*starting"), "the node's start in the status line")
    demo.until(says(r"Cassandra 127\.0\.0\.1:\d+ up"), "Cassandra up", START_SECONDS)
    demo.until(lambda lines: len(rows(lines)) == len(LIVE) + len(SHORT), "all runs")

    demo.press("?")
    demo.until_shown(leaving := "Leave the demo; what it started is stopped")
    demo.press("?")
    demo.until(lambda lines: not shows(lines, leaving), "the help closed")

    # On a busy machine the first three may have come to their end by now.
    command(demo, "train ag", "Demo: train again")
    demo.until(lambda lines: shows(lines, f" {2 * len(LIVE) + len(SHORT)} runs"), "three runs more")
    command(demo, "kill cass", "Demo: kill Cassandra")
    demo.until(says("offline"), "that Cassandra is offline")
    demo.until(lambda lines: waiting(lines) >= 20, "records that wait")
    command(demo, "start it", "Demo: start it again")
    demo.until(says(r"Cassandra 127\.0\.0\.1:\d+ (catching )?up"), "Cassandra back", START_SECONDS)
    demo.until(lambda lines: waiting(lines) < 20, "that they were shipped")

    demo.press("q")
    assert demo.wait() == 0
    wait_until(lambda: not processes_of(scratch), GONE_SECONDS, f"gone: {processes_of(scratch)}")
    look_again, remove_all = demo.printed[-2:]
    assert look_again.startswith("look again: ")
    assert remove_all.startswith("remove all: ")

    again = pasted(look_again, terminal)
    again.until(lambda lines: len(rows(lines)) == len(LIVE) + len(SHORT), "the runs of before")
    states = {name: line.split()[1] for name, line in rows(again.lines).items()}
    others = {"broken": "failed", "out-of-memory": "crashed"}
    assert states == dict.fromkeys(states, "done") | others
    again.press("q")
    assert again.wait() == 0
    removal = pasted(remove_all, terminal)
    assert removal.wait() == 0
    assert not Place(scratch / "state" / "canopy" / "demo").log_dir.exists()
    wait_until(lambda: not processes_of(scratch), GONE_SECONDS, f"gone: {processes_of(scratch)}")


@pytest.mark.parametrize(
    ("end", "exit_code"),
    [
        (lambda demo: demo.press(CTRL_C), 0),
        (lambda demo: demo.process.send_signal(signal.SIGTERM), 128 + signal.SIGTERM),
        (lambda demo: demo.hang_up(), 128 + signal.SIGHUP),
    ],
    ids=["ctrl+c", "kill", "closed terminal"],
)
def test_nothing_is_left_however_it_ends(
    terminal: Demo, scratch: Path, end: Callable[[Terminal], None], exit_code: int
) -> None:
    demo = terminal()
    demo.until(says(r"Cassandra .*starting"), "the node's start")
    end(demo)
    assert demo.wait() == exit_code
    wait_until(lambda: not processes_of(scratch), GONE_SECONDS, f"gone: {processes_of(scratch)}")


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_off_a_terminal_it_can_be_interrupted(scratch: Path, number: signal.Signals) -> None:
    with subprocess.Popen(
        [CANOPY, "demo"], env=user_environment(scratch), cwd=ROOT, stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    ) as demo:  # fmt: skip
        assert demo.stderr is not None
        said: list[str] = []
        while "canopy demo: Cassandra 5.0 starting\n" not in said:
            said.append(demo.stderr.readline())
        demo.send_signal(number)
        out, err = demo.communicate(timeout=60)
    assert demo.returncode == 128 + number
    assert out == ""
    assert err.count("stopped") == (1 if number is signal.SIGINT else 0)
    wait_until(lambda: not processes_of(scratch), GONE_SECONDS, f"gone: {processes_of(scratch)}")
