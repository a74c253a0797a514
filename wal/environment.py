"""The environment variables that Canopy knows, and what to say of one that it does not.

Standard library only: a training warns of a misspelt one, and the settings refuse it.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable

CANOPY_VARIABLES = frozenset(
    {
        "CANOPY_CASSANDRA_VERSION", "CANOPY_CONFIG", "CANOPY_DIR", "CANOPY_MAVEN_REPOSITORY", "CANOPY_NODE",
        "CANOPY_PROJECT", "CANOPY_RUN_ID", "CANOPY_SILENT", "CANOPY_SYNC",
    }
)  # fmt: skip
"""Every CANOPY_* variable that any part of Canopy reads. CANOPY_TEST_* belongs to the tests."""

_PREFIX = "CANOPY_"
_TEST_PREFIX = "CANOPY_TEST_"


def unknown_variables(
    names: Iterable[str], known: Collection[str] = CANOPY_VARIABLES, prefixes: tuple[str, ...] = (_PREFIX,)
) -> list[str]:
    """Those of the set variables that begin like Canopy's own and are none of them, sorted."""
    found = (name for name in names if name.startswith(prefixes) and name not in known)
    return sorted(name for name in found if not name.startswith(_TEST_PREFIX))


def not_known(variable: str, known: Collection[str] = CANOPY_VARIABLES) -> str:
    """A sentence that names a variable nobody reads, and the known one that is nearest."""
    return f"the environment variable {variable} is not known{nearest(variable, known)}"


def nearest(name: str, known: Collection[str]) -> str:
    """The end of a sentence that says that ``name`` is not known."""
    import difflib  # only here: hardly a process ever needs it

    # A key of a section, written without its section, is nearer than any spelling.
    close = [key for key in known if key.rpartition(".")[2] == name]
    close = close or difflib.get_close_matches(name, known, n=1, cutoff=0.5)
    return f"; did you mean {close[0]}?" if close else f" (known are {', '.join(sorted(known))})."
