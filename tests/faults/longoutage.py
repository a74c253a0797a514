"""Hours of a bad link in seconds: a real syncer, node and proxy, and a clock that only the test moves.

The driver's own timers go by real time; the syncer's back-off, quiet times and looks by this clock.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Generator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

from helpers.syncing import make_syncer
from helpers.waiting import DEADLINE_S

from faults.oracles import Direct, judge, told
from faults.proxy import Mode, Proxy, proxied
from faults.trainer import log_seeded
from faults.truth import Truth
from wal.cassandra.server import Node
from wal.segments.meta import Limits
from wal.settings import Settings
from wal.syncer import Outcome, Syncer
from wal.training.current import start_run
from wal.training.starting import Wishes

STEP_S = 5.0
"""By which the clock goes on at a step of the syncer."""

REPLY_S = 0.01
"""Real time that a step waits for replies."""

BATCH_ROWS = 5
"""Small, so that a minute of these steps ships but a part of the backlog."""

BACKLOG = 3_000
"""Records: what some minutes can ship."""

UP_S = 50.0
"""Of each minute. Less than the quiet minute after which an acknowledgement is certain."""

SEED = 5


class LongOutage:
    """A log that is there, its syncer, the link to the node, and the time."""

    def __init__(self, log_dir: Path, settings: Settings, proxy: Proxy) -> None:
        self.proxy = proxy
        self.seconds = 0.0
        began_ns = time.time_ns()
        run = start_run(log_dir, Wishes(project="faults", name="long"), limits=Limits(records=1_000))
        log_seeded(run, SEED, BACKLOG)
        run.finish()
        assert run.stream_id is not None
        directory = log_dir / str(run.run_id) / str(run.stream_id)
        self.truth = Truth(run.run_id, run.stream_id, SEED, BACKLOG, directory)
        self.syncer: Syncer = make_syncer(
            log_dir, replace(settings, port=proxy.port, batch_size=BATCH_ROWS),
            monotonic=lambda: self.seconds, clock_ns=lambda: began_ns + int(self.seconds * 1e9),
        )  # fmt: skip

    def step(self) -> Outcome:
        self.seconds += STEP_S
        outcome = self.syncer.step()
        self.syncer.wait(REPLY_S)
        return outcome

    def pass_time(self, seconds: float) -> None:
        until = self.seconds + seconds
        while self.seconds < until:
            self.step()

    def step_until(self, reached: Callable[[Outcome], bool]) -> None:
        deadline = time.monotonic() + DEADLINE_S
        while not reached(outcome := self.step()):
            assert time.monotonic() < deadline, f"not reached: {outcome}, {self.syncer.link.trouble}"

    def drop(self) -> None:
        """Every connection is reset; new ones are taken."""
        self.proxy.switch(Mode.RESET)
        self.proxy.switch(Mode.FORWARD)

    @property
    def paged_seq(self) -> int:
        """All pages in Cassandra hold every record up to this one, as far as was acknowledged."""
        claims = [shipping.claim for shipping in self.syncer.pages._shippings.values()]
        return max((claim.paged_seq for claim in claims if claim is not None), default=0)


@contextmanager
def long_outage(log_dir: Path, settings: Settings, node: Node) -> Generator[LongOutage]:
    """Everything that is logged is in Cassandra, once, when the block ends."""
    with proxied(node.endpoint, SEED) as proxy:
        outage = LongOutage(log_dir, settings, proxy)
        try:
            yield outage
            outage.step_until(lambda outcome: outcome.drained)
        finally:
            outage.syncer.close()
    with Direct(node.endpoint) as direct:
        findings = judge([outage.truth], direct.scan(settings.keyspace))
    assert findings == {}, told(findings)


def drop_every_minute(outage: LongOutage, minutes: int) -> None:
    """Ship over a link that drops every minute: it must get on, and to the end, all the same."""
    stored = [0]
    for _ in range(minutes):
        outage.pass_time(UP_S)
        stored.append(outage.syncer.stored)
        assert stored[-1] > stored[-2] or stored[-1] == BACKLOG, f"no record in a minute: {stored}"
        outage.drop()
        outage.pass_time(60.0 - UP_S)
    assert stored[-1] == BACKLOG, stored
    assert stored[1] < BACKLOG, "all of it fits into one minute: nothing is shown"
    assert outage.paged_seq == BACKLOG
