"""What the terminal can show. Standard library only."""

from __future__ import annotations

import os
import sys
from typing import TextIO

_POOR_TERMINALS = ("dumb", "linux", "vt52", "vt100", "vt102", "vt220", "unknown")
"""Terminals without braille in their font, or without any way to draw at all."""


def can_draw() -> bool:
    """Whether a full-screen app can run here: a terminal on both ends that can move its cursor."""
    if os.environ.get("TERM", "") in ("", "dumb", "unknown"):
        return False
    # Textual draws on stderr, so that is the end that must be a terminal, beside the keyboard's.
    return all(stream is not None and stream.isatty() for stream in (sys.stdin, sys.stdout, sys.stderr))


def unicode_ok(stream: TextIO | None = None) -> bool:
    """Whether glyphs beyond ASCII arrive: the locale and the stream's encoding are UTF-8, and so is the font.

    The locale is looked at as well as the stream: under ``LC_ALL=C`` Python writes UTF-8 to a terminal that
    was told not to expect it.
    """
    if os.environ.get("TERM", "").split("-")[0] in _POOR_TERMINALS:
        return False
    stream = sys.stdout if stream is None else stream
    encoding = (getattr(stream, "encoding", None) or "utf-8").lower().replace("-", "").replace("_", "")
    if encoding != "utf8":
        return False
    for variable in ("LC_ALL", "LC_CTYPE", "LANG"):
        locale = os.environ.get(variable)
        if locale and not (variable == "LC_CTYPE" and _coerced()):
            return "utf8" in locale.lower().replace("-", "")
    return True


def _coerced() -> bool:
    """Whether the value of LC_CTYPE is Python's own: where the locale is C, it turns its UTF-8 mode on and
    sets that variable for itself (PEP 538, PEP 540), whatever LANG says."""
    return bool(sys.flags.utf8_mode) and "PYTHONUTF8" not in os.environ
