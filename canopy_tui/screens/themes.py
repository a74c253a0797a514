"""How canopy looks: one accent, and colours for what needs a person."""

from __future__ import annotations

from textual.theme import Theme

THEMES = (
    Theme(
        name="canopy", dark=True, primary="#6fbf73", secondary="#8fa3ad", accent="#6fbf73",
        foreground="#d7dde0", background="#101416", surface="#161b1e", panel="#1f262a",
        error="#e5534b", warning="#d9a441", success="#6fbf73",
    ),
    Theme(
        name="canopy-light", dark=False, primary="#2e7d32", secondary="#546e7a", accent="#2e7d32",
        foreground="#1f2a2e", background="#fbfcfb", surface="#f1f4f2", panel="#e3e9e5",
        error="#c62828", warning="#9a6700", success="#2e7d32",
    ),
)  # fmt: skip
