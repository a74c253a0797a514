"""Canopy's log: append metrics to a local, crash-safe log in microseconds.

    import wal

    run = wal.init(project="spirals", config={"lr": 0.01})
    for step in range(1000):
        wal.log({"loss": loss, "val/loss": val_loss})
    wal.finish()

Everything reachable from here is the standard library only; nothing here opens a socket.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

try:
    from wal.segments import liveness as _liveness
except ImportError as error:
    if error.name != "fcntl":
        raise
    raise SystemExit("canopy: this platform has no POSIX file locks; on Windows, use WSL") from None

from wal.run import Run
from wal.segments.meta import LogError
from wal.training.current import Proxy, active, alert, define_metric, finish, init, log, log_topology
from wal.training.foreign import AlertLevel, login, save, watch

if TYPE_CHECKING:
    run: Run | None

__all__ = [
    "AlertLevel",
    "LogError",
    "Run",
    "alert",
    "config",
    "define_metric",
    "finish",
    "init",
    "log",
    "log_topology",
    "login",
    "run",
    "save",
    "summary",
    "watch",
]

config = Proxy("config")
summary = Proxy("summary")
del _liveness
globals().pop("run")  # the submodule, bound by importing it: ``wal.run`` is this process' run, as below


def __getattr__(name: str) -> Any:
    if name == "run":
        return active()
    raise AttributeError(f"wal has no {name!r}: Canopy keeps numbers, texts and topologies, see wal.__all__")
