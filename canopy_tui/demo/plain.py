"""The demo without a screen: train, ship, read it back from Cassandra, and prove that it is the same."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from uuid import UUID

from canopy_tui import format as fmt
from canopy_tui.demo.afterwards import closing_lines, run_ids
from canopy_tui.demo.crew import Crew, DemoError
from canopy_tui.demo.ending import undisturbed
from canopy_tui.demo.place import OUTPUT, Place
from canopy_tui.demo.plan import LIVE, SHORT
from canopy_tui.demo.proof import Proof, Side, prove
from canopy_tui.demo.server import Server, Verbs
from wal.local import LocalSource
from wal.record import DIGEST_BYTES

TRAINERS_AT_ONCE = 2
"""One a core on a small machine; the node starts beside them."""

Say = Callable[[str], None]


def session_name() -> str:
    """What tells one demo's files and run ids from another's: the time, to the second."""
    return time.strftime("%Y%m%d-%H%M%S")


def run_plain(place: Place, say: Say, progress: Say) -> None:
    """The whole demo at full speed. ``say`` gets the results, ``progress`` what goes on meanwhile.

    Raises :class:`DemoError`, :class:`canopy_tui.demo.proof.NotDelivered` and what sources raise. Whatever
    happens, nothing that it started is left running.
    """
    with place.entered() as environment:
        # Shipping has its own step here; a syncer of the trainers' would outlive this process.
        environment["CANOPY_SYNC"] = "0"
        before = run_ids(place.log_dir)
        crew = Crew(place.log_dir / OUTPUT, environment, session_name())
        verbs = Verbs(environment, progress)
        server = Server(place, verbs)
        with ThreadPoolExecutor(1, thread_name_prefix="demo-server") as background:
            try:
                started = background.submit(server.start)
                progress(f"training {len(LIVE) + len(SHORT)} runs in {place.log_dir}")
                crew.run((*SHORT, *LIVE), TRAINERS_AT_ONCE)
                progress("trained; waiting for Cassandra")
                started.result()
                progress("Cassandra is up; shipping")
                deliver(place.log_dir, run_ids(place.log_dir) - before, environment, verbs, say)
            finally:
                with undisturbed(), ExitStack() as last_first:  # each of them, whatever another raises
                    last_first.callback(server.stop)
                    last_first.callback(verbs.stop)
                    last_first.callback(crew.stop)
                    progress("stopping what was started")
        for line in closing_lines(place):
            progress(line)


def deliver(
    log_dir: Path, runs: set[UUID], environment: Mapping[str, str], verbs: Verbs, say: Say
) -> list[Proof]:
    """Ship a log directory, read ``runs`` back from Cassandra and prove that each is what was logged.

    Says what it finds, then the run table and one chart as another machine sees them.
    """
    verbs.run("sync", "--once")
    proofs = verify(log_dir, runs, environment, say)
    with tempfile.TemporaryDirectory(prefix="canopy-demo-empty-") as empty:
        elsewhere = {**environment, "CANOPY_DIR": empty}
        say("")
        say(_printed(elsewhere, "ls", "--limit", str(len(runs))))
        say("")
        say(_printed(elsewhere, "show", str(_most_points(proofs).run_id), "--plain"))
    say("")
    say(f"{fmt.count(sum(proof.log.records for proof in proofs))} records delivered and verified")
    return proofs


def verify(log_dir: Path, runs: set[UUID], environment: Mapping[str, str], say: Say) -> list[Proof]:
    """Compare every record of ``runs`` in the log with what Cassandra gives; says a paragraph a run."""
    from wal.cassandra.store import connect_store

    store = connect_store(environment)
    if store is None:
        raise DemoError("there is no Cassandra to read back from.")
    log = LocalSource(log_dir)
    proofs: list[Proof] = []
    try:
        server = f"Cassandra {store.probe().version} at {store.endpoint.label}"
        for row in sorted(log.runs(), key=lambda row: row.started_ns):
            if row.run_id in runs:
                proof = prove(row.run_id, log, store)
                proofs.append(proof)
                title = f"{row.project}/{row.name} · {row.state}"
                say(_paragraph(title, proof, log_dir, server, store.settings.keyspace))
    finally:
        log.close()
        store.close(wait=True)
    if len(proofs) != len(runs) or not proofs:
        raise DemoError(f"{len(runs)} runs were made, {len(proofs)} of them were found.")
    return proofs


def _paragraph(title: str, proof: Proof, log_dir: Path, server: str, keyspace: str) -> str:
    return "\n".join(
        (
            f"{proof.run_id}  {title}",
            f"  log directory  {log_dir / str(proof.run_id)}",
            f"  server         {server}, keyspace {keyspace}",
            f"  in the log     {_side(proof.log)}",
            f"  in Cassandra   {_side(proof.cassandra)}",
        )
    )


def _side(side: Side) -> str:
    digest = f"{side.digest:0{2 * DIGEST_BYTES}x}"
    return f"{fmt.count(side.records)} records, {fmt.count(side.points)} points, digest {digest}"


def _most_points(proofs: Sequence[Proof]) -> Proof:
    return max(proofs, key=lambda proof: proof.cassandra.points)


def _printed(environment: Mapping[str, str], *arguments: str) -> str:
    """What a verb of canopy prints."""
    process = subprocess.run(
        [sys.executable, "-m", "canopy_tui", *arguments],
        env={"COLUMNS": "100", **environment},
        cwd=os.getcwd(),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )
    if process.returncode != 0:
        raise DemoError(f"'canopy {' '.join(arguments)}' failed: {process.stderr.strip()}")
    return process.stdout.rstrip("\n")
