"""What a process has used so far, as the system counts it."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

TICKS = os.sysconf("SC_CLK_TCK")


def cpu_seconds(pid: int) -> float:
    """Processor time of all its threads, s, to the hundredth."""
    stat = Path(f"/proc/{pid}/stat")
    if Path("/proc/self/stat").exists():
        fields = stat.read_text(encoding="utf-8").rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / TICKS
    minutes, _, seconds = _ps(pid, "time").partition(":")  # macOS: "12:03.45"
    return int(minutes) * 60 + float(seconds)


def resident_mb(pid: int) -> float:
    """Resident memory, MB of 10^6 bytes."""
    return int(_ps(pid, "rss")) * 1024 / 1e6


def _ps(pid: int, column: str) -> str:
    done = subprocess.run(
        ["ps", "-o", f"{column}=", "-p", str(pid)], capture_output=True, text=True, check=True
    )
    return done.stdout.strip()
