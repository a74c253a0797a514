"""Pin a Cassandra version: resolve it once and write the list of its jars with their SHA-256.

    python -m wal.cassandra.pin 5.0.5 > wal/cassandra/jars-5.0.txt

A developer runs this when a version changes; a user's machine never resolves anything.
"""

from __future__ import annotations

import hashlib
import os
import sys
import tempfile
import tomllib
from pathlib import Path

SERVER = "org.apache.cassandra:cassandra-all"
# Natives for an operating system that Canopy does not run on.
UNUSED_CLASSIFIERS = ("windows-x86_64",)

HEADER = """\
# {server}:{version} and what it depends on, in the order of its class path.
# sha256  bytes  group:artifact:version[:classifier]      written by wal/cassandra/pin.py
"""


def pinned_lines(version: str, scratch: Path) -> list[str]:
    """One line a jar, hashed from the file itself; the resolver's own hash must agree."""
    os.environ["M2_REPO"] = str(scratch / "repository")
    import jgo  # reads M2_REPO when it is imported

    jgo.build(f"{SERVER}:{version}", cache_dir=scratch / "environments")
    lock_file = next((scratch / "environments").rglob("*.lock.toml"))
    lines: list[str] = []
    for jar in tomllib.loads(lock_file.read_text())["dependencies"]:
        classifier = jar.get("classifier")
        if classifier in UNUSED_CLASSIFIERS:
            continue
        suffix = f"-{classifier}" if classifier else ""
        name = f"{jar['artifactId']}-{jar['version']}{suffix}.jar"
        folder = jar["groupId"].replace(".", "/")
        path = scratch / "repository" / folder / jar["artifactId"] / jar["version"] / name
        content = path.read_bytes()
        digest = hashlib.sha256(content).hexdigest()
        if digest != jar["sha256"]:
            raise SystemExit(f"{name}: the resolver says {jar['sha256']}, the file has {digest}")
        parts = [jar["groupId"], jar["artifactId"], jar["version"], *([classifier] if classifier else [])]
        lines.append(f"{digest}  {len(content):>8}  {':'.join(parts)}")
    return lines


def main() -> None:
    """Print the pinned list of the version named on the command line."""
    version = sys.argv[1]
    with tempfile.TemporaryDirectory() as scratch:
        lines = pinned_lines(version, Path(scratch))
    print(HEADER.format(server=SERVER, version=version) + "\n".join(lines))


if __name__ == "__main__":
    main()
