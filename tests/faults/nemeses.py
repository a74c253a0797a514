"""What is done to a world, and undone: each nemesis strikes when it is entered and heals when it is left."""

from __future__ import annotations

import signal
from collections.abc import Callable, Generator, Sequence
from contextlib import AbstractContextManager, contextmanager

from helpers.syncerprocess import start_syncer

from faults.crashpoints import POINTS
from faults.proxy import OUTAGES, Mode
from faults.world import World
from wal.cassandra.server import Node

Nemesis = Callable[[World], AbstractContextManager[None]]

WAIT_SECONDS = 60.0
CRASH_NTHS = (1, 2, 3, 5, 8)

Strike = Generator[None]


# -- trainers --------------------------------------------------------------------------------------------


@contextmanager
def trainer_killed(world: World) -> Strike:
    """kill -9; the run is gone on with by another process."""
    lane = world.rng.choice(world.lanes)
    lane.trainer.kill()
    yield
    lane.start()


@contextmanager
def trainer_frozen(world: World) -> Strike:
    trainer = world.rng.choice(world.lanes).trainer
    trainer.send(signal.SIGSTOP)
    yield
    trainer.send(signal.SIGCONT)


# -- the syncer ------------------------------------------------------------------------------------------


@contextmanager
def syncer_killed(world: World) -> Strike:
    world.syncer.kill()
    yield
    world.syncer.start()


@contextmanager
def syncer_frozen(world: World) -> Strike:
    world.syncer.send(signal.SIGSTOP)
    yield
    world.syncer.send(signal.SIGCONT)


@contextmanager
def syncer_crash_point(world: World) -> Strike:
    """kill -9 at a named step, if it comes to it meanwhile."""
    point, nth = world.rng.choice(list(POINTS)), world.rng.choice(CRASH_NTHS)
    world.syncer.kill()
    victim = start_syncer(world.log_dir, world.env, ("-m", "faults.crashpoints", point, str(nth)))
    yield
    victim.kill()
    printed, _ = victim.communicate()
    assert printed == b"", printed
    world.syncer.start()


@contextmanager
def second_syncer(world: World) -> Strike:
    """It sees that there is one and goes, without a word."""
    running = world.syncer.alive
    second = start_syncer(world.log_dir, world.env)
    yield
    try:
        if running and world.syncer.alive:
            printed, _ = second.communicate(timeout=WAIT_SECONDS)
            assert (second.returncode, printed) == (0, b"")
    finally:
        second.kill()
        second.communicate()


@contextmanager
def state_db_lost_syncer_killed(world: World) -> Strike:
    world.syncer.kill()
    for path in world.log_dir.glob("state.db*"):
        path.unlink()
    yield
    world.syncer.start()


# -- the link --------------------------------------------------------------------------------------------


def _link(mode: Mode) -> Nemesis:
    @contextmanager
    def strike(world: World) -> Strike:
        assert world.proxy is not None
        world.proxy.switch(mode)
        yield
        world.proxy.switch(Mode.FORWARD)

    strike.__name__ = f"link_{mode.value}"
    return strike


@contextmanager
def link_flaps(world: World) -> Strike:
    """Every connection is broken, again and again, sooner than anything times out."""
    assert world.proxy is not None
    for _ in range(world.rng.randrange(3, 8)):
        world.proxy.switch(Mode.RESET)
        world.proxy.switch(Mode.FORWARD)
    yield


# -- the nodes -------------------------------------------------------------------------------------------


@contextmanager
def node_killed(world: World) -> Strike:
    """kill -9 of one node, which comes back on its own data."""
    with _down([world.rng.choice(world.nodes)], Node.kill):
        yield


@contextmanager
def node_restarted(world: World) -> Strike:
    with _down([world.rng.choice(world.nodes)], Node.stop):
        yield


@contextmanager
def node_frozen(world: World) -> Strike:
    node = world.rng.choice(world.nodes)
    node.pause()
    yield
    node.resume()


@contextmanager
def nodes_killed_two_of_three(world: World) -> Strike:
    with _down(world.rng.sample(world.nodes, 2), Node.kill):
        yield


@contextmanager
def nodes_restarted_all_at_once(world: World) -> Strike:
    with _down(world.nodes, Node.stop):
        yield


@contextmanager
def _down(nodes: Sequence[Node], end: Callable[[Node], None]) -> Strike:
    for node in nodes:
        end(node)
    yield
    for node in nodes:
        node.start()
        node.wait_ready()


PROCESSES: tuple[Nemesis, ...] = (
    trainer_killed, trainer_frozen, syncer_killed, syncer_frozen, syncer_crash_point, second_syncer,
    state_db_lost_syncer_killed,
)  # fmt: skip
LINKS: tuple[Nemesis, ...] = (*map(_link, OUTAGES), link_flaps)
ONE_NODE: tuple[Nemesis, ...] = (node_killed, node_restarted, node_frozen)
THREE_NODES: tuple[Nemesis, ...] = (*ONE_NODE, nodes_killed_two_of_three, nodes_restarted_all_at_once)


def subject(nemesis: Nemesis) -> str:
    """What it strikes: two that strike the same are not put together."""
    name = nemesis.__name__
    return next((one for one in ("trainer", "syncer", "link", "node") if one in name), name)


def struck(world: World, nemesis: Nemesis) -> AbstractContextManager[None]:
    world.figures.faults[nemesis.__name__.replace("_", " ")] += 1
    return nemesis(world)


__all__ = ["LINKS", "ONE_NODE", "PROCESSES", "THREE_NODES", "Nemesis", "struck", "subject"]
