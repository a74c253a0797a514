"""The demo as a user starts it, with everything of it in a scratch directory."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

CANOPY = str(Path(sys.executable).with_name("canopy"))
ROOT = Path(__file__).parents[2]

ARCHIVING = b"-Xshare:dump"
"""In the arguments of that Java, and of the shell that waits for it."""

_CURVE = re.compile(r"(\S+) +([▁▂▃▄▅▆▇█×]+) ")
_DOTS = re.compile("[\u2801-\u28ff]")


def user_environment(scratch: Path) -> dict[str, str]:
    """A user's environment. Its syncers run, which they would not if they saw that this is a test."""
    kept = {
        name: value for name, value in os.environ.items() if not name.startswith(("CANOPY_SYNC", "PYTEST_"))
    }
    return kept | {
        "XDG_STATE_HOME": str(scratch / "state"), "XDG_DATA_HOME": str(scratch / "data"),
        "XDG_CONFIG_HOME": str(scratch / "config"), "TERM": "xterm-256color", "LC_ALL": "C.UTF-8",
    }  # fmt: skip


def curves(lines: Sequence[str]) -> dict[str, str]:
    """The sparkline of each run of the list that has more than one level, by the run's name."""
    found = (_CURVE.search(line) for line in lines)
    return {match[1]: match[2] for match in found if match and len(set(match[2])) > 1}


def dots(lines: Sequence[str]) -> tuple[str, ...]:
    """What is drawn in braille."""
    return tuple("".join(_DOTS.findall(line)) for line in lines if _DOTS.search(line))


def processes_of(scratch: Path) -> list[str]:
    """What was started with :func:`user_environment` and still runs: its command lines.

    Linux tells them by their environment; elsewhere those are found that have the directory in their
    arguments, which are the node and the syncer. The job that once a Java writes the archive of the server's
    classes into the cache is nobody's: it ends by itself within the minute.
    """
    mark = os.fsencode(scratch)
    if not Path("/proc/self/environ").exists():
        listed = subprocess.run(["ps", "-Aww", "-o", "command="], capture_output=True, check=True).stdout
        return [line.decode() for line in listed.splitlines() if mark in line and ARCHIVING not in line]
    found: list[str] = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            if mark in (process / "environ").read_bytes():
                arguments = (process / "cmdline").read_bytes().replace(b"\0", b" ")
                if ARCHIVING not in arguments:
                    found.append(f"{process.name} {arguments.decode(errors='replace')[:200]}")
        except OSError:  # another user's, or gone
            continue
    return found


def clean_up(scratch: Path) -> None:
    """Stop and remove what a demo left, however it ended."""
    subprocess.run(
        [CANOPY, "demo", "--clean"], env=user_environment(scratch), capture_output=True, check=True
    )
