"""What the training side tells its user: short lines on stderr that never raise."""

from __future__ import annotations

import sys

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


def forget() -> None:
    """Say everything again: for tests and for a run that starts anew."""
    _said.clear()
