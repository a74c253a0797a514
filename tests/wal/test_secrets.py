"""A password is nowhere but where its owner wrote it: not in a log, a crash report, a status, a screen, a
process list, nor in any file that Canopy or its node writes. One is planted, and everything is searched.
"""

from __future__ import annotations

import asyncio
import json
import signal
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from helpers.logs import write_run
from helpers.nodes import settings_for
from helpers.screens import until
from helpers.terminal import Terminal
from helpers.trainer import environment
from helpers.waiting import wait_until

from canopy_tui.app import CanopyApp
from wal.cassandra.server import Node
from wal.cassandra.session import connect
from wal.link import Finder
from wal.merged import MergedSource
from wal.reading.acks import Acks
from wal.settings import Secret, Settings, load, resolve

PLANTED = "xyzzy-4711-planted"
USER = "ada"
ROOT = Path(__file__).parents[2]


@pytest.fixture
def settings(cassandra_login: Node) -> Settings:
    """A keyspace's settings; the node knows the user with the planted password."""
    settings = settings_for(cassandra_login, username="cassandra", password=Secret("cassandra"))
    endpoint = resolve(settings, {})
    assert endpoint is not None
    session = connect(endpoint, settings)
    try:
        session.driver.execute(
            f"CREATE ROLE IF NOT EXISTS {USER} "
            f"WITH PASSWORD = '{PLANTED}' AND LOGIN = true AND SUPERUSER = true"
        )
    finally:
        session.close()
    return replace(settings, username=USER, password=Secret(PLANTED))


class Home:
    """A user's home: settings file, log and state below ``folder``; what was printed is kept."""

    def __init__(self, folder: Path, settings: Settings, where: str, password: str = PLANTED) -> None:
        self.folder, self.log_dir = folder, folder / "state" / "log"
        keys: dict[str, object] = {
            "contact_points": list(settings.contact_points), "port": settings.port, "local_dc": "datacenter1",
            "keyspace": settings.keyspace,
        }  # fmt: skip
        variables: dict[str, str] = {}
        if where == "file":
            keys["auth_provider"] = {"username": USER, "password": password}
        else:
            variables = {"CASSANDRA_USERNAME": USER, "CASSANDRA_PASSWORD": password}
        (folder / "conf").mkdir()
        (folder / "conf" / "cassandra_config.yaml").write_text(json.dumps({"cassandra": keys}))
        state = str(folder / "state")
        self.env = environment(
            CANOPY_DIR=str(self.log_dir), XDG_STATE_HOME=state, XDG_CONFIG_HOME=state, CANOPY_NODE="none",
            **variables,
        )  # fmt: skip
        self.printed: list[str] = []

    def canopy(self, *arguments: str) -> int:
        done = subprocess.run(
            [sys.executable, "-m", "canopy_tui", *arguments], env=self.env, cwd=self.folder,
            capture_output=True, text=True, timeout=120,
        )  # fmt: skip
        self.printed += [done.stdout, done.stderr]
        return done.returncode

    def syncer(
        self, program: str = "from wal.shipping.loop import main; sys.exit(main())"
    ) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [sys.executable, "-c", f"import sys; {program}", "--auto", "--log-dir", str(self.log_dir),
             "--cwd", str(self.folder)],
            env=self.env, cwd=self.folder, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
        )  # fmt: skip

    def status_row(self) -> dict[str, object]:
        acks = Acks(self.log_dir)
        acks.poll()
        return dict(acks.status)

    def screen(self) -> str:
        """The run's Storage tab as a picture."""
        return asyncio.run(self._screen())

    async def _screen(self) -> str:
        source = MergedSource(self.log_dir, find=Finder(self.env, self.folder))
        (row,) = source.local.runs()
        app = CanopyApp(source, log_dir=self.log_dir, open_run=row.run_id)
        try:
            async with app.run_test(size=(160, 40)) as pilot:
                await until(
                    pilot, lambda: app.store_status.connection.value not in ("starting", "local only")
                )
                await pilot.press("4")
                await pilot.pause()
                return app.export_screenshot()
        finally:
            source.close()

    def written(self) -> Iterator[tuple[Path, bytes]]:
        for path in (self.folder / "state").rglob("*"):
            if path.is_file():
                yield path, path.read_bytes()


def command_lines() -> bytes:
    """What ``ps`` shows of every process."""
    lines: list[bytes] = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            lines.append(path.read_bytes())
        except OSError:  # it ended meanwhile
            continue
    return b"\n".join(lines)


def assert_nowhere(home: Home, *texts: str) -> None:
    for text in (*home.printed, *texts):
        assert PLANTED not in text, text
    found = [path for path, content in home.written() if PLANTED.encode() in content]
    assert found == []
    assert PLANTED.encode() not in command_lines()


@pytest.mark.parametrize("where", ["file", "environment"])
def test_a_password_that_works(tmp_path: Path, settings: Settings, cassandra_login: Node, where: str) -> None:
    home = Home(tmp_path, settings, where)
    write_run(home.log_dir, ({"loss": float(n)} for n in range(50)))
    assert home.canopy("cassandra", "schema") == 0
    syncer = home.syncer()
    try:
        wait_until(lambda: home.status_row().get("drained"))
        assert_nowhere(home)  # of the running syncer and node too
        assert home.canopy("status") == 0
        assert home.canopy("status", "--json") == 0
        assert home.canopy("status", "--check") in (0, 2)
        assert home.canopy("ls") == home.canopy("show", "@last", "--json") == 0
        assert_nowhere(home, home.screen())
    finally:
        syncer.send_signal(signal.SIGTERM)
        printed, _ = syncer.communicate(timeout=60)
    assert_nowhere(home, printed)
    for path in (cassandra_login.spec.directory / "logs").iterdir():
        assert PLANTED.encode() not in path.read_bytes(), path


@pytest.mark.parametrize("where", ["file", "environment"])
def test_a_password_that_is_wrong(tmp_path: Path, settings: Settings, where: str) -> None:
    home = Home(tmp_path, replace(settings, username="cassandra"), where, password=f"{PLANTED}-wrong")
    write_run(home.log_dir, ({"loss": float(n)} for n in range(50)))
    syncer = home.syncer()
    try:
        wait_until(lambda: home.status_row().get("connection") == "trouble")
        home.canopy("status", "--json")
        assert '"verdict": "parked"' in home.printed[-2]
        assert home.canopy("status", "--check") == 1
        assert "AuthenticationFailed" in home.printed[-2]
        assert_nowhere(home, home.screen())
    finally:
        syncer.send_signal(signal.SIGTERM)
        printed, _ = syncer.communicate(timeout=60)
    assert_nowhere(home, printed)


CRASHES = """
from wal.shipping.loop import main
from wal.syncer import Syncer
def step(self):
    self.link.tick()
    raise RuntimeError(f"it fell over {self.settings!r} {self.link.target}")
Syncer.step = step
sys.exit(main())
"""


def test_a_crash_report(tmp_path: Path) -> None:
    """Whatever fails inside the syncer is written down with its traceback, and with all of the settings."""
    nowhere = Settings(contact_points=("127.0.0.1",), port=1, keyspace="cascor")
    home = Home(tmp_path, nowhere, "file")
    write_run(home.log_dir, [{"loss": 1.0}])
    printed, _ = home.syncer(CRASHES).communicate(timeout=60)
    log = (home.log_dir / "syncer.log").read_text()
    assert "Traceback" in log
    assert f"username='{USER}'" in log
    assert_nowhere(home, printed, log)


APP_CRASHES = """
import os, sys
from pathlib import Path
from canopy_tui.__main__ import main
from canopy_tui.screens.runs import RunsScreen
from wal.link import Finder
from wal.settings import load
def compose(self):
    settings, target = load(os.environ, Path.cwd()), Finder(os.environ, Path.cwd())()
    raise RuntimeError(f"it fell over {settings!r} {target}")
RunsScreen.compose = compose
sys.argv[1:] = []
main()
"""


def test_a_crash_of_the_app(tmp_path: Path) -> None:
    """What nobody foresaw is printed with its traceback and the values in it."""
    nowhere = Settings(contact_points=("127.0.0.1",), port=1, keyspace="cascor")
    home = Home(tmp_path, nowhere, "file")
    terminal = Terminal(sys.executable, "-c", APP_CRASHES, env=home.env, columns=200, rows=200, cwd=tmp_path)
    try:
        assert terminal.wait() == 1
        shown = "\n".join(terminal.printed)
    finally:
        terminal.close()
    assert "it fell over" in shown
    assert f"username='{USER}'" in shown
    assert_nowhere(home, shown)


def test_the_search_finds_what_is_there(tmp_path: Path) -> None:
    nowhere = Settings(contact_points=("127.0.0.1",), port=1, keyspace="cascor")
    home = Home(tmp_path, nowhere, "file")
    assert_nowhere(home)
    with pytest.raises(AssertionError):
        assert_nowhere(home, f"the password is {PLANTED}")
    shown = subprocess.Popen([sys.executable, "-c", "input()", PLANTED], stdin=subprocess.PIPE)
    wait_until(lambda: PLANTED.encode() in command_lines())
    with pytest.raises(AssertionError):
        assert_nowhere(home)
    shown.communicate(b"\n", timeout=60)
    home.log_dir.mkdir(parents=True)
    (home.log_dir / "x.db").write_bytes(b"\0" * 5000 + PLANTED.encode())
    with pytest.raises(AssertionError):
        assert_nowhere(home)


def test_settings_tell_nobody(tmp_path: Path) -> None:
    home = Home(tmp_path, Settings(contact_points=("127.0.0.1",), port=1, keyspace="cascor"), "file")
    settings = load(home.env, home.folder)
    assert settings.password is not None
    assert settings.password.reveal() == PLANTED
    for text in (repr(settings), str(settings), f"{settings.password}", f"{settings.password!r}"):
        assert PLANTED not in text
