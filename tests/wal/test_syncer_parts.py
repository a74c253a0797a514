"""The syncer's parts by themselves: ranges, state.db, lanes, doubts, window, link. No Cassandra."""

from __future__ import annotations

import os
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from uuid import UUID, uuid4

import cassandra
import pytest
from cassandra import protocol
from helpers.logs import SECOND, START_NS, Ticking, log, make_run, open_journal, write_run
from helpers.syncing import write_segments
from hypothesis import given
from hypothesis import strategies as st

from wal.cassandra.rows import Batch, PackedRow
from wal.link import BACKOFF_LONGEST_S, GIVE_UP_S, PROBE_S, Backoff, Finder, Link, Target
from wal.settings import Settings, resolve
from wal.shipping.backlog import Backlog
from wal.shipping.cursors import Doubt, SegmentState, State, StreamState
from wal.shipping.doubts import QUIET_S, Doubts
from wal.shipping.loop import LINGER_S, Patience
from wal.shipping.ranges import Ranges
from wal.shipping.registering import newest_seq
from wal.shipping.sending import WINDOW_MAX, WINDOW_MIN, Parcel, RecordParcel, Reply, Shipper, Window
from wal.shipping.unshipped import LIVE_BEHIND, LIVE_READ, Segment, Stream
from wal.source import Connection
from wal.syncer import Outcome, Syncer

pairs = st.tuples(st.booleans(), st.integers(0, 60), st.integers(0, 12))


# -- ranges ------------------------------------------------------------------------------------------


@given(st.lists(pairs, max_size=40))
def test_ranges_are_a_set_of_integers(steps: list[tuple[bool, int, int]]) -> None:
    ranges, model = Ranges(), set[int]()
    for adds, first, length in steps:
        if adds:
            ranges.add(first, first + length - 1)
            model |= set(range(first, first + length))
        else:
            ranges.remove(first, first + length - 1)
            model -= set(range(first, first + length))
        assert {n for low, high in ranges for n in range(low, high + 1)} == model
        assert ranges.count == len(model)
        assert all(b[0] - a[1] > 1 for a, b in zip(ranges.pairs, ranges.pairs[1:], strict=False))


def test_taking_the_lowest_run() -> None:
    ranges = Ranges([(5, 9), (1, 2)])
    assert [ranges.take_first(3) for _ in range(4)] == [(1, 2), (5, 7), (8, 9), None]


# -- state.db ----------------------------------------------------------------------------------------


def test_what_was_committed_is_read_back(tmp_path: Path) -> None:
    state = State(tmp_path)
    known = state.put_stream(StreamState(uuid4(), uuid4()), base_us=17)
    cursor = SegmentState(known.stream_id, 2, 8001, 9000, stated=True)
    state.put_segment(cursor)
    doubt = Doubt(known.stream_id, 2, 3, 8500, 9000)
    state.put_doubt(doubt)
    state.put_rejected(known.stream_id, 77, "too large", 1)
    state.commit()
    other = State(tmp_path)
    assert other.streams() == {known.stream_id: known}
    assert other.segments(known.stream_id) == [cursor]
    assert other.doubts() == [doubt]
    assert other.rejected_count() == 1
    state.clear_doubt(doubt)
    state.commit()
    assert other.doubts() == []


def test_another_cassandra_forgets_cursors_and_keeps_bases(tmp_path: Path) -> None:
    state = State(tmp_path)
    known = state.put_stream(StreamState(uuid4(), uuid4()), base_us=17, registered=True, end_shipped=True)
    state.put_segment(SegmentState(known.stream_id, 1, 1, 50))
    state.commit()
    state.start_over()
    assert state.segments(known.stream_id) == []
    (kept,) = state.streams().values()
    assert (kept.base_us, kept.registered, kept.end_shipped) == (17, False, False)


def test_a_damaged_state_db_is_put_aside(tmp_path: Path) -> None:
    (tmp_path / "state.db").write_bytes(b"this was never a database" * 100)
    assert State(tmp_path).streams() == {}
    assert list(tmp_path.glob("state.db.damaged-*"))


# -- lanes -------------------------------------------------------------------------------------------


def backlog_of(log_dir: Path, now_ns: int = START_NS, **options: bool) -> Backlog:
    backlog = Backlog(log_dir, **options)
    while True:
        for run_id, stream_id, directory in backlog.find(now_ns):
            backlog.adopt(Stream(run_id, stream_id, directory, StreamState(stream_id, run_id)), now_ns)
        if backlog.all_seen:
            return backlog


def test_old_streams_wait_oldest_first_and_a_live_one_does_not(tmp_path: Path) -> None:
    old = [
        write_run(tmp_path, [{"x": 1.0}] * 30, make_run(at_ns=START_NS - n * SECOND),
                  clock_ns=Ticking(START_NS - n * SECOND))
        for n in (5, 9, 7)
    ]  # fmt: skip
    journal = open_journal(tmp_path)
    log(journal, 1, {"x": 1.0})
    backlog = backlog_of(tmp_path, now_ns=2**62)  # so late that the ended ones are not recent
    stream, _, first, last = backlog.next_live(100) or pytest.fail("nothing live")
    assert (stream.stream_id, first, last) == (journal.stream.stream_id, 1, 1)
    assert backlog.next_live(100) is None
    order = []
    while (taken := backlog.next_old(20)) is not None:
        order.append((taken[0].stream_id, taken[2], taken[3]))
    assert order == [(old[n][1], *part) for n in (1, 2, 0) for part in ((1, 20), (21, 30))]
    journal.close("done", 0)


def test_a_live_stream_at_first_sight_gives_its_newest_first(tmp_path: Path) -> None:
    journal = open_journal(tmp_path)
    for step in range(2000):
        log(journal, step, {"x": 1.0})
    backlog = backlog_of(tmp_path)
    _, _, first, last = backlog.next_live(10_000) or pytest.fail("nothing live")
    assert (first, last) == (2001 - LIVE_READ, 2000)
    _, _, first, last = backlog.next_old(10_000) or pytest.fail("nothing old")
    assert (first, last) == (1, 2000 - LIVE_READ)
    log(journal, 2000, {"x": 1.0})
    backlog.look(START_NS)
    _, _, first, last = backlog.next_live(10_000) or pytest.fail("nothing live")
    assert (first, last) == (2001, 2001)
    journal.close("done", 0)


def test_a_live_lane_that_falls_behind_jumps_to_the_newest(tmp_path: Path) -> None:
    journal = open_journal(tmp_path, records_per_segment=1000)
    log(journal, 0, {"x": 1.0})
    backlog = backlog_of(tmp_path)
    for step in range(1, LIVE_BEHIND + 100):
        log(journal, step, {"x": 1.0})
    backlog.look(START_NS)
    taken = []
    while (found := backlog.next_live(300)) is not None:
        taken.append(found[2:])
    newest = LIVE_BEHIND + 100
    assert taken[0][0] == newest - LIVE_READ + 1
    assert taken[-1][1] == newest
    assert backlog.streams[journal.stream.stream_id].todo == Ranges([(1, newest - LIVE_READ)])
    journal.close("done", 0)


def test_offline_streams_are_left_to_an_explicit_sync(tmp_path: Path) -> None:
    journal = open_journal(tmp_path, mode="offline")
    log(journal, 1, {"x": 1.0})
    assert backlog_of(tmp_path, include_offline=False).streams == {}
    assert len(backlog_of(tmp_path).streams) == 1
    journal.close("done", 0)


def test_a_killed_writer_is_known_to_be_dead(tmp_path: Path) -> None:
    program = (
        "import sys; sys.path[:0] = sys.argv[2:]\n"
        "from pathlib import Path; import os, signal\n"
        "from helpers.logs import open_journal, log\n"
        "journal = open_journal(Path(sys.argv[1]))\n"
        "for step in range(10): log(journal, step, {'x': 1.0})\n"
        "print('ready', flush=True); signal.pause()"
    )
    root = Path(__file__).resolve().parents[2]
    child = subprocess.Popen(
        [sys.executable, "-c", program, str(tmp_path), str(root), str(root / "tests")],
        stdout=subprocess.PIPE,
    )
    assert child.stdout is not None
    assert child.stdout.readline() == b"ready\n"
    backlog = backlog_of(tmp_path)
    (stream,) = backlog.streams.values()
    assert stream.live
    os.kill(child.pid, signal.SIGKILL)
    child.communicate()
    backlog.look(START_NS)
    assert stream.state.value == "crashed"
    assert not backlog.live
    assert stream.newest == 10


def test_a_segment_of_a_newer_format_leaves_the_others(tmp_path: Path) -> None:
    import sqlite3

    directory = write_segments(tmp_path, [10, 10, 5])
    path = directory / "000002.db"
    with sqlite3.connect(path) as db:
        db.execute("UPDATE meta SET v = '99' WHERE k = 'format'")
    db.close()
    backlog = backlog_of(tmp_path)
    assert [str(path) in problem for problem in backlog.problems] == [True]
    taken = []
    while (found := backlog.next_live(100) or backlog.next_old(100)) is not None:
        taken.append(found[2:])
    assert sorted(taken) == [(1, 10), (21, 25)]


# -- doubts ------------------------------------------------------------------------------------------


class Monotonic:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


def anywhere(_stream: UUID, _segment: int) -> bool:
    return True


def test_an_acknowledgement_is_doubtful_until_it_was_quiet(tmp_path: Path) -> None:
    state, monotonic, stream = State(tmp_path), Monotonic(), uuid4()
    doubts = Doubts(state, monotonic, lambda: START_NS)
    doubts.note(stream, 1, 1, 50)
    monotonic.now += QUIET_S - 1
    doubts.clear()
    doubts.lost()
    again, first, last = doubts.take(100, anywhere) or pytest.fail("not doubtful")
    assert (first, last, doubts.waiting) == (1, 50, 50)
    doubts.note(stream, 1, 1, 50)
    doubts.settle(again, 1, 50)
    assert doubts.waiting == 0
    monotonic.now += QUIET_S
    doubts.clear()
    doubts.lost()
    assert doubts.take(100, anywhere) is None
    state.commit()
    assert state.doubts() == []


def test_what_the_last_syncer_left_is_doubtful(tmp_path: Path) -> None:
    state, stream = State(tmp_path), uuid4()
    doubts = Doubts(state, Monotonic(), lambda: START_NS)
    doubts.note(stream, 3, 101, 150)
    state.commit()
    reborn = Doubts(State(tmp_path), Monotonic(), lambda: START_NS)
    assert reborn.streams == {stream}
    again, first, last = reborn.take(30, anywhere) or pytest.fail("not doubtful")
    assert (first, last) == (101, 130)
    reborn.give_back(again, first, last)
    assert (reborn.take(100, anywhere) or ())[1:] == (101, 150)


def test_a_doubt_waits_for_a_segment_that_is_not_open_and_ends_with_one_that_is_gone(tmp_path: Path) -> None:
    doubts, stream = Doubts(State(tmp_path), Monotonic(), lambda: START_NS), uuid4()
    doubts.note(stream, 1, 1, 50)
    doubts.lost()
    assert doubts.take(100, lambda *_: False) is None
    assert doubts.waiting == 50
    again, first, last = doubts.take(100, anywhere) or pytest.fail("not doubtful")
    doubts.keep_unread(again, first, last)  # no permission to read it, just now
    assert doubts.take(100, anywhere) is None
    doubts.try_again(lambda *_: True)
    assert (doubts.take(100, anywhere) or ())[1:] == (1, 50)
    doubts.try_again(lambda *_: False)
    assert doubts.waiting == 0


def test_a_segment_that_becomes_readable_after_its_successors(tmp_path: Path) -> None:
    directory = write_segments(tmp_path, [10, 10, 10])
    run_id, stream_id = UUID(directory.parent.name), UUID(directory.name)
    second = directory / "000002.db"
    whole = second.read_bytes()
    second.write_bytes(b"not a database" * 100)
    stream = Stream(run_id, stream_id, directory, StreamState(stream_id, run_id))
    stream.look(START_NS)
    assert second in stream.problems
    second.write_bytes(whole)
    stream.try_damaged(START_NS)
    taken = set[int]()
    while pair := stream.take(live=True, limit=7) or stream.take(live=False, limit=7):
        taken |= set(range(pair[1], pair[2] + 1))
    assert taken == set(range(1, 31))


def test_what_could_not_be_read_is_tried_again_though_its_segment_can_be_read_since(tmp_path: Path) -> None:
    """A reading that fails once, beside a segment that grows: its next look finds nothing wrong with it."""
    journal = open_journal(tmp_path)
    for step in range(10):
        log(journal, step, {"x": 1.0})
    stream = Stream(journal.run_id, journal.stream_id, journal.directory, StreamState(uuid4(), uuid4()))
    stream.look(START_NS)
    segment, first, last = stream.take(live=True, limit=100) or pytest.fail("nothing to take")
    stream.problems[segment.path] = "locked"
    stream.damaged.add(first, last)
    log(journal, 10, {"x": 1.0})
    stream.look(START_NS)
    assert stream.problems == {}
    stream.try_damaged(START_NS)
    assert (stream.take(live=False, limit=100) or ())[1:] == (1, 10)
    journal.close("done", 0)


def test_a_stream_that_cannot_be_listed_is_named_and_the_others_go_on(tmp_path: Path) -> None:
    directory = write_segments(tmp_path, [5])
    directory.with_name(str(uuid4())).write_text("a file where a directory is expected")
    backlog = Backlog(tmp_path, include_offline=True)
    for found_run, found, directory in backlog.find(START_NS):
        backlog.adopt(Stream(found_run, found, directory, StreamState(found, found_run)), START_NS)
    assert sum(stream.newest for stream in backlog.streams.values()) == 5
    assert any("cannot be listed" in problem for problem in backlog.problems)


def test_a_younger_note_of_the_same_moment_keeps_the_older_one_in_state_db(tmp_path: Path) -> None:
    state, stream = State(tmp_path), uuid4()
    doubts = Doubts(state, Monotonic(), lambda: START_NS)
    doubts.note(stream, 1, 1, 50)
    doubts.lost()
    doubts.note(stream, 1, 51, 60)  # acknowledged by the node that came back
    state.commit()
    reborn = Doubts(State(tmp_path), Monotonic(), lambda: START_NS)
    assert (reborn.take(100, anywhere) or ())[1:] == (1, 60)


# -- sending -----------------------------------------------------------------------------------------


class Answering:
    """A node that answers when it is told to: no real one can be killed between two acknowledgements."""

    def __init__(self) -> None:
        self.asked: list[tuple[object, Callable[[object, Exception | None], None]]] = []

    def send(self, batch: object, done: Callable[[object, Exception | None], None]) -> None:
        self.asked.append((batch, done))

    def acknowledge(self, *batches: str) -> None:
        for batch, done in self.asked:
            if batch in batches:
                done(batch, None)
        self.asked = [pair for pair in self.asked if pair[0] not in batches]


def test_what_a_lost_node_acknowledged_of_a_parcel_goes_once_more(tmp_path: Path) -> None:
    """The first batch of three was acknowledged when the node died: it may have died with the node."""
    shipper, node, whole = Shipper(Monotonic()), Answering(), list[Parcel]()
    stream = Stream(uuid4(), uuid4(), tmp_path, StreamState(uuid4(), uuid4()))
    parcel = RecordParcel(stream, Segment(tmp_path / "000001.db", 1), 1, 300, live=False)
    shipper.put(parcel, ["a", "b", "c"])  # type: ignore[list-item]

    def settle() -> None:
        for reply in shipper.collect():
            shipper.delivered(reply.sending, whole.append)

    shipper.pump(node)  # type: ignore[arg-type]
    node.acknowledge("a")
    settle()
    shipper.recall()
    shipper.distrust()
    node.asked.clear()
    shipper.pump(node)  # type: ignore[arg-type]
    assert sorted(batch for batch, _ in node.asked) == ["a", "b", "c"]
    node.acknowledge("b", "c")
    settle()
    assert whole == []
    node.acknowledge("a")
    settle()
    assert whole == [parcel]


def test_what_was_answered_leaves_the_window_at_once_and_is_collected_once(tmp_path: Path) -> None:
    """Between two halves of a slice of pages the node gets what is ready; its replies wait for their turn."""
    shipper, node = Shipper(Monotonic()), Answering()
    stream = Stream(uuid4(), uuid4(), tmp_path, StreamState(uuid4(), uuid4()))
    parcel = RecordParcel(stream, Segment(tmp_path / "000001.db", 1), 1, 600, live=False)
    names = [str(number) for number in range(WINDOW_MIN + 2)]
    shipper.put(parcel, names)  # type: ignore[arg-type]
    shipper.pump(node)  # type: ignore[arg-type]
    assert [batch for batch, _ in node.asked] == names[:WINDOW_MIN]
    node.acknowledge("0", "1")
    shipper.pump(node)  # type: ignore[arg-type]
    assert [batch for batch, _ in node.asked] == names[2:]
    node.acknowledge(*names[2:])
    shipper.pump(node)  # type: ignore[arg-type]
    assert not shipper.idle, "nothing is in flight, and six replies are to be collected"
    assert [reply.sending.batch for reply in shipper.collect()] == names
    assert shipper.idle
    assert shipper.collect() == []


# What a server and the driver say of a moment, not of a batch.
MOMENTARY = (
    cassandra.OperationTimedOut(),
    cassandra.WriteTimeout("no answer", consistency=6, write_type=cassandra.WriteType.UNLOGGED_BATCH),
    cassandra.Unavailable("too few", consistency=6, required_replicas=2, alive_replicas=1),
    protocol.OverloadedErrorMessage(0x1001, "overloaded", None),
    ConnectionRefusedError("refused"),
)
WRITE_FAILURE = cassandra.WriteFailure("a replica failed", consistency=6, failures=1)


def test_a_batch_is_set_aside_for_its_own_fault_and_never_for_time_outs(tmp_path: Path) -> None:
    syncer = Syncer(tmp_path, lambda _: pytest.fail("nowhere"), lambda: Target(Settings(), None))
    stream = Stream(uuid4(), uuid4(), tmp_path, StreamState(uuid4(), uuid4()))
    segment = Segment(tmp_path / "000001.db", 1, first_seq=1, last_seq=1)
    batch = Batch(stream.run_id, stream.stream_id, 1, 1, 1, 64, rows=(PackedRow(1, "INSERT", [], 64),))
    syncer.shipper.put(RecordParcel(stream, segment, 1, 1, live=False), [batch])

    def fails(error: Exception) -> None:
        syncer._settle(Reply(syncer.shipper.lanes.pop(), error, epoch=0))

    for error in MOMENTARY * 50:
        fails(error)
    assert (len(syncer.shipper.lanes), syncer.rejected) == (1, 0), "sent again, for ever"
    for _ in range(3):
        fails(WRITE_FAILURE)
    for error in MOMENTARY * 5:
        fails(error)
    assert (len(syncer.shipper.lanes), syncer.rejected) == (1, 0)
    fails(WRITE_FAILURE)
    assert (len(syncer.shipper.lanes), syncer.rejected) == (0, 1), "the fourth time it is its own"
    syncer.close()


# -- window and back-off -----------------------------------------------------------------------------


def test_the_window_grows_by_one_and_is_halved_once_for_a_burst() -> None:
    monotonic = Monotonic()
    window = Window(monotonic)
    assert window.size == WINDOW_MIN
    for _ in range(100):
        window.grow()
    assert window.size == WINDOW_MAX
    for _ in range(10):
        window.shrink()
    assert window.size == WINDOW_MAX // 2
    for _ in range(10):
        monotonic.now += 2
        window.shrink()
    assert window.size == WINDOW_MIN


def test_backoff_has_full_jitter_and_no_end() -> None:
    drawn: list[tuple[float, float]] = []

    def uniform(low: float, high: float) -> float:
        drawn.append((low, high))
        return high

    backoff = Backoff(uniform)
    delays = [backoff.next() for _ in range(50)]
    assert delays[:4] == [0.5, 1.0, 2.0, 4.0]
    assert delays[-1] == BACKOFF_LONGEST_S
    assert {low for low, _ in drawn} == {0.0}
    backoff.reset()
    assert backoff.next() == 0.5


# -- link --------------------------------------------------------------------------------------------

EXPLICIT = Settings(contact_points=("127.0.0.1",), port=9, explicit=True)


def trouble(action: str, kind: str = "unreachable"):
    from wal.cassandra.trouble import Action, Trouble

    return Trouble(Action(action), kind, "It broke.", "Mend it.")


def make_link(monotonic: Monotonic, outcomes: list[object], target: list[Target]) -> tuple[Link, list[str]]:
    """A link whose attempts end as ``outcomes`` say (an exception is raised)."""
    calls: list[str] = []

    class Store:
        def close(self) -> None:
            calls.append("closed")

    def connect(_: Target) -> Store:
        calls.append("connect")
        outcome = outcomes.pop(0)
        if isinstance(outcome, Exception):
            raise outcome
        return Store()

    link = Link(
        lambda: target[0], connect, monotonic=monotonic,  # type: ignore[arg-type]
        uniform=lambda _low, high: high, on_lost=lambda: calls.append("lost"),
    )  # fmt: skip
    return link, calls


def test_an_unreachable_server_is_asked_with_backoff() -> None:
    from wal.cassandra.trouble import StoreError

    monotonic = Monotonic()
    refused = StoreError(trouble("retry"))
    link, calls = make_link(monotonic, [refused, refused, "ok"], [Target(EXPLICIT, resolve(EXPLICIT, {}))])
    assert link.tick() is None
    assert link.connection is Connection.OFFLINE
    monotonic.now += 0.4
    assert link.tick() is None
    assert calls == ["connect"]
    monotonic.now += 0.2
    assert link.tick() is None
    monotonic.now += 1.1
    assert link.tick() is not None
    link.succeeded()
    assert link.connection is Connection.UP
    assert calls == ["connect"] * 3


def test_a_connection_mends_what_kept_it_from_being_made_and_nothing_else() -> None:
    from wal.cassandra.trouble import StoreError

    monotonic = Monotonic()
    wrong = StoreError(trouble("stop", "authentication"))
    link, _ = make_link(monotonic, [wrong, "ok", "ok"], [Target(EXPLICIT, resolve(EXPLICIT, {}))])
    for seconds in (0, PROBE_S):
        monotonic.now += seconds
        link.tick()
    assert (link.fresh, link.works) == (True, False)
    link.connected()
    assert (link.connection, link.works) == (Connection.UP, True)
    link.failed(trouble("stop", "permission"))
    monotonic.now += PROBE_S
    link.tick()
    link.connected()
    assert (link.connection, link.works) == (Connection.TROUBLE, False)  # only a write can tell
    link.succeeded()
    assert (link.connection, link.works) == (Connection.UP, True)


def test_a_stop_is_probed_once_a_minute_and_at_once_when_the_settings_change() -> None:
    from wal.cassandra.trouble import StoreError

    monotonic = Monotonic()
    wrong = StoreError(trouble("stop", "authentication"))
    targets = [Target(EXPLICIT, resolve(EXPLICIT, {}))]
    link, calls = make_link(monotonic, [wrong, wrong, "ok"], targets)
    link.tick()
    assert link.connection is Connection.TROUBLE
    monotonic.now += PROBE_S - 1
    link.tick()
    assert calls == ["connect"]
    monotonic.now += 2
    link.tick()
    assert calls == ["connect"] * 2
    changed = Settings(contact_points=("127.0.0.1",), port=9, username="me", explicit=True)
    targets[0] = Target(changed, resolve(changed, {}))
    monotonic.now += 2
    assert link.tick() is not None


def test_a_connection_on_which_nothing_succeeds_is_made_anew() -> None:
    monotonic = Monotonic()
    link, calls = make_link(monotonic, ["ok", "ok"], [Target(EXPLICIT, resolve(EXPLICIT, {}))])
    assert link.tick() is not None
    link.failed(trouble("retry", "timeout"))
    assert link.store is not None
    monotonic.now += GIVE_UP_S
    link.failed(trouble("retry", "timeout"))
    assert link.store is None
    assert calls == ["connect", "lost", "closed"]


def test_the_target_follows_the_settings_file(tmp_path: Path) -> None:
    find = Finder({"XDG_CONFIG_HOME": str(tmp_path / "none"), "CANOPY_NODE": "none"}, tmp_path)
    assert (find().endpoint, find().connection) == (None, Connection.LOCAL_ONLY)
    path = tmp_path / "conf" / "cassandra_config.yaml"
    path.parent.mkdir()
    path.write_text("cassandra:\n  contact_points: [10.0.0.1]\n  keyspace: mine\n")
    target = find()
    assert target.endpoint is not None
    assert (target.endpoint.label, target.settings.keyspace) == ("10.0.0.1:9042", "mine")
    path.write_text("cassandra:\n  contact_pionts: [10.0.0.1]\n")
    target = find()
    assert target.connection is Connection.TROUBLE
    assert "contact_points" in target.detail


# -- patience ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("live", "drained", "has_target", "ends"),
    [(False, True, True, True), (True, True, True, False), (False, False, True, False),
     (False, False, False, True), (True, False, False, False)],
)  # fmt: skip
def test_a_syncer_that_nobody_asked_for_ends_by_itself(
    live: bool, drained: bool, has_target: bool, ends: bool
) -> None:
    monotonic = Monotonic()
    patience = Patience(monotonic)
    outcome = Outcome(0, 0, 0, 0, live=live, drained=drained, connection=Connection.UP, wake_in_s=0.0)
    assert not patience.is_over(outcome, has_target=has_target)
    monotonic.now += LINGER_S - 1
    assert not patience.is_over(outcome, has_target=has_target)
    monotonic.now += 1
    assert patience.is_over(outcome, has_target=has_target) is ends


def test_the_newest_seq_of_a_stream_whose_writer_died_in_an_empty_segment(tmp_path: Path) -> None:
    directory = write_segments(tmp_path, [30, 20])
    assert newest_seq(directory) == 50
    with sqlite3.connect(directory / "000002.db") as db:
        db.execute("DELETE FROM record")
        db.execute("DELETE FROM meta WHERE k IN ('seal', 'end')")
    db.close()
    assert newest_seq(directory) == 30
    assert newest_seq(tmp_path / "nobody") == 0
