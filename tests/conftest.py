"""What every test shares: an environment of its own, and the Cassandra nodes, each started once a run.

The environment is scrubbed while this file is imported, before any test module can import textual, which reads
its variables once and for all.
"""

from __future__ import annotations

import atexit
import os
import shutil
import sys
import tempfile
from pathlib import Path

# A developer's own settings must not colour a snapshot or point a test at a real cluster.
_FOREIGN_NAMES = ("NO_COLOR", "FORCE_COLOR", "CLICOLOR", "CLICOLOR_FORCE", "COLORTERM", "PYTHONASYNCIODEBUG")
_FOREIGN_PREFIXES = ("TEXTUAL_", "CANOPY_", "CASCOR_", "CASSANDRA_")
# The two that speak to the tests themselves: where jars come from, and which scratch disk to use.
_KEPT = ("CANOPY_MAVEN_REPOSITORY",)

for _name in list(os.environ):
    if _name in _FOREIGN_NAMES or (_name.startswith(_FOREIGN_PREFIXES) and _name not in _KEPT):
        del os.environ[_name]

# Nothing a test does may reach the user's own state; the cache of jars is content-checked and is shared.
_scratch = Path(tempfile.mkdtemp(prefix="canopy-tests-"))
atexit.register(shutil.rmtree, _scratch, ignore_errors=True)
os.environ.update(
    TEXTUAL_ANIMATIONS="none",
    TERM="xterm-256color",
    XDG_STATE_HOME=str(_scratch / "state"),
    XDG_CONFIG_HOME=str(_scratch / "config"),
    XDG_DATA_HOME=str(_scratch / "data"),
)

_tests = Path(__file__).parent
if str(_tests) not in sys.path:
    sys.path.insert(0, str(_tests))
