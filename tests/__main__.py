"""``make test``: all tests, in three lanes side by side: what one process waits for is another's time.

One is the app, one what else needs a Cassandra node, one the rest and ``tests/faults``; each starts nodes of
its own. With arguments (``make test ARGS=tests/wal/test_run.py``) it is one process, and they are pytest's.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from pathlib import Path

PYTEST = (sys.executable, "-m", "pytest")
APP = ("tests/canopy_tui", "tests/wal/test_node.py")
"""All that starts a node on the usual ports, as users do, is in one lane: to two they look free until one has
them."""
_NO_APP = tuple(f"--ignore={path}" for path in APP)
NODES = (*_NO_APP, "-m", "cassandra and not faults")
OTHERS = {"app": APP, "rest": (*_NO_APP, "-m", "not cassandra or faults")}
"""Each is about as long as the first."""


def main() -> int:
    if len(sys.argv) > 1:
        return subprocess.call((*PYTEST, *sys.argv[1:]))
    sys.path.insert(0, str(Path(__file__).parent))
    from helpers.nodes import ANY_PORT

    env = {**os.environ, ANY_PORT: "1"}
    with tempfile.TemporaryDirectory() as place:
        print("Three lanes run side by side; the second and the third are printed at the end.", flush=True)
        others = {Path(place) / name: arguments for name, arguments in OTHERS.items()}
        lanes = {output: _start(output, arguments, env) for output, arguments in others.items()}
        try:
            failed = subprocess.call((*PYTEST, *NODES), env=env)
        except KeyboardInterrupt:  # all three have got it
            failed = 1
        for output, lane in lanes.items():
            failed = lane.wait() or failed
            sys.stdout.buffer.write(output.read_bytes())
    return failed


def _start(output: Path, arguments: tuple[str, ...], env: dict[str, str]) -> subprocess.Popen[bytes]:
    """A lane that writes into a file. Its cache is its own: the last to end would overwrite the others'."""
    cache = ("-o", f"cache_dir=.pytest_cache/{output.name}")
    with output.open("wb") as said:
        return subprocess.Popen((*PYTEST, *arguments, *cache), stdout=said, stderr=subprocess.STDOUT, env=env)


if __name__ == "__main__":
    sys.exit(main())
