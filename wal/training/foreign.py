"""What basic scripts written for W&B call, and what becomes of it here. Standard library only."""

from __future__ import annotations

from enum import Enum

from wal.segments import notice


class AlertLevel(Enum):
    """The levels that such scripts give to ``alert()``."""

    INFO = "INFO"
    WARN = "WARN"
    ERROR = "ERROR"


def login(*_: object, **__: object) -> bool:
    """There is nobody to log in to: True."""
    return True


def watch(*_: object, **__: object) -> None:
    """Gradients are not recorded; that is said once."""
    notice.once("watch", "watch() records no gradients: log() the numbers that you want to see of them")


def save(*_: object, **__: object) -> None:
    """Files are not kept; that is said once."""
    notice.once("save", "save() keeps no files: Canopy keeps numbers, texts and topologies")
