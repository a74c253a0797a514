"""``canopy verify``, ``resend``, ``rejected`` and ``prune`` as a user runs them, with a real Cassandra."""

from __future__ import annotations

import json
import math
import os
import subprocess
import sys
import time
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import replace
from io import StringIO
from pathlib import Path
from unittest import mock
from uuid import UUID

import pytest
from helpers.logs import START_NS, log, make_run, open_journal
from helpers.pruned import SEGMENT, log_stream, plain, receipts
from helpers.scan import in_cassandra, in_log, query
from helpers.syncing import drain, make_syncer, step_until, write_segments
from helpers.trainer import environment
from helpers.waiting import streams_in, wait_until

from canopy_tui.__main__ import main
from wal.journal import Journal, Limits, segment_paths
from wal.settings import Settings
from wal.shipping import daemon, housekeeping
from wal.syncer import Syncer


def env_of(tmp_path: Path, settings: Settings, **more: str) -> dict[str, str]:
    state = str(tmp_path / "state")
    return environment(
        CASCOR_CASSANDRA_CONTACT_POINTS=settings.contact_points[0],
        CASCOR_CASSANDRA_PORT=str(settings.port),
        CASCOR_CASSANDRA_KEYSPACE=settings.keyspace,
        CANOPY_NODE="none",
        CANOPY_DIR=str(tmp_path / "log"),
        XDG_STATE_HOME=state,
        XDG_CONFIG_HOME=state,
        **more,
    )


def canopy(env: dict[str, str], *arguments: str, first: str = "") -> tuple[int, str]:
    """Exit code and what was printed, by a process of its own that runs ``first`` before."""
    program = f"{first}\nfrom canopy_tui.__main__ import main\nmain()"
    done = subprocess.run(
        [sys.executable, "-c", program, *arguments], env=env, capture_output=True, text=True, timeout=120
    )
    return done.returncode, done.stdout + done.stderr


def here(env: dict[str, str], *arguments: str) -> tuple[int, str]:
    """The same in this process, which is quicker: for what only looks, or has a syncer's work done."""
    printed = StringIO()
    with (
        mock.patch.dict(os.environ, env, clear=True),
        mock.patch.object(sys, "argv", ["canopy", *arguments]),
        redirect_stdout(printed),
        redirect_stderr(printed),
        pytest.raises(SystemExit) as ended,
    ):
        main()
    assert isinstance(ended.value.code, int)
    return ended.value.code, printed.getvalue()


def test_verify_names_what_is_wrong_and_resend_mends_it_beside_a_running_syncer(
    tmp_path: Path, keyspace5: Settings
) -> None:
    log_dir = tmp_path / "log"
    env = env_of(tmp_path, keyspace5)
    directory = write_segments(log_dir, [100, 50])
    run_id, stream_id = directory.parent.name, directory.name
    code, said = here(env, "verify", "@last")
    assert (code, "rows 1..150 not delivered yet" in said) == (2, True), said
    syncer = subprocess.Popen(
        [sys.executable, "-m", "wal.syncer", "--auto", "--log-dir", str(log_dir), "--cwd", "/"], env=env
    )
    try:
        wait_until(lambda: daemon.holder(log_dir) == syncer.pid)
        code, said = canopy(env, "sync", "--once")
        assert code == 0, said
        code, said = here(env, "verify", "@last")
        assert code == 0, said
        assert "rows 1..150 complete" in said
        assert "All 150 records of 1 run are in Cassandra as they were logged." in said
        query(
            keyspace5,
            f"DELETE FROM {{}}.training_metrics WHERE run_id = {run_id} AND stream = {stream_id} "
            "AND chunk = 0 AND seq >= 7 AND seq <= 9",
        )
        code, said = here(env, "verify", "--all", "--json")
        assert code == 1
        (stream,) = json.loads(said)["streams"]
        assert (stream["missing"], stream["complete"]) == ([[7, 9]], [[1, 6], [10, 150]])
        code, said = canopy(env, "resend", run_id)
        assert code == 0, said
        assert daemon.holder(log_dir) == syncer.pid
        assert in_cassandra(keyspace5).content == in_log(log_dir)
        assert here(env, "verify", run_id)[0] == 0
        code, said = here(env, "verify", "--all")
        assert (code, "rows 1..150 complete" in said) == (0, True), said
        code, said = here(env, "verify", "no-such-run")
        assert (code, "there is no run 'no-such-run'" in said) == (1, True), said
        assert here(env, "verify")[0] == 2  # click's own: neither a run nor --all
    finally:
        syncer.terminate()
        syncer.wait(30)


def test_refused_records_are_listed_exported_and_tried_again(tmp_path: Path, keyspace5: Settings) -> None:
    log_dir = tmp_path / "log"
    env = env_of(tmp_path, keyspace5)
    journal = Journal(log_dir, make_run(), clock_ns=lambda: START_NS, limits=Limits(wal_bytes=1 << 30))
    log(journal, 0, {"loss": 1.0})
    log(journal, 1, {"loss": math.nan}, None, essay="x" * (17 << 20))  # beyond a mutation's 16 MiB
    journal.close("done", 0)
    assert here(env, "rejected", "list") == (0, "No record was refused.\n")
    assert canopy(env, "sync", "--once")[0] == 3
    code, said = here(env, "rejected", "list", "--run", "@last")
    assert (code, "record 2 of stream" in said, "1 record set aside." in said) == (0, True, True)
    code, said = here(env, "rejected", "export")
    exported = json.loads(said)
    assert (code, exported["seq"], exported["step"]) == (0, 2, 1)
    assert (exported["values"], len(exported["texts"]["essay"])) == ({"loss": "NaN"}, 17 << 20)
    assert here(env, "verify", "@last")[0] == 3
    code, said = canopy(env, "rejected", "retry")
    assert (code, "refused by the server" in said) == (3, True), said
    assert "record 2 of stream" in here(env, "rejected", "list")[1]


def age(log_dir: Path, seconds: float) -> None:
    then = time.time() - seconds
    for directory in streams_in(log_dir):
        for path in directory.iterdir():
            if path.suffix == ".db" and path.name != "pages.db":
                os.utime(path, (then, then))


def settle(log_dir: Path, settings: Settings) -> None:
    """Ship, and let minutes pass for the syncer: nothing that it delivered is doubtful any more."""
    passed = [0.0]
    syncer = make_syncer(log_dir, settings, monotonic=lambda: time.monotonic() + passed[0])
    step_until(syncer, lambda outcome: outcome.drained)
    for _ in range(4):
        passed[0] += 100.0
        step_until(syncer, lambda outcome: outcome.drained)
    streams = syncer.backlog.streams
    step_until(syncer, lambda _: not syncer.doubts.held and not any(one.ended for one in streams.values()))
    syncer.close()


def test_a_pruned_run_is_cassandras_and_says_so_when_that_is_away(
    tmp_path: Path, keyspace5: Settings
) -> None:
    log_dir = tmp_path / "log"
    env = env_of(tmp_path, keyspace5)
    journal = open_journal(log_dir, make_run(name="old-run"))
    for step in range(600):
        log(journal, step, {"loss": 1.0 / (step + 1)})
    journal.close("done", 0)
    assert here(env, "prune") == (0, "0 runs went (0 B), 0 kept.\n")
    code, said = here(env, "prune", "old-run")
    assert (code, "not delivered yet" in said) == (1, True), said
    settle(log_dir, keyspace5)
    code, said = here(env, "prune", "old-run")
    assert (code, "something was logged to it within the last hour" in said) == (1, True), said
    age(log_dir, 7200.0)
    code, said = here(env, "prune", "--dry-run")
    assert (code, "1 run would go" in said) == (0, True), said
    code, said = here(env, "prune", "--older-than", "1")
    assert (code, "0 runs went" in said) == (0, True), said
    assert journal.directory.exists()
    shown = here(env, "show", "old-run", "--plain")
    code, said = here(env, "prune", "old-run")
    assert (code, "1 run went" in said) == (0, True), said
    assert not journal.directory.exists()
    assert here(env, "show", "old-run", "--plain") == shown
    code, said = here(env, "verify", "old-run")
    assert (code, "rows 1..600 complete" in said) == (0, True), said
    code, said = canopy(env, "resend", "old-run")
    assert (code, "was pruned from this machine" in said) == (1, True), said
    code, said = here(env, "prune", "old-run")
    assert (code, "was pruned from this machine already" in said) == (0, True), said
    elsewhere = env | {"CANOPY_DIR": str(tmp_path / "elsewhere")}
    assert here(elsewhere, "verify", "old-run")[0] == 0
    for command in ("prune", "resend"):
        code, said = here(elsewhere, command, "old-run")
        assert (code, "machine" in said) == (1, True), said

    away = env | {"CASCOR_CASSANDRA_PORT": "1"}
    for named in ("old-run", journal.directory.parent.name[-6:]):  # as commands print it
        code, said = here(away, "show", named)
        assert (code, "'old-run' was pruned from this machine" in said) == (1, True), said
    none = {name: value for name, value in env.items() if not name.startswith("CASCOR_")}
    for without in (away, none):
        assert "1 run pruned here can be read from Cassandra only" in here(without, "ls")[1]
        assert here(without, "prune")[0] == 1, "without a Cassandra nothing goes"


def live_run(log_dir: Path, settings: Settings) -> Journal:
    """A run that goes on, its sealed segments two hours old, delivered and certain but for the newest."""
    journal = open_journal(log_dir, make_run(name="live-run"), records_per_segment=SEGMENT)
    log_stream(journal)
    wait_until(lambda: plain(journal, 5))
    settle(log_dir, settings)
    age(log_dir, 7200.0)
    return journal


def test_segments_of_a_run_that_goes_on_are_pruned(tmp_path: Path, keyspace5: Settings) -> None:
    log_dir = tmp_path / "log"
    env = env_of(tmp_path, keyspace5)
    journal = live_run(log_dir, keyspace5)
    os.utime(segment_paths(journal.directory)[5])
    code, said = here(env, "prune", "live-run", "--dry-run")
    assert (code, "would go  live-run" in said, "3 segments, 600 records" in said) == (0, True, True), said
    assert receipts(journal.directory) == []
    code, said = here(env, "prune", "live-run")
    assert (code, "3 segments of runs that stay went" in said) == (0, True), said
    assert receipts(journal.directory) == [1, 2, 3]
    code, said = here(env, "prune", "live-run", "--json")
    assert (code, json.loads(said)["kept"]) == (1, "something was logged to it within the last hour")
    code, said = here(env, "verify", "live-run")
    assert (code, "rows 1..1,100 complete" in said) == (0, True), said
    code, said = here(env, "status", "--json")
    assert json.loads(said)["totals"]["verified"] == 1_100, said
    away = env | {"CASCOR_CASSANDRA_PORT": "1"}
    assert here(away, "show", "live-run")[0] == 0, "its curves stay here"
    journal.close("done", 0)


def pruning_syncer(log_dir: Path, settings: Settings) -> Syncer:
    """One that prunes what is older than two days, and looks for it at once."""
    before = housekeeping.PRUNE_FIRST_S
    housekeeping.PRUNE_FIRST_S = 0.0
    try:
        return make_syncer(log_dir, replace(settings, prune_after_days=2.0))
    finally:
        housekeeping.PRUNE_FIRST_S = before


def test_the_syncer_prunes_segments_of_a_run_that_goes_on(tmp_path: Path, keyspace5: Settings) -> None:
    log_dir = tmp_path / "log"
    journal = live_run(log_dir, keyspace5)
    age(log_dir, 3 * 86_400.0)
    syncer = pruning_syncer(log_dir, keyspace5)
    step_until(syncer, lambda _: receipts(journal.directory) == [1, 2, 3])
    syncer.close()
    journal.close("done", 0)


def test_what_only_sync_once_delivered_is_settled_before_it_is_pruned(
    tmp_path: Path, keyspace5: Settings
) -> None:
    log_dir = tmp_path / "log"
    env = env_of(tmp_path, keyspace5)
    directory = write_segments(log_dir, [20])
    assert canopy(env, "sync", "--once")[0] == 0
    age(log_dir, 7200.0)
    assert "its nodes may not have it on disk yet" in here(env, "prune", "--dry-run")[1]
    quickly = "from wal.shipping import doubts, pagelanes\ndoubts.QUIET_S = pagelanes.QUIET_S = 0.1"
    code, said = canopy(env, "prune", directory.parent.name, first=quickly)
    assert (code, "1 run went" in said) == (0, True), said
    assert not directory.exists()


def test_a_damaged_store_of_the_syncers_is_said_in_a_sentence(tmp_path: Path, keyspace5: Settings) -> None:
    log_dir = tmp_path / "log"
    env = env_of(tmp_path, keyspace5)
    directory = write_segments(log_dir, [20])
    (log_dir / "state.db").write_bytes(b"\xff" * 8192)
    run = directory.parent.name
    for command in (["verify", run], ["resend", run], ["prune"], ["rejected", "list"]):
        code, said = here(env, *command)
        assert (code, "state.db is damaged" in said, "canopy sync --once" in said) == (1, True, True), said
    assert canopy(env, "sync", "--once")[0] == 0
    assert here(env, "verify", run)[0] == 0


def test_the_syncer_prunes_by_age_where_the_settings_ask_for_it(tmp_path: Path, keyspace5: Settings) -> None:
    log_dir = tmp_path / "log"
    old = write_segments(log_dir, [20])
    settle(log_dir, keyspace5)
    age(log_dir, 3 * 86_400.0)
    young = write_segments(log_dir, [20])
    drain(log_dir, keyspace5)
    syncer = pruning_syncer(log_dir, keyspace5)
    step_until(syncer, lambda _: not old.exists())
    syncer.close()
    assert young.exists()
    assert {UUID(young.name), UUID(old.name)} == {key[1] for key in in_cassandra(keyspace5).content}
    wait_until(lambda: not (log_dir / "trash").exists())
