"""``make test``: all tests, in two processes side by side: those that need a Cassandra node, and the others.

Each node is started once that way, and what one process waits for is the other's time. With arguments
(``make test ARGS=tests/wal/test_run.py``) it is one process, and they are pytest's.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile

PYTEST = (sys.executable, "-m", "pytest")


def main() -> int:
    if len(sys.argv) > 1:
        return subprocess.call((*PYTEST, *sys.argv[1:]))
    with tempfile.TemporaryFile() as said:
        print("Tests without a node run beside; they are printed at the end.", flush=True)
        cache = "cache_dir=.pytest_cache/without_node"
        without_node = subprocess.Popen(
            (*PYTEST, "-m", "not cassandra", "-o", cache), stdout=said, stderr=subprocess.STDOUT
        )
        try:
            failed = subprocess.call((*PYTEST, "-m", "cassandra"))
            failed = without_node.wait() or failed
        except KeyboardInterrupt:  # they have got it too
            failed = without_node.wait() or 1
        said.seek(0)
        sys.stdout.buffer.write(said.read())
    return failed


if __name__ == "__main__":
    sys.exit(main())
