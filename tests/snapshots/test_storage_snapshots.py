"""The Storage tab as pictures: the real app on a log of the real journal and the real ``state.db``.

Only what differs from machine to machine is put in: the log's path, bytes on disk, a process' number, and
nodes, which answer in another time each time. Look at each picture before updating it.
"""

from __future__ import annotations

import dataclasses
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from uuid import UUID

import pytest
from helpers.onerun import LASTING_S, RECORDS, write_run
from helpers.pictures import NARROW, NORMAL, WIDE, Snapshot, shoot
from helpers.screenlogs import SECOND_NS, LogWriter

from canopy_tui.app import CanopyApp
from wal.link import Target
from wal.merged import MergedSource
from wal.reading.storage import DiskState, NodeState, StorageReport
from wal.settings import Settings
from wal.shipping.cursors import SegmentState, State, VerifiedSegment
from wal.source import Connection

pytestmark = pytest.mark.usefixtures("utc")

NAME = "cascade-7"
ROOT = Path(__file__).parents[2]
MIB = 1 << 20
UP = (
    NodeState("10.0.0.11:9042", "up", "rack-west", "5.0.5", 0.84),
    NodeState("10.0.0.12:9042", "up", "rack-west", "5.0.5", 1.31),
    NodeState("10.0.0.13:9042", "down", "rack-west", "5.0.5", None),
)
GONE = {
    "connection": "offline",
    "detail": "Cassandra at db:9042 does not answer (NoHostAvailable: no route to host).",
    "remedy": "See what is wrong: canopy status --check",
    "endpoint": "db:9042", "keyspace": "cascor", "version": "0.1.0",
}  # fmt: skip
PARKED = {
    "connection": "trouble", "detail": "Keyspace 'cascor' does not exist at db:9042.",
    "remedy": "Create it with: canopy cassandra schema", "endpoint": "db:9042", "keyspace": "cascor",
    "version": "0.1.0",
}  # fmt: skip
WORKS = {
    "connection": "catching up", "endpoint": "db:9042", "keyspace": "cascor", "version": "0.1.0",
    "rate": 412.0,
}  # fmt: skip


class SameEverywhere(MergedSource):
    """A source whose report has nothing of this machine in it."""

    nodes: tuple[NodeState, ...] = ()

    def storage(self, now_ns: int, run_id: UUID | None = None) -> StorageReport:
        report = super().storage(now_ns, run_id)
        streams = tuple(dataclasses.replace(one, disk_bytes=one.committed * 1100) for one in report.streams)
        pid = None if report.syncer.pid is None else 4711
        return dataclasses.replace(
            report, log_dir=Path("/home/ada/.local/state/canopy"), streams=streams, nodes=self.nodes,
            syncer=dataclasses.replace(report.syncer, pid=pid), disk=DiskState(13 * MIB, 74_000 * MIB),
        )  # fmt: skip


@pytest.fixture
def writer(tmp_path: Path) -> Iterator[LogWriter]:
    writer = LogWriter(tmp_path / "log")
    yield writer
    writer.close()


@pytest.fixture
def syncer(tmp_path: Path) -> Iterator[None]:
    """A process that holds the lock of the syncer."""
    (tmp_path / "log").mkdir(exist_ok=True)
    code = (
        "import sys, pathlib; from wal.shipping.daemon import Lock\n"
        "assert Lock(pathlib.Path(sys.argv[1])).acquire(); print('held', flush=True); sys.stdin.read()"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", code, str(tmp_path / "log")], cwd=ROOT, stdin=subprocess.PIPE,
        stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    assert process.stdout is not None
    assert process.stdout.readline() == "held\n"
    yield
    process.communicate("", timeout=60)


def say(
    writer: LogWriter,
    row: dict[str, object],
    acked: int,
    *,
    verified: int = 0,
    rejected: int = 0,
    ago_s: float = 0,
) -> None:
    """What the syncer wrote down ``ago_s`` before now: its row, and how far it is with the run."""
    stream_id = writer.journals[NAME].stream_id
    writer.journals[NAME].flush()
    state = State(writer.log_dir)
    state.put_segment(SegmentState(stream_id, 1, 1, acked))
    if verified:
        state.put_verified(VerifiedSegment(stream_id, 1, 1, verified, writer.now_ns))
    for seq in range(1, rejected + 1):
        reason = (
            "Cassandra at db:9042 rejected a record: Key length of 70000 is longer than maximum of 65535."
        )
        state.put_rejected(stream_id, seq, reason, writer.now_ns)
    since_ns = writer.now_ns - int(ago_s * SECOND_NS)
    said = {"since_ns": since_ns, "updated_ns": writer.now_ns, "pid": 4711, **row}
    if "remedy" in row:
        said["last_error"] = {"sentence": row["detail"], "remedy": row["remedy"], "at_ns": since_ns}
        said["next_retry_ns"] = writer.now_ns + 12 * SECOND_NS
    if acked < RECORDS:
        said["streams"] = {str(stream_id): {"lane": "backlog", "rate": row.get("rate", 0.0)}}
    state.put_status(said)
    state.commit()
    state.close()


def storage_app(
    writer: LogWriter,
    run_id: UUID,
    connection: Connection,
    nodes: tuple[NodeState, ...] = (),
    **options: object,
) -> CanopyApp:
    target = Target(Settings(), None, connection)
    source = SameEverywhere(writer.log_dir, find=lambda: target, clock_ns=writer.clock_ns)
    source.nodes = nodes
    return CanopyApp(
        source, log_dir=writer.log_dir, clock_ns=writer.clock_ns, open_run=run_id, **options  # type: ignore[arg-type]
    )  # fmt: skip


SIZES = pytest.mark.parametrize("size", [WIDE, NORMAL], ids=["120x40", "80x24"])


@SIZES
def test_delivered_and_verified(
    snap_compare: Snapshot, writer: LogWriter, syncer: None, size: tuple[int, int]
) -> None:
    run_id = write_run(writer, NAME)
    say(writer, WORKS | {"connection": "up", "rate": 0.0}, RECORDS, verified=RECORDS)
    writer.end(NAME)
    shoot(snap_compare, storage_app(writer, run_id, Connection.UP, UP), size, "4",
          says="delivered and verified")  # fmt: skip


@SIZES
def test_catching_up(snap_compare: Snapshot, writer: LogWriter, syncer: None, size: tuple[int, int]) -> None:
    run_id = write_run(writer, NAME)
    say(writer, WORKS, 400, verified=300)
    shoot(snap_compare, storage_app(writer, run_id, Connection.UP, UP), size, "4", says="on the way")


@SIZES
def test_offline_for_two_days(
    snap_compare: Snapshot, writer: LogWriter, syncer: None, size: tuple[int, int]
) -> None:
    run_id = write_run(writer, NAME)
    say(writer, GONE, 400, ago_s=187_200)
    shoot(snap_compare, storage_app(writer, run_id, Connection.OFFLINE), size, "4", says="offline 2 d 04 h")


@SIZES
def test_parked(snap_compare: Snapshot, writer: LogWriter, syncer: None, size: tuple[int, int]) -> None:
    run_id = write_run(writer, NAME)
    say(writer, PARKED, 0, ago_s=723)
    shoot(snap_compare, storage_app(writer, run_id, Connection.TROUBLE), size, "4", says="parked 12 m 03 s")


def test_rejected_after_a_resume(snap_compare: Snapshot, writer: LogWriter, syncer: None) -> None:
    """Two streams, the first failed; the server refused records of the second."""
    run_id = write_run(writer, NAME)
    say(writer, WORKS, RECORDS)
    writer.resume(NAME)
    for step in range(RECORDS):
        writer.log(NAME, {"train/loss": 0.3}, step)
    say(writer, WORKS | {"connection": "up", "rate": 0.0}, RECORDS, rejected=3)
    shoot(
        snap_compare, storage_app(writer, run_id, Connection.UP, UP), WIDE, "4", says="rejected by the server"
    )


def test_in_ascii(snap_compare: Snapshot, writer: LogWriter, syncer: None) -> None:
    run_id = write_run(writer, NAME)
    say(writer, GONE, 400, ago_s=LASTING_S)
    app = storage_app(writer, run_id, Connection.OFFLINE, unicode=False)
    shoot(snap_compare, app, NORMAL, "4", says="offline 3 m")


def test_narrow(snap_compare: Snapshot, writer: LogWriter, syncer: None) -> None:
    run_id = write_run(writer, NAME)
    say(writer, WORKS, 400)
    shoot(snap_compare, storage_app(writer, run_id, Connection.UP, UP), NARROW, "4", says="on the way")
