"""What is written down about a node that Canopy started, so that every process of the user can find it.

One JSON file a node in the state directory. Cheap to import and to read: the standard library only, no
driver, no network but for the rare moment described at :func:`managed`.
"""

from __future__ import annotations

import json
import os
import subprocess
import tempfile
import time
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path
from typing import Any, Literal, cast

from wal.paths import make_private_directory, state_dir

NodeState = Literal["downloading", "starting", "up", "down", "failed"]

# `up` rewrites the record once a second while a node starts; an older one has nobody who waits with it.
ABANDONED_AFTER_NS = 5 * 10**9


class NodeError(Exception):
    """A node cannot be had. ``sentence`` says why and what to do; ``log_lines`` are the end of its log."""

    def __init__(self, sentence: str, log_lines: tuple[str, ...] = ()) -> None:
        self.sentence = sentence
        self.log_lines = log_lines
        super().__init__("\n  ".join((sentence, *log_lines)))


@dataclass(frozen=True)
class NodeRecord:
    """A managed node as it was last written down.

    ``pid`` is the process that the state hangs on: the downloading one, then the node's own; ``identity``
    tells it from a later process with the same number. ``detail`` is short and for people: "41/66 MB",
    "9 s", or why it failed. ``done_bytes`` and ``total_bytes`` are those of the download.
    """

    name: str
    state: NodeState
    host: str
    port: int
    version: str
    data_dir: str
    log_file: str
    pid: int = 0
    identity: str | None = None
    started_ns: int = 0
    detail: str = ""
    done_bytes: int = 0
    total_bytes: int = 0

    @property
    def label(self) -> str:
        """Where it listens, as people write it: "127.0.0.1:9042"."""
        return f"{self.host}:{self.port}"


def nodes_dir() -> Path:
    """Where the records lie."""
    return state_dir() / "nodes"


def check_name(name: str) -> None:
    """Refuse a node name that would not do as a file name. Raises NodeError."""
    if not name or not all(c.isalnum() or c in "-_." for c in name) or name.startswith(".") or len(name) > 64:
        raise NodeError(f"{name!r} cannot name a node: use up to 64 letters, digits, '-', '_' and '.'.")
    if name == "none":
        raise NodeError("CANOPY_NODE=none switches managed nodes off: unset it, or use --name.")


def write_record(record: NodeRecord) -> None:
    """Replace the node's record: whole or not at all, readable by its owner only. Raises NodeError."""
    folder = nodes_dir()
    try:
        make_private_directory(folder)
        handle, temporary = tempfile.mkstemp(dir=folder, prefix=f".{record.name}-")  # mkstemp makes it 0600
        with os.fdopen(handle, "w", encoding="utf-8") as file:
            json.dump(asdict(record), file)
        os.replace(temporary, folder / f"{record.name}.json")
    except OSError as error:
        raise NodeError(f"The record of the node cannot be written in {folder}: {error.strerror}.") from None


def read_record(name: str) -> NodeRecord | None:
    """The record as it stands in the file, true or stale; None when there is none that can be read."""
    try:
        raw: Any = json.loads((nodes_dir() / f"{name}.json").read_text(encoding="utf-8"))
        known = {field.name for field in fields(NodeRecord)}
        return NodeRecord(
            **{key: value for key, value in cast("dict[str, Any]", raw).items() if key in known}
        )
    except (OSError, ValueError, TypeError, AttributeError):
        return None


def managed(name: str = "default") -> NodeRecord | None:
    """The node of that name, with its state as it is now; None when there never was one.

    Reads one small file and asks the system for one process. Only where ``up`` was itself killed while a node
    was starting is the node asked, on loopback, whether it answers.
    """
    record = read_record(name)
    if record is None or record.state in ("down", "failed"):
        return record
    if record.identity is None or process_identity(record.pid) != record.identity:
        ended = "the download was cut" if record.state == "downloading" else "its process is gone"
        return replace(record, state="down", detail=ended, pid=0, identity=None)
    if record.state == "starting" and _age_ns(name) > ABANDONED_AFTER_NS:
        from wal.cassandra.handshake import answers

        if answers(record.host, record.port, timeout=0.5):
            return replace(record, state="up", detail="")
    return record


def process_identity(pid: int) -> str | None:
    """What tells this process from any other that had its number; None when it is gone or a zombie."""
    if pid <= 0:
        return None
    try:
        stat = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace")
        # The name in parentheses may hold anything, so count from the last one: the state is the first
        # field after it, the number of threads the eighteenth, the start in clock ticks the twentieth.
        values = stat.rpartition(")")[2].split()
        boot_id = Path("/proc/sys/kernel/random/boot_id").read_text(encoding="utf-8").strip()
        # The first thread of a killed process is a zombie while others still hold its ports and files.
        gone = values[0] in "ZX" and int(values[17]) <= 1
        return None if gone else f"{boot_id} {values[19]}"
    except OSError:
        if Path("/proc/self/stat").exists():
            return None
    return _identity_from_ps(pid)


def _identity_from_ps(pid: int) -> str | None:
    """The same where there is no /proc (macOS): the start to the second."""
    try:
        answer = subprocess.run(
            ["ps", "-o", "stat=,lstart=", "-p", str(pid)],
            capture_output=True,
            text=True,
            timeout=5,
            check=False,
        )
    except (OSError, subprocess.SubprocessError):
        return None
    state, _, started = answer.stdout.strip().partition(" ")
    return None if not started or state.startswith("Z") else " ".join(started.split())


def _age_ns(name: str) -> int:
    """How long ago the record was written; 0 when it cannot be told."""
    try:
        return time.time_ns() - (nodes_dir() / f"{name}.json").stat().st_mtime_ns
    except OSError:
        return 0
