"""A disk that is full: a tmpfs of a few megabytes, and a file that takes all of it."""

from __future__ import annotations

import subprocess
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path


class CannotMount(Exception):
    """Only root may, and only on Linux."""


@contextmanager
def small_disk(mount_point: Path, size_bytes: int) -> Generator[Path]:
    """A file system of its own. Raises CannotMount."""
    mount_point.mkdir(parents=True)
    try:
        subprocess.run(
            ["mount", "-t", "tmpfs", "-o", f"size={size_bytes}", "none", str(mount_point)],
            check=True, capture_output=True,
        )  # fmt: skip
    except (OSError, subprocess.CalledProcessError) as error:
        raise CannotMount(str(error)) from error
    try:
        yield mount_point
    finally:
        subprocess.run(["umount", "--lazy", str(mount_point)], check=True)


def fill(disk: Path) -> Path:
    """Leave no byte; the file that is in the way comes back."""
    ballast = disk / "ballast"
    with ballast.open("wb", buffering=0) as file:
        for size in (1 << 16, 1 << 12, 1):
            try:
                while file.write(bytes(size)):
                    pass
            except OSError:
                continue
    return ballast
