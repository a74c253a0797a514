"""Names that a user did not give: the project's, the run's, the rank's. Standard library only."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from hashlib import blake2b
from pathlib import Path

from wal.paths import make_private_directory, open_private

NAMES_DIR = "names"
"""Folder of the log directory that holds the counters of run names."""

_RANK_VARIABLES = ("RANK", "SLURM_PROCID", "OMPI_COMM_WORLD_RANK")


def default_project(environ: Mapping[str, str], directory: Path | None) -> str:
    """``CANOPY_PROJECT``, else the folder name of the git root around ``directory``, else its own name."""
    if environ.get("CANOPY_PROJECT"):
        return environ["CANOPY_PROJECT"]
    if directory is None:
        return "default"
    for folder in (directory, *directory.parents):
        if os.path.exists(folder / ".git"):  # False, and no error, where it cannot be seen
            return folder.name or "default"
    return directory.name or "default"


def script_stem(arguments: list[str] | None = None) -> str:
    """What the running program is called: ``train`` for ``python train.py`` and ``python -m lab.train``."""
    given = sys.argv if arguments is None else arguments
    path = Path(given[0] if given else "")
    if path.name == "__main__.py":
        return path.parent.name or "run"
    if path.stem == "ipykernel_launcher":
        return "notebook"
    return path.stem if path.stem not in ("", "-c", "-m", "-") else "run"


def next_number(log_dir: Path, project: str, stem: str) -> int:
    """The number of the next run of this name in the project: 1, 2, 3 …

    The counter is the length of a file: an appending write of one byte tells every process its own place,
    without a lock. Raises OSError.
    """
    folder = log_dir / NAMES_DIR
    make_private_directory(folder)
    key = f"{project}\0{stem}".encode("utf-8", "replace")
    path = folder / blake2b(key, digest_size=8).hexdigest()
    descriptor = open_private(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC)
    try:
        os.write(descriptor, b".")
        return os.lseek(descriptor, 0, os.SEEK_CUR)
    finally:
        os.close(descriptor)


def rank_of(environ: Mapping[str, str]) -> int:
    """This process' rank among those that train together, 0 when it trains alone."""
    for variable in _RANK_VARIABLES:
        if environ.get(variable, "").isdecimal():
            return int(environ[variable])
    return 0


def working_directory() -> Path | None:
    """The working directory, None when it was deleted."""
    try:
        return Path.cwd()
    except OSError:
        return None
