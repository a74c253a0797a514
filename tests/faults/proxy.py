"""A link to a node that fails on demand: a TCP proxy in this process.

It runs an event loop on a thread of its own; :meth:`Proxy.switch` returns when the new mode holds. What a
peer sends faster than the other reads is kept in memory: trials send little.
"""

from __future__ import annotations

import asyncio
import random
import socket
import struct
import threading
from collections.abc import Coroutine, Generator
from contextlib import contextmanager
from enum import Enum
from typing import Any

LOOPBACK = "127.0.0.1"
SWITCH_SECONDS = 30.0
_RESET_ON_CLOSE = struct.pack("ii", 1, 0)  # SO_LINGER on, 0 s: close() sends RST instead of FIN


class Mode(Enum):
    """What the link does. Of the modes that break connections, all that come meanwhile break as well."""

    FORWARD = "forward"
    REFUSE = "refuse"
    """Nothing listens on the port; what was connected is reset."""
    HANG = "hang"
    """Connections are taken and stand, and no byte passes; afterwards what was sent meanwhile arrives."""
    RESET = "reset"
    DELAY = "delay"
    """Every piece arrives, in order and late by :data:`DELAY_SECONDS`."""
    CUT = "cut"
    """The next piece of each direction arrives in part, then the connection is closed: within a frame, as a
    frame is sent in one piece."""
    DEAFEN = "deafen"
    """Requests arrive, answers do not; when the mode ends, the connections that lack answers are reset."""


DELAY_SECONDS = 0.4

OUTAGES = (Mode.REFUSE, Mode.HANG, Mode.RESET, Mode.DELAY, Mode.CUT, Mode.DEAFEN)


class Proxy:
    """Listens on a free port of 127.0.0.1 and forwards to ``target``. Close it when done."""

    def __init__(self, target: tuple[str, int], seed: int = 0) -> None:
        self.target = target
        self.mode = Mode.FORWARD
        self.swallowed = 0
        """Bytes of answers that were dropped."""
        self.broken = 0
        """Connections that were reset or cut."""
        self._cuts = random.Random(seed)
        self.links: set[_Link] = set()
        self._server: asyncio.Server | None = None
        self._held: socket.socket | None = _bound(0)
        self.port: int = self._held.getsockname()[1]
        self.loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self.loop.run_forever, name="proxy", daemon=True)
        self._thread.start()
        self._run(self._listen())

    def switch(self, mode: Mode) -> None:
        """Be in ``mode`` from now on; from any thread but the proxy's own."""
        self._run(self._switch(mode))

    @property
    def connections(self) -> int:
        return len(self.links)

    def close(self) -> None:
        """Reset everything and stop listening."""
        self._run(self._switch(Mode.REFUSE))
        self.loop.call_soon_threadsafe(self.loop.stop)
        self._thread.join()
        self.loop.close()
        if self._held is not None:
            self._held.close()

    def _run(self, work: Coroutine[Any, Any, None]) -> None:
        asyncio.run_coroutine_threadsafe(work, self.loop).result(SWITCH_SECONDS)

    # -- on the loop ---------------------------------------------------------------------------------

    async def _listen(self) -> None:
        assert self._held is not None
        listener, self._held = self._held, None
        self._server = await self.loop.create_server(lambda: _End(_Link(self), None), sock=listener)

    async def _switch(self, mode: Mode) -> None:
        before, self.mode = self.mode, mode
        if mode in (Mode.REFUSE, Mode.RESET):
            self._reset(list(self.links))
        elif before is Mode.DEAFEN:
            self._reset([link for link in self.links if link.deafened])
        if mode is Mode.REFUSE and self._server is not None:
            self._server.close()
            await asyncio.sleep(0)  # the loop lets go of the socket
            self._server, self._held = None, _bound(self.port)  # kept: no other program may take the port
        elif mode is not Mode.REFUSE and self._server is None:
            await self._listen()
        for link in self.links:
            link.hold(mode is Mode.HANG)

    def _reset(self, links: list[_Link]) -> None:
        for link in links:
            link.reset()

    def pass_on(self, link: _Link, to: asyncio.Transport, data: bytes, *, is_answer: bool) -> None:
        """What the mode makes of a piece that one end sent."""
        if self.mode is Mode.DEAFEN and is_answer:
            self.swallowed += len(data)
            link.deafened = True
        elif self.mode is Mode.CUT and len(data) > 1:
            to.write(data[: self._cuts.randrange(1, len(data))])
            self.broken += 1
            link.close()
        elif self.mode is Mode.DELAY:
            link.write_later(to, data, DELAY_SECONDS)
        else:
            link.write_later(to, data, 0.0)


class _Link:
    """A connection of a client and its counterpart to the node."""

    def __init__(self, proxy: Proxy) -> None:
        self.proxy = proxy
        self.loop = proxy.loop
        self.client: asyncio.Transport | None = None
        self.node: asyncio.Transport | None = None
        self.deafened = False
        self.opening: asyncio.Task[None] | None = None  # kept: a task that nobody holds may be dropped
        self._clear_at = 0.0  # a piece does not overtake those that were delayed

    async def open(self) -> None:
        """Connect to the node; the client is not read before."""
        assert self.client is not None
        try:
            self.node, _ = await self.loop.create_connection(
                lambda: _End(self, self.client), *self.proxy.target
            )
        except OSError:  # the node is down: so is the link
            self.close()
            return
        if self.client.is_closing():
            self.close()
        else:
            self.hold(self.proxy.mode is Mode.HANG)

    def hold(self, hung: bool) -> None:
        for end in (self.client, self.node):
            if end is not None and not end.is_closing() and self.node is not None:
                end.pause_reading() if hung else end.resume_reading()

    def write_later(self, to: asyncio.Transport, data: bytes, seconds: float) -> None:
        now = self.loop.time()
        if seconds == 0.0 and now >= self._clear_at:
            to.write(data)
            return
        # Timers of one instant may swap places: each is a little later than the one before.
        self._clear_at = max(now + seconds, self._clear_at + 1e-6)
        self.loop.call_at(self._clear_at, _write, to, data)

    def close(self) -> None:
        for end in (self.client, self.node):
            if end is not None:
                end.close()
        self.proxy.links.discard(self)

    def reset(self) -> None:
        for end in (self.client, self.node):
            if end is not None and not end.is_closing():
                raw: socket.socket = end.get_extra_info("socket")
                raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET_ON_CLOSE)
                end.abort()
        self.proxy.broken += 1
        self.proxy.links.discard(self)


def _write(to: asyncio.Transport, data: bytes) -> None:
    if not to.is_closing():  # the connection may have ended while the piece was delayed
        to.write(data)


class _End(asyncio.Protocol):
    """One end of a link; ``other`` is where its bytes go, None on the client's until the node is there."""

    def __init__(self, link: _Link, other: asyncio.Transport | None) -> None:
        self._link = link
        self._client = other

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        link = self._link
        if self._client is not None:
            return
        link.client = transport
        link.proxy.links.add(link)
        if link.proxy.mode is Mode.RESET:
            link.reset()
            return
        transport.pause_reading()
        link.opening = link.loop.create_task(link.open())

    def data_received(self, data: bytes) -> None:
        link, to = self._link, self._client or self._link.node
        assert to is not None
        if not to.is_closing():
            link.proxy.pass_on(link, to, data, is_answer=self._client is not None)

    def connection_lost(self, exc: Exception | None) -> None:
        self._link.close()


def _bound(port: int) -> socket.socket:
    """A socket of that port, or of a free one, that does not listen: who connects is refused."""
    held = socket.socket()
    held.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    held.bind((LOOPBACK, port))
    return held


@contextmanager
def proxied(target: tuple[str, int], seed: int = 0) -> Generator[Proxy]:
    """A proxy that is gone when the block ends."""
    proxy = Proxy(target, seed)
    try:
        yield proxy
    finally:
        proxy.close()
