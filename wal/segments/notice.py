"""What the training side tells its user: short lines on stderr that never raise."""

from __future__ import annotations

import sys
from pathlib import Path

DISK_WARNING = "disk.warning"
"""A file in the log directory, written by the syncer while the log takes more disk than it should."""

_ASCII = str.maketrans({"→": "->", "·": "-", "…": "...", "×": "x", "–": "-", "’": "'"})
_BLOCKS = str.maketrans("▁▂▃▄▅▆▇█", "_.-~=+*#")

_said: set[str] = set()


def say(line: str) -> None:
    """One line on stderr, in ASCII where its encoding is not UTF-8."""
    stream = sys.stderr
    if stream is None:  # pyright: ignore[reportUnnecessaryComparison]
        return  # pythonw, or a daemon without a stderr
    encoding = (getattr(stream, "encoding", None) or "ascii").lower().replace("-", "")
    if encoding != "utf8":
        line = line.translate(_ASCII).translate(_BLOCKS).encode("ascii", "replace").decode()
    try:
        stream.write(line + "\n")
        stream.flush()
    except (OSError, ValueError):  # closed, or a full disk under a redirect
        return
    except RuntimeError:  # a signal handler came in between while the same stream was being written to
        return


def once(key: str, sentence: str) -> None:
    """A warning that is said once per process and ``key``."""
    if key in _said:
        return
    _said.add(key)
    say(f"canopy: {sentence}")


def pass_on(log_dir: Path) -> None:
    """Say once what the syncer says of the disk. Costs one system call while there is nothing to say."""
    try:
        sentence = (log_dir / DISK_WARNING).read_text(encoding="utf-8", errors="replace").strip()
    except OSError:
        return
    if sentence:
        once(f"disk {log_dir}", sentence[:1000])


def forget() -> None:
    """Say everything again: for tests and for a run that starts anew."""
    _said.clear()
