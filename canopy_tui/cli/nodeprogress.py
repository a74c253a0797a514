"""How far a node is with its start: one line that is redrawn on a terminal, plain lines anywhere else."""

from __future__ import annotations

import sys
from types import TracebackType
from typing import TYPE_CHECKING

import click

from canopy_tui.terminal import unicode_ok

if TYPE_CHECKING:
    from wal.cassandra.noderecord import NodeRecord

BAR_CELLS = 24
# Without a terminal, a line at each so much of the download.
PLAIN_STEP = 0.25


class ProgressLine:
    """Shows the records that ``node.up`` reports, on stderr; the line is gone when the block ends."""

    def __init__(self) -> None:
        self._redrawn = sys.stderr.isatty()
        self._full, self._empty = ("━", "─") if unicode_ok(sys.stderr) else ("#", "-")
        self._last_state = ""
        self._next_share = 0.0

    def __enter__(self) -> ProgressLine:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._redrawn:
            click.echo("\r\x1b[K", err=True, nl=False)

    def show(self, record: NodeRecord) -> None:
        """Say what the record says, when there is something new to say."""
        if self._redrawn:
            click.echo(f"\r\x1b[K{self._line(record)}", err=True, nl=False)
        elif record.state != self._last_state or self._share(record) >= self._next_share > 0:
            self._next_share = self._share(record) + PLAIN_STEP if record.state == "downloading" else 0.0
            self._last_state = record.state
            if record.state in ("downloading", "starting"):
                click.echo(self._words(record), err=True)

    def _line(self, record: NodeRecord) -> str:
        if record.state != "downloading":
            return self._words(record)
        full = round(self._share(record) * BAR_CELLS)
        bar = self._full * full + self._empty * (BAR_CELLS - full)
        return f"Cassandra {record.version} {bar} {record.detail}"

    @staticmethod
    def _words(record: NodeRecord) -> str:
        detail = f" {record.detail}" if record.detail and record.detail != "0 s" else ""
        return f"Cassandra {record.version} {record.state}{detail}"

    @staticmethod
    def _share(record: NodeRecord) -> float:
        return record.done_bytes / record.total_bytes if record.total_bytes else 0.0
