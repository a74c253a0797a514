"""Errands for the syncer: what another process wants done that only ``state.db``'s one writer may do.

A message is a small file, made durable before its name appears, taken away once what it asks for is durable
in ``state.db``: one that is carried out twice, after a kill -9 in between, changes nothing. Whoever holds the
syncer's lock carries messages out; without a syncer, who posts one does that itself.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Iterator, Mapping
from pathlib import Path

from wal.paths import make_private_directory, open_private

INBOX = "inbox"
_SUFFIX = ".json"


def post(log_dir: Path, errand: str, content: Mapping[str, object]) -> Path:
    """Leave a message; its file comes back. Raises OSError."""
    folder = log_dir / INBOX
    make_private_directory(folder)
    path = folder / f"{time.time_ns():020d}-{os.getpid()}{_SUFFIX}"
    draft = path.with_suffix(".new")
    with open(draft, "w", encoding="utf-8", opener=open_private) as file:
        json.dump({"errand": errand, **content}, file)
        file.flush()
        os.fsync(file.fileno())
    draft.rename(path)
    return path


def waiting(log_dir: Path) -> bool:
    """Whether there is a message: one system call, for who asks often."""
    try:
        with os.scandir(log_dir / INBOX) as entries:
            return any(entry.name.endswith(_SUFFIX) for entry in entries)
    except OSError:
        return False


def messages(log_dir: Path) -> Iterator[tuple[Path, str, dict[str, object]]]:
    """(file, errand, content) of every message, oldest first. One that cannot be read is taken away."""
    try:
        names = sorted(name for name in os.listdir(log_dir / INBOX) if name.endswith(_SUFFIX))
    except OSError:
        return
    for name in names:
        path = log_dir / INBOX / name
        try:
            content = json.loads(path.read_text(encoding="utf-8"))
            yield path, str(content.pop("errand")), content
        except FileNotFoundError:
            continue
        except (OSError, ValueError, KeyError, AttributeError, TypeError):
            path.unlink(missing_ok=True)
