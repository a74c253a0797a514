"""``make test``: all tests, in two halves side by side: what one process waits for is the other's time.

One half is what needs a Cassandra node, so that each node is started once; the other is the rest, and
``tests/faults``, which wants a node too: both take as long then. With arguments
(``make test ARGS=tests/wal/test_run.py``) it is one process, and they are pytest's.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from pathlib import Path

PYTEST = (sys.executable, "-m", "pytest")
FIRST = ("-m", "cassandra and not faults")
SECOND = ("-m", "not cassandra or faults", "-o", "cache_dir=.pytest_cache/second")


def main() -> int:
    if len(sys.argv) > 1:
        return subprocess.call((*PYTEST, *sys.argv[1:]))
    sys.path.insert(0, str(Path(__file__).parent))
    from helpers.nodes import ANY_PORT

    with tempfile.TemporaryFile() as said:
        print("Two halves run side by side; the second is printed at the end.", flush=True)
        second = subprocess.Popen(
            (*PYTEST, *SECOND), stdout=said, stderr=subprocess.STDOUT, env={**os.environ, ANY_PORT: "1"}
        )
        try:
            failed = subprocess.call((*PYTEST, *FIRST))
            failed = second.wait() or failed
        except KeyboardInterrupt:  # both have got it
            failed = second.wait() or 1
        said.seek(0)
        sys.stdout.buffer.write(said.read())
    return failed


if __name__ == "__main__":
    sys.exit(main())
