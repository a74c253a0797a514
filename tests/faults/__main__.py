"""``make faults SEEDS=n``: trials by seed with nodes of their own, until all are done or one finds something.

Before those on one node come what a seed has no part in and `make test` a small share of: 1,000 forks while
segments are sealed, three hours of fake time over a link that drops every minute, a node on a full disk.
Nine of ten run on one node behind a proxy, every tenth on three nodes at 127.0.0.1–3 with replication 3 and
LOCAL_QUORUM (2.5 GB of memory). Of every eighth, the log is pruned then, under kills. The exit code is 1
when an oracle spoke; its seed makes the trial again.
"""

from __future__ import annotations

import argparse
import logging
import os
import sys
import tempfile
import time
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from faults.world import Figures
    from wal.cassandra.server import Node

HERE = Path(__file__).parent
THREE_NODES_EVERY = 10
PRUNE_EVERY = 8
THREE_NODES_HEAP_MB = 400
DROPPING_MINUTES = 180
FORKS = 1_000


def main() -> int:
    parser = argparse.ArgumentParser(prog="make faults", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--seeds", type=int, default=20, metavar="N", help="how many trials")
    parser.add_argument("--first", type=int, default=1000, metavar="SEED", help="the first one's seed")
    parser.add_argument("--nodes", type=int, choices=(1, 3), help="only trials of so many nodes")
    arguments = parser.parse_args()
    sys.path[:0] = [str(HERE.parents[1]), str(HERE.parent)]
    os.environ["CANOPY_SILENT"] = "1"
    logging.disable(logging.WARNING)  # a syncer in this process names each fault: made on purpose
    seeds = range(arguments.first, arguments.first + arguments.seeds)
    three = {None: [seed for seed in seeds if seed % THREE_NODES_EVERY == 0], 1: [], 3: list(seeds)}
    on_three = three[arguments.nodes]
    from faults.world import Figures

    figures, began = Figures(), time.monotonic()
    failed = False
    try:
        for count, chosen in ((1, [seed for seed in seeds if seed not in on_three]), (3, on_three)):
            failed = failed or (bool(chosen) and not _run(count, chosen, figures))
    finally:  # also when it is interrupted
        print(f"\n{figures}\n  in {time.monotonic() - began:.0f} s")
    return int(failed)


def _run(count: int, seeds: Sequence[int], figures: Figures) -> bool:
    """The trials of these seeds on so many nodes. False when one found something; it says what."""
    from helpers.nodes import ended_with_us, keyspace_over_restarts, running_node

    from faults.nemeses import LINKS, ONE_NODE, PROCESSES, THREE_NODES
    from faults.trial import run_trial
    from wal.cassandra.handshake import free_port
    from wal.cassandra.server import LOOPBACK, cluster

    with tempfile.TemporaryDirectory(prefix="canopy-faults-") as scratch, ExitStack() as stack:
        directory = Path(scratch)
        if count == 1:
            # Not the ports that everybody's nodes take: this one's must be free again when it comes back.
            ports = {name: free_port(LOOPBACK, None) for name in ("port", "storage_port")}
            nodes = [stack.enter_context(running_node(directory / "node", **ports))]
        else:
            nodes = cluster(directory / "nodes", count, heap_mb=THREE_NODES_HEAP_MB, durable=False)
            for node in nodes:
                stack.enter_context(ended_with_us(node))
                node.wait_ready()
        if count == 1:
            try:
                _without_seed(directory / "without seed", nodes[0])
            except AssertionError as error:
                print(f"FAILED\n{error}", flush=True)
                return False
        nemeses = (*PROCESSES, *((*LINKS, *ONE_NODE) if count == 1 else THREE_NODES))
        for seed in seeds:
            began = time.monotonic()
            contact_points = tuple(node.endpoint[0] for node in nodes)
            with keyspace_over_restarts(nodes[0], contact_points=contact_points) as settings:
                try:
                    run_trial(
                        seed, directory / str(seed), settings, nodes[0].endpoint, nemeses, figures, nodes,
                        prunes=seed % PRUNE_EVERY == 0,
                    )  # fmt: skip
                except AssertionError as error:
                    print(f"seed {seed}, {count} node(s): FAILED\n{error}", flush=True)
                    return False
            print(f"seed {seed}, {count} node(s): ok, {time.monotonic() - began:.0f} s", flush=True)
    return True


def _without_seed(directory: Path, node: Node) -> None:
    """The long ones that no seed changes. Raises AssertionError when one of them finds something."""
    from helpers.manyforks import fork_while_sealing
    from helpers.nodes import keyspace_over_restarts
    from helpers.smalldisk import CannotMount

    from faults.fullnode import fill_the_nodes_disk
    from faults.longoutage import drop_every_minute, long_outage

    fork_while_sealing(directory / "forks", FORKS)
    print(f"{FORKS:,} forks while segments are sealed: ok", flush=True)
    with (
        keyspace_over_restarts(node) as settings,
        long_outage(directory / "outage", settings, node) as outage,
    ):
        drop_every_minute(outage, DROPPING_MINUTES)
    print(f"a link that drops every minute for {DROPPING_MINUTES} minutes: ok", flush=True)
    try:
        fill_the_nodes_disk(directory / "full")
        print("a node on a full disk: ok", flush=True)
    except CannotMount as error:
        print(f"a node on a full disk: not made, only root may mount a tmpfs on Linux ({error})", flush=True)


if __name__ == "__main__":
    sys.exit(main())
