"""Where Canopy keeps things. Standard library only: the training path imports this."""

from __future__ import annotations

import os
from pathlib import Path

PRIVATE_FILE = 0o600
PRIVATE_DIRECTORY = 0o700
"""What Canopy makes is its owner's alone: a config or a run's notes may hold what others are not to read.
The bits are asked for at creation, so a user's umask can only take some away."""


def make_private_directory(path: Path, *, exist_ok: bool = True) -> None:
    """Make a directory and those above it that are missing. What is there stays as it is. Raises OSError."""
    try:
        try:
            os.mkdir(path, PRIVATE_DIRECTORY)
        except FileNotFoundError:
            make_private_directory(path.parent)
            os.mkdir(path, PRIVATE_DIRECTORY)  # and no third time: /proc says this of whatever is made
    except FileExistsError:
        if not exist_ok or not path.is_dir():
            raise


def make_private_file(path: str | os.PathLike[str]) -> None:
    """Make an empty file where there is none: SQLite makes its files readable by everybody, and gives a
    ``-wal`` and a ``-shm`` the bits of the database that it finds. Raises OSError."""
    try:
        os.close(open_private(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC))
    except FileExistsError:
        return  # never opened here: closing it would drop the locks that this process has on it


def open_private(path: str | os.PathLike[str], flags: int) -> int:
    """``os.open``, and the ``opener`` of :func:`open`, for a file that is made private. Raises OSError."""
    return os.open(path, flags, PRIVATE_FILE)


def write_private(path: Path, text: str) -> None:
    """Write a small file, made private if it is not there. Raises OSError."""
    with open(path, "w", encoding="utf-8", opener=open_private) as file:
        file.write(text)


def bytes_below(directory: Path) -> int:
    """What the files below a directory take on disk; those that go while they are counted do not count."""
    used = 0
    for folder, _, names in os.walk(directory):
        for name in names:
            try:
                used += os.lstat(os.path.join(folder, name)).st_blocks * 512
            except OSError:
                continue
    return used


def database_fingerprint(path: Path) -> tuple[object, ...] | None:
    """What changes whenever something is committed to a SQLite database: two ``stat`` calls. None when it is
    not there."""
    try:
        main = os.stat(path)
    except OSError:
        return None
    try:
        wal = os.stat(f"{path}-wal")
        tail = (wal.st_size, wal.st_mtime_ns)
    except OSError:
        tail = ()
    return (main.st_ino, main.st_size, main.st_mtime_ns, *tail)


def state_dir() -> Path:
    """The user's state directory: ``$XDG_STATE_HOME/canopy``, else ``~/.local/state/canopy``.

    Records of managed nodes and what the user chose on screen lie here, whatever ``CANOPY_DIR`` says.
    """
    base = os.environ.get("XDG_STATE_HOME")
    root = Path(base) if base else Path.home() / ".local" / "state"
    return root / "canopy"


def log_dir(explicit: str | os.PathLike[str] | None = None) -> Path:
    """The log directory: ``explicit``, else ``$CANOPY_DIR``, else :func:`state_dir`. Absolute."""
    chosen = explicit or os.environ.get("CANOPY_DIR")
    return Path(chosen).expanduser().absolute() if chosen else state_dir().absolute()
