"""Which jars a server is made of: a pinned list per version.

Nothing is resolved on a user's machine: ``jars-<version>.txt`` beside this module (written by
``wal/cassandra/pin.py``) names every jar with its size and SHA-256, and a Maven repository keeps each at a
path made of its coordinates.
"""

from __future__ import annotations

import platform
from dataclasses import dataclass
from importlib import resources

from wal.cassandra.noderecord import NodeError

# The servers that Canopy starts; the key is what users say and what data directories are marked with.
VERSIONS = {"5.0": "5.0.5", "4.1": "4.1.9"}
DEFAULT_VERSION = "5.0"


@dataclass(frozen=True)
class Jar:
    """One pinned jar. ``size`` in bytes; ``classifier`` is empty for the plain artifact."""

    group: str
    artifact: str
    version: str
    classifier: str
    sha256: str
    size: int

    @property
    def file_name(self) -> str:
        """``artifact-version[-classifier].jar``."""
        suffix = f"-{self.classifier}" if self.classifier else ""
        return f"{self.artifact}-{self.version}{suffix}.jar"

    @property
    def path(self) -> str:
        """Where a Maven repository, and our cache, keep it."""
        return f"{self.group.replace('.', '/')}/{self.artifact}/{self.version}/{self.file_name}"


def pinned(version: str) -> list[Jar]:
    """The jars of "5.0" or "4.1" for this platform, in the order of the class path. Raises NodeError."""
    if version not in VERSIONS:
        raise NodeError(f"Canopy starts Cassandra {' or '.join(VERSIONS)}, not {version!r}.")
    text = resources.files("wal.cassandra").joinpath(f"jars-{version}.txt").read_text(encoding="utf-8")
    jars = [_parse(line) for line in text.splitlines() if line and not line.startswith("#")]
    return [jar for jar in jars if _fits_platform(jar.classifier)]


def _parse(line: str) -> Jar:
    sha256, size, coordinates = line.split()
    group, artifact, version, *rest = coordinates.split(":")
    return Jar(group, artifact, version, rest[0] if rest else "", sha256, int(size))


def _fits_platform(classifier: str) -> bool:
    """False for native code of another platform: "linux-aarch_64" on a Mac."""
    system, _, machine = classifier.partition("-")
    if system not in ("linux", "osx"):
        return True
    here = "osx" if platform.system() == "Darwin" else "linux"
    machines = {"x86_64": "x86_64", "amd64": "x86_64", "arm64": "aarch_64", "aarch64": "aarch_64"}
    return system == here and machine == machines.get(platform.machine().lower())
