"""The server's jars: pinned, downloaded, resumed, checked."""

from __future__ import annotations

import socket
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from helpers.repository import Repository, make_jar, repository

from wal.cassandra import download, jars
from wal.cassandra.jars import fetch_jars, is_whole
from wal.cassandra.noderecord import NodeError
from wal.cassandra.pinned import VERSIONS, Jar, pinned


@pytest.fixture
def server() -> Iterator[Repository]:
    with repository() as serving:
        yield serving


@pytest.fixture(autouse=True)
def _no_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(download, "BACKOFF_SECONDS", (0.0, 0.0))


class Reported:
    """What a download reported."""

    def __init__(self) -> None:
        self.done: list[int] = []
        self.total = 0

    def __call__(self, done: int, total: int) -> None:
        self.done.append(done)
        self.total = total


def get(server: Repository, folder: Path, *wanted: Jar) -> Reported:
    reported = Reported()
    paths = fetch_jars(list(wanted), repository=server.url, cache=folder, progress=reported)
    assert paths == [folder / jar.path for jar in wanted]
    assert all(is_whole(jar, path) for jar, path in zip(wanted, paths, strict=True))
    assert not list(folder.rglob("*.part"))
    return reported


@pytest.mark.parametrize("version", VERSIONS)
def test_pinned_lists(version: str) -> None:
    listed = pinned(version)
    assert listed[0].file_name == f"cassandra-all-{VERSIONS[version]}.jar"
    assert any(jar.artifact == "jamm" for jar in listed)
    assert len({jar.path for jar in listed}) == len(listed) > 50
    for jar in listed:
        assert len(jar.sha256) == 64
        assert jar.size > 0


def test_natives_of_other_platforms_stay_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("platform.system", lambda: "Darwin")
    monkeypatch.setattr("platform.machine", lambda: "arm64")
    natives = {jar.classifier for jar in pinned("5.0") if jar.classifier.startswith(("linux", "osx"))}
    assert natives == {"osx-aarch_64"}


def test_unknown_version() -> None:
    with pytest.raises(NodeError, match=r"Canopy starts Cassandra 5\.0 or 4\.1, not '3\.11'\."):
        pinned("3.11")


def test_downloads_all_and_only_once(server: Repository, tmp_path: Path) -> None:
    wanted = [server.add(f"jar{number}", 50_000 + number) for number in range(20)]
    reported = get(server, tmp_path, *wanted)
    assert reported.total == sum(jar.size for jar in wanted)
    assert max(reported.done) == reported.done[-1] == reported.total
    assert reported.done == sorted(reported.done)

    get(server, tmp_path, *wanted)
    assert {path: len(asked) for path, asked in server.asked.items()} == {jar.path: 1 for jar in wanted}


def test_a_cut_download_resumes_where_it_stopped(server: Repository, tmp_path: Path) -> None:
    jar = server.add("big", 1_000_000)
    server.cut_after[jar.path] = 500_000
    get(server, tmp_path, jar)
    assert server.asked[jar.path] == [None, "bytes=500000-"]


def test_a_later_process_resumes_as_well(server: Repository, tmp_path: Path) -> None:
    jar = server.add("big", 300_000)
    part = tmp_path / f"{jar.path}.part"
    part.parent.mkdir(parents=True)
    part.write_bytes(server.files[jar.path][:100_000])
    reported = get(server, tmp_path, jar)
    assert server.asked[jar.path] == ["bytes=100000-"]
    assert reported.done[0] == 100_000


def test_a_server_without_ranges_starts_again(server: Repository, tmp_path: Path) -> None:
    jar = server.add("big", 300_000)
    server.ranges = False
    server.cut_after[jar.path] = 200_000
    reported = get(server, tmp_path, jar)
    assert reported.done[-1] == jar.size


def test_many_cuts_in_a_row_are_survived_while_bytes_come(server: Repository, tmp_path: Path) -> None:
    jar = server.add("big", 10_000)
    folder = tmp_path / "cache"

    class CutsAlways(dict[str, int]):
        def pop(self, key: str, default: int = 0) -> int:  # pyright: ignore[reportIncompatibleMethodOverride]
            return 1_000

    server.cut_after = CutsAlways()
    get(server, folder, jar)
    assert len(server.asked[jar.path]) == 10


@pytest.mark.parametrize("damage", ["flipped", "short", "long"])
def test_a_damaged_jar_in_the_cache_is_fetched_again(server: Repository, tmp_path: Path, damage: str) -> None:
    jar = server.add("library", 20_000)
    other = server.add("other", 10_000)
    get(server, tmp_path, jar, other)
    content = server.files[jar.path]
    changed = {"flipped": b"?" + content[1:], "short": content[:-1], "long": content + b"?"}[damage]
    (tmp_path / jar.path).write_bytes(changed)
    get(server, tmp_path, jar, other)
    assert len(server.asked[other.path]) == 1


@pytest.mark.parametrize("size", [20_000, 30_000], ids=["same size", "too long"])
def test_a_damaged_part_is_fetched_again(server: Repository, tmp_path: Path, size: int) -> None:
    jar = server.add("library", 20_000)
    part = tmp_path / f"{jar.path}.part"
    part.parent.mkdir(parents=True)
    part.write_bytes(bytes(size))
    get(server, tmp_path, jar)


def test_wrong_content_from_the_repository_is_refused(server: Repository, tmp_path: Path) -> None:
    jar = server.add("library", 20_000)
    server.files[jar.path] = bytes(20_000)
    with pytest.raises(
        NodeError, match=r"library-1\.0\.jar does not have the pinned SHA-256, twice"
    ) as caught:
        get(server, tmp_path, jar)
    assert "\n" not in str(caught.value)
    assert not (tmp_path / jar.path).exists()
    assert not list(tmp_path.rglob("*.part"))


def test_a_repository_without_the_jar(server: Repository, tmp_path: Path) -> None:
    jar, _ = make_jar("absent", 1_000)
    with pytest.raises(NodeError, match=r"absent-1\.0\.jar cannot be had: 404 Not Found\.$"):
        get(server, tmp_path, jar)
    assert len(server.asked[jar.path]) == 1


def test_a_repository_in_trouble_is_asked_again(server: Repository, tmp_path: Path) -> None:
    jar = server.add("library", 1_000)
    server.refusals = [503, 429]
    get(server, tmp_path, jar)
    server.refusals = [503] * 10
    with pytest.raises(NodeError, match=r"downloaded from 127\.0\.0\.1:\d+ \(503 Service Unavailable\)"):
        get(server, tmp_path / "other", jar)


def test_no_network_keeps_what_came(server: Repository, tmp_path: Path) -> None:
    first, second = server.add("first", 2_000_000), server.add("second", 2_000_000)
    get(server, tmp_path, first)
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))  # bound, not listening: connections are refused
        url = f"http://127.0.0.1:{unused.getsockname()[1]}"
        with pytest.raises(
            NodeError,
            match=r"from 127\.0\.0\.1:\d+ \(Connection refused\): check the network, .*2 of 4 MB are kept\.",
        ) as caught:
            fetch_jars([first, second], repository=url, cache=tmp_path, progress=Reported())
    assert "\n" not in str(caught.value)
    get(server, tmp_path, first, second)


def test_no_room_is_said_before_anything_is_downloaded(server: Repository, tmp_path: Path) -> None:
    huge = Jar("org.example", "huge", "1.0", "", "0" * 64, 10**18)
    with pytest.raises(NodeError, match="are free: make room, or set XDG_CACHE_HOME"):
        get(server, tmp_path, huge)
    assert not server.asked


def test_a_cache_that_cannot_be_written(server: Repository, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    jar = server.add("library", 1_000)
    with pytest.raises(NodeError, match=r"jars cannot be kept in .*/file/cache: Not a directory\."):
        get(server, tmp_path / "file" / "cache", jar)


def test_two_downloaders_share_one_download(server: Repository, tmp_path: Path) -> None:
    wanted = [server.add(f"jar{number}", 200_000) for number in range(10)]
    threads = [threading.Thread(target=get, args=(server, tmp_path, *wanted)) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [len(server.asked[jar.path]) for jar in wanted] == [1] * len(wanted)


def test_repository_is_the_resolvers_unless_told_otherwise(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CANOPY_MAVEN_REPOSITORY", raising=False)
    from jgo.constants import MAVEN_CENTRAL_URL

    assert jars.repository_url() == MAVEN_CENTRAL_URL
    monkeypatch.setenv("CANOPY_MAVEN_REPOSITORY", "http://127.0.0.1:1/maven")
    assert jars.repository_url() == "http://127.0.0.1:1/maven"
    monkeypatch.setenv("CANOPY_MAVEN_REPOSITORY", "nonsense")
    with pytest.raises(NodeError, match="must begin with https:// or http://, not 'nonsense'"):
        jars.repository_url()


def test_without_the_resolver(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CANOPY_MAVEN_REPOSITORY", raising=False)
    monkeypatch.setitem(sys.modules, "jgo.constants", None)
    with pytest.raises(NodeError, match=r"pip install 'canopy-tui\[local\]'"):
        jars.repository_url()
