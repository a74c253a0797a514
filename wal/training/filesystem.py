"""What the log directory's file system costs. Standard library only."""

from __future__ import annotations

import os
import re
from pathlib import Path

MOUNTS = Path("/proc/self/mountinfo")

_NETWORK = frozenset(
    {"nfs", "nfs4", "lustre", "gpfs", "beegfs", "ceph", "cifs", "smb3", "smbfs", "afs", "9p", "panfs",
     "wekafs", "glusterfs", "fuse.sshfs", "fuse.glusterfs", "fuse.s3fs", "fuse.gcsfuse", "fuse.rclone"}
)  # fmt: skip
_MEMORY = frozenset({"tmpfs", "ramfs"})


def file_system_of(path: Path, mounts: Path = MOUNTS) -> str | None:
    """The type of the file system that ``path`` lies on, by the longest mount point that holds it.

    None where the mounts cannot be read (macOS).
    """
    try:
        lines = mounts.read_text(errors="surrogateescape").splitlines()
    except OSError:
        return None
    real = os.path.realpath(path)
    longest, kind = -1, None
    for line in lines:
        fields, _, rest = line.partition(" - ")
        point = re.sub(r"\\([0-7]{3})", lambda code: chr(int(code[1], 8)), fields.split(" ")[4])
        inside = real == point or real.startswith(point.rstrip("/") + "/")
        if inside and len(point) >= longest:  # a later mount over the same point hides the earlier
            longest, kind = len(point), rest.split(" ")[0]
    return kind


def cost_of(path: Path, mounts: Path = MOUNTS) -> str | None:
    """One sentence on what keeping the log at ``path`` costs; None for a local disk."""
    kind = file_system_of(path, mounts)
    if kind in _NETWORK:
        return (
            f"the log directory {path} is on a network file system ({kind}), where SQLite's log is slow and "
            "may be damaged: set CANOPY_DIR to a local disk"
        )
    if kind in _MEMORY:
        return (
            f"the log directory {path} is in memory ({kind}) and lost at a reboot: set CANOPY_DIR to a disk"
        )
    return None
