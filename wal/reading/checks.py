"""What a user can get wrong on this machine: the log's place, the disk, SQLite, the settings, the syncer.

Each check is one sentence, a grade, and a remedy. Those that need Cassandra are in
:mod:`wal.cassandra.checks`. Standard library only, but for a settings file.
"""

from __future__ import annotations

import os
import shutil
import sqlite3
from collections.abc import Mapping
from dataclasses import dataclass
from enum import IntEnum
from pathlib import Path

from wal.link import Finder, Target
from wal.reading.acks import Acks
from wal.reading.storagelook import syncer_state
from wal.source import Connection
from wal.training.filesystem import MOUNTS, cost_of, file_system_of

LITTLE_BYTES = 1 << 30
"""Free space below which it is time to think of it: a day of ten metrics a second takes about 100 MB."""

NO_BYTES = 64 << 20
"""Free space below which a log may stop growing within the hour: its segments are 16 MiB each."""

OLDEST_SQLITE = (3, 37, 0)
"""The first with STRICT tables."""

WAL_RESET_FIXED = (3, 51, 3)
"""From here on, and in 3.44.6 and 3.50.7, two connections that write one file cannot lose rows
(sqlite.org/wal.html, "the WAL-reset bug")."""

_FIXED_AS_WELL = ((3, 44, 6), (3, 50, 7))


class Grade(IntEnum):
    """``NOTE``: it works, less well than it could. ``BAD``: it does not work."""

    OK = 0
    NOTE = 1
    BAD = 2


@dataclass(frozen=True, slots=True)
class Check:
    """One thing that was looked at. ``remedy`` is empty where nothing is to be done."""

    name: str
    grade: Grade
    sentence: str
    remedy: str = ""


def check_log_directory(log_dir: Path, mounts: Path = MOUNTS) -> Check:
    """Can it be written, and what does its file system cost?"""
    name = "log directory"
    there = _nearest(log_dir)
    if not there.is_dir() or not os.access(there, os.W_OK | os.X_OK):
        what = f"{there} is not a directory that this user can write"
        return Check(name, Grade.BAD, f"{what}, so nothing can be logged.", "Choose another: CANOPY_DIR")
    cost = cost_of(there, mounts)
    if cost is not None:
        sentence, _, remedy = cost.rpartition(": ")
        grade = Grade.NOTE if "in memory" in sentence else Grade.BAD
        return Check(name, grade, _as_sentence(sentence), _as_sentence(remedy))
    kind = file_system_of(there, mounts)
    return Check(name, Grade.OK, f"{log_dir} is on a local disk{f' ({kind})' if kind else ''}.")


def check_disk(log_dir: Path) -> Check:
    """Is there room for the log to grow?"""
    try:
        free = shutil.disk_usage(_nearest(log_dir)).free
    except OSError as error:
        return Check("disk", Grade.BAD, f"The room on its disk cannot be told ({error.strerror}).")
    sentence = f"{free / 2**30:,.1f} GiB are free where the log lies."
    if free >= LITTLE_BYTES:
        return Check("disk", Grade.OK, sentence)
    grade = Grade.NOTE if free >= NO_BYTES else Grade.BAD
    return Check("disk", grade, sentence, "Free some, or let go of what is verified: canopy prune")


def check_sqlite(version: str = sqlite3.sqlite_version) -> Check:
    """Does SQLite have what the log needs?"""
    number = tuple(int(part) for part in version.split("."))
    if number < OLDEST_SQLITE:
        oldest = ".".join(map(str, OLDEST_SQLITE))
        sentence = f"SQLite {version} is too old for the log, which needs {oldest}."
        return Check("SQLite", Grade.BAD, sentence, "Use a newer Python: its SQLite comes with it.")
    fixed = number >= WAL_RESET_FIXED or any(number[:2] == f[:2] and number >= f for f in _FIXED_AS_WELL)
    if fixed:
        return Check("SQLite", Grade.OK, f"SQLite {version}.")
    sentence = f"SQLite {version}. (It loses rows where two connections write one file; Canopy's never do.)"
    return Check("SQLite", Grade.OK, sentence)


def check_settings(target: Target) -> Check:
    """Can the settings be read, and do they say what they seem to?"""
    settings = target.settings
    if target.endpoint is None and target.connection is Connection.TROUBLE:
        return Check("settings", Grade.BAD, _as_sentence(target.detail), "Correct it.")
    if settings.notes:
        return Check(
            "settings", Grade.NOTE, f"{settings.origin}: {' '.join(settings.notes)}", "Leave it out."
        )
    if settings.origin == "defaults":
        return Check("settings", Grade.OK, "No file and no variable: the defaults hold.")
    return Check("settings", Grade.OK, f"They come from {settings.origin}.")


def check_target(target: Target) -> Check | None:
    """Why there is no Cassandra to look at; None where there is one."""
    if target.endpoint is not None:
        return None
    if target.settings.enabled is False:
        sentence = f"Cassandra is switched off: enabled is false in {target.settings.origin}."
        return Check("Cassandra", Grade.OK, sentence)
    if target.detail:
        grade = Grade.NOTE if target.connection is Connection.STARTING else Grade.BAD
        return Check("Cassandra", grade, _as_sentence(target.detail), target.remedy)
    sentence = "None is named, so records stay on this machine, which is fine."
    return Check("Cassandra", Grade.OK, sentence, "To have one: canopy cassandra up")


def check_syncer(log_dir: Path, connects: bool) -> Check:
    """Does the syncer get on? ``connects``: by this shell's settings a connection was made just now."""
    acks = Acks(log_dir)
    acks.poll()
    said = syncer_state(acks.status, log_dir)
    if said.pid is None:
        sentence = "None runs; the app and every run start one by themselves."
        return Check("syncer", Grade.OK, sentence)
    if said.connection in (Connection.TROUBLE, Connection.OFFLINE):
        if connects:
            sentence = f"It (process {said.pid}) cannot connect, and this shell can: {said.detail}"
            remedy = "If its environment is older than yours, have it started anew: canopy sync --stop"
            return Check("syncer", Grade.NOTE, sentence, remedy)
        return Check("syncer", Grade.BAD, f"It (process {said.pid}) waits: {said.detail}", said.remedy)
    return Check("syncer", Grade.OK, f"It runs (process {said.pid}, version {said.version}).")


def _nearest(log_dir: Path) -> Path:
    """The log directory, or what is there of the directories above it."""
    return next((path for path in (log_dir, *log_dir.parents) if path.exists()), log_dir)


def _as_sentence(text: str) -> str:
    return f"{text[:1].upper()}{text[1:].rstrip('.')}."


def local_checks(log_dir: Path) -> list[Check]:
    """What needs neither settings nor a Cassandra."""
    return [check_log_directory(log_dir), check_disk(log_dir), check_sqlite()]


def find_target(env: Mapping[str, str], cwd: Path) -> Target:
    """Where the settings say that Cassandra is."""
    return Finder(env, cwd)()
