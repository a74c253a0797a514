"""A class data sharing archive: the server's classes parsed once, then mapped, for a quick start.

The first start of a version notes which classes it loads; a job of low priority writes the archive from
that list once the node is up (some 8 s of one core, 63 MB), and later starts map it: 4.3 s instead of 7.6 s
to the first CQL answer, and two thirds of the CPU time (5.0.5 on two cores). Java itself refuses an archive
that does not fit its own build or the jars, and starts without it.
"""

from __future__ import annotations

import hashlib
import os
import subprocess
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from wal.cassandra.jars import cache_dir
from wal.cassandra.java import Java
from wal.paths import make_private_directory

# Archives of a class list are good from 17 on; 11 needs other options and is rare.
ARCHIVING_MAJOR = 17
# A job that has not ended after this was killed; another may begin.
JOB_SECONDS = 600.0

# Its arguments: part file, archive, the command that writes it. The shell leaves the work to a child and ends
# at once: nobody here has to wait for it.
_JOB = 'from=$1 to=$2; shift 2; { nice -n 19 "$@" >/dev/null 2>&1 && mv "$from" "$to" || rm -f "$from"; } &'


@dataclass(frozen=True)
class ClassArchive:
    """The archive for one Java and one class path, there or not. ``class_list`` is the node's own file."""

    java: Java
    class_path: Sequence[Path]
    class_list: Path

    @property
    def path(self) -> Path:
        """Where it lies, in the cache: a name per Java build and class path."""
        build = f"{self.java.path} {os.stat(self.java.path).st_mtime_ns} {self.class_path}"
        digest = hashlib.blake2b(build.encode(), digest_size=8).hexdigest()
        return cache_dir().parent / "archives" / f"{digest}.jsa"

    @property
    def usable(self) -> bool:
        """Whether it is there for the next start to use."""
        return self.java.major == ARCHIVING_MAJOR and self.path.is_file()

    def options(self) -> list[str]:
        """The Java options of a start: use the archive, or note the classes for it."""
        if self.java.major != ARCHIVING_MAJOR:
            return []
        if self.usable:
            return [f"-XX:SharedArchiveFile={self.path}"]
        return [f"-XX:DumpLoadedClassList={self.class_list}"]

    def discard(self) -> None:
        """Forget it: a server that used it crashed, and it may be why."""
        self.path.unlink(missing_ok=True)

    def build_later(self) -> None:
        """Write it in the background from the noted classes, unless it is there or being written.

        A convenience: what goes wrong here costs the next start its head start and nothing else.
        """
        if self.java.major != ARCHIVING_MAJOR or self.usable:
            return
        part = self.path.with_suffix(".part")
        try:
            make_private_directory(self.path.parent)
            if part.exists() and time.time() - part.stat().st_mtime < JOB_SECONDS:
                return
            part.touch()
            self._keep_whole_lines()
        except OSError:
            return
        dump = [
            str(self.java.path),
            "-Xshare:dump",
            "-XX:+UseSerialGC",
            f"-XX:SharedClassListFile={self.class_list}.whole",
            f"-XX:SharedArchiveFile={part}",
            "-cp",
            os.pathsep.join(map(str, self.class_path)),
        ]
        subprocess.run(
            ["sh", "-c", _JOB, "sh", str(part), str(self.path), *dump],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
            check=False,
        )

    def _keep_whole_lines(self) -> None:
        """The server still writes its list: leave out the line it is at."""
        noted = self.class_list.read_bytes()
        Path(f"{self.class_list}.whole").write_bytes(noted[: noted.rfind(b"\n") + 1])
