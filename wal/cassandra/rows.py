"""From packed records to the bytes that Cassandra stores, without a Python object per value.

A segment's body already holds float64 values in the order of a Cassandra map (names in UTF-8 order), so one
``struct`` per key set turns a body into the map's serialised form. Binding the same rows through the driver
costs several times as much, and the syncer shares its machine with a trainer.

Formats are of the native protocol v5, section 6 (v3 and v4 serialise alike): big-endian, a map is its count
followed by length-prefixed keys and values.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import NamedTuple
from uuid import UUID

from wal.cassandra.tables import BODY_PIECE_BYTES, CHUNK_BITS
from wal.reading.topology import describe
from wal.record import (
    DIGEST_BYTES,
    CorruptRecord,
    Kind,
    key_order,
    packer,
    unpack_body,
)
from wal.segments.segment import Row, Rows

_BYTE, _INT, _LONG = struct.Struct(">b"), struct.Struct(">i"), struct.Struct(">q")
_INT_MAX = (1 << 31) - 1

_ROW_OVERHEAD_BYTES = 64
"""Of a row in a batch beside its values: query id, counts and lengths."""

_FIXED_BYTES = _ROW_OVERHEAD_BYTES + 69
"""The same with the values that each record has: two ids, chunk, seq, kind, step, ts and the timestamp."""

_LOG, _TOPOLOGY_KIND = int(Kind.LOG), int(Kind.TOPOLOGY)  # an enumeration is slow to compare with

WITH_EPOCH, WITH_VALUES, WITH_TEXTS = 1, 2, 4
"""Which of the optional columns a row has: what is absent is not named in the statement, so never null."""


class PackedRow(NamedTuple):
    """One INSERT: its statement (without the keyspace's name) and its serialised values. A tuple, as one is
    made for every record."""

    seq: int
    statement: str
    values: list[bytes]
    size: int


@dataclass(frozen=True, slots=True, eq=False)
class Batch:
    """Rows of one partition, sent and acknowledged as one. Covers seqs ``first_seq`` … ``last_seq`` of its
    stream as far as they have rows in this partition; ``count`` is how many records it makes readable (0 for
    a topology's body, which goes ahead of its record), ``size`` its bytes on the wire."""

    run_id: UUID
    stream_id: UUID
    first_seq: int
    last_seq: int
    count: int
    size: int
    rows: tuple[PackedRow, ...]

    def split(self) -> list[Batch]:
        """Two halves; itself when it is a single row."""
        if len(self.rows) == 1:
            return [self]
        middle = len(self.rows) // 2
        return [_batch(self, self.rows[:middle]), _batch(self, self.rows[middle:])]


def _batch(whole: Batch, rows: tuple[PackedRow, ...]) -> Batch:
    size = sum(row.size for row in rows)
    count = len(rows) if whole.count else 0
    return Batch(whole.run_id, whole.stream_id, rows[0].seq, rows[-1].seq, count, size, rows)


def metrics_statement(variant: int) -> str:
    """The INSERT of a record with the optional columns of ``variant``; ``{}`` stands for the keyspace."""
    columns = ["run_id", "stream", "chunk", "seq", "kind", "step", "ts"]
    optional = ((WITH_EPOCH, "epoch"), (WITH_VALUES, "values"), (WITH_TEXTS, "texts"))
    columns += [name for bit, name in optional if variant & bit]
    marks = ", ".join("?" * len(columns))
    return f"INSERT INTO {{}}.training_metrics ({', '.join(columns)}) VALUES ({marks}) USING TIMESTAMP ?"


_METRICS = tuple(metrics_statement(variant) for variant in range(8))
_TOPOLOGY = (
    "INSERT INTO {}.network_topology (run_id, ts, stream, seq, step, input_size, output_size, hidden_units, "
    "total_parameters, digest, pieces, bytes) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?) USING TIMESTAMP ?"
)
_BODY = "INSERT INTO {}.topology_bodies (run_id, digest, piece, body) VALUES (?, ?, ?, ?) USING TIMESTAMP ?"


class _MapCodec:
    """Serialises the values of one key set: a count, then key, value, key, value …, each with its length."""

    def __init__(self, names: tuple[str, ...]) -> None:
        keys = [_sized(_text(name)) + _INT.pack(8) for name in names]
        self._doubles = packer(len(names))
        self._map = struct.Struct(">i" + "".join(f"{len(key)}sd" for key in keys))
        self._arguments: list[object] = [len(names)]
        for key in keys:
            self._arguments += (key, None)
        self.size = self._doubles.size  # of the packed body
        self.packed_size = self._map.size
        self.epoch_at = names.index("epoch") if "epoch" in names else None

    def pack(self, body: bytes) -> bytes:
        arguments = self._arguments.copy()
        arguments[2::2] = self._doubles.unpack_from(body)
        return self._map.pack(*arguments)

    def epoch(self, body: bytes) -> bytes | None:
        """The value named "epoch" as the column of that name has it; None where it is no whole number."""
        if self.epoch_at is None:
            return None
        epoch = self._doubles.unpack_from(body)[self.epoch_at]
        whole = -_INT_MAX <= epoch <= _INT_MAX and epoch == int(epoch)  # False for NaN and ±Inf
        return _INT.pack(int(epoch)) if whole else None


class RecordPacker:
    """Packs the rows of one stream."""

    def __init__(
        self, run_id: UUID, stream_id: UUID, base_us: int, keysets: Mapping[int, tuple[str, ...]]
    ) -> None:
        self._run_id, self._stream_id = run_id, stream_id
        self._ids = (run_id.bytes, stream_id.bytes)
        self._base_us = base_us
        self._keysets = keysets
        self._codecs: dict[int, _MapCodec] = {}
        self._chunk = -1
        self._partition: tuple[bytes, ...] = ()

    def batches(self, rows: list[Row], max_rows: int, max_bytes: int) -> Iterator[Batch]:
        """Batches of the rows (in seq order), each of one partition and within both limits but for a single
        row that exceeds ``max_bytes`` alone. Raises :class:`wal.record.CorruptRecord`."""
        pending: list[PackedRow] = []
        size, chunk = 0, -1
        for row in rows:
            packed = self._pack(row)
            if row[1] == _TOPOLOGY_KIND:
                for body in self._topology(row):  # ahead of the record: who sees the record finds its body
                    yield self._batch([body], 0, body.size)
            full = len(pending) >= max_rows or size + packed.size > max_bytes
            if pending and (full or chunk != self._chunk):
                yield self._batch(pending, len(pending), size)
                pending, size = [], 0
            chunk = self._chunk
            pending.append(packed)
            size += packed.size
        if pending:
            yield self._batch(pending, len(pending), size)

    def _batch(self, rows: list[PackedRow], count: int, size: int) -> Batch:
        return Batch(self._run_id, self._stream_id, rows[0].seq, rows[-1].seq, count, size, tuple(rows))

    def _pack(self, row: Row) -> PackedRow:
        seq, kind, keyset, step, ts, body = row
        chunk = seq >> CHUNK_BITS
        if chunk != self._chunk:
            self._chunk = chunk
            self._partition = (*self._ids, _INT.pack(chunk))
        long = _LONG.pack
        start = [*self._partition, long(seq), _BYTE.pack(kind), long(step), long(ts)]
        stamp = long(self._base_us + seq)
        codec = self._codecs.get(keyset)
        if codec is not None and len(body) == codec.size and codec.epoch_at is None and kind == _LOG:
            start += (codec.pack(body), stamp)  # numbers alone: nearly every record
            return PackedRow(seq, _METRICS[WITH_VALUES], start, _FIXED_BYTES + codec.packed_size)
        optional, variant = self._optional(seq, kind, keyset, body)
        size = _FIXED_BYTES + sum(map(len, optional))
        return PackedRow(seq, _METRICS[variant], [*start, *optional, stamp], size)

    def _optional(self, seq: int, kind: int, keyset: int, body: bytes) -> tuple[list[bytes], int]:
        """Epoch, values and texts as far as the record has them, and which they are."""
        if kind == _TOPOLOGY_KIND:
            if len(body) < DIGEST_BYTES:
                raise CorruptRecord(f"record {seq}: a topology of {len(body)} bytes")
            return [pack_text_map({"topology": body[:DIGEST_BYTES].hex()})], WITH_TEXTS
        found: list[bytes] = []
        variant = used = 0
        codec = self._codec(seq, keyset)
        if codec is not None:
            used = codec.size
            if len(body) < used:
                raise CorruptRecord(f"record {seq}: {len(body)} bytes cannot hold its values")
            epoch = codec.epoch(body)
            if epoch is not None:
                found.append(epoch)
                variant |= WITH_EPOCH
            found.append(codec.pack(body))
            variant |= WITH_VALUES
        if len(body) > used:
            found.append(pack_text_map(unpack_body(seq, self._keysets.get(keyset, ()), body)[1]))
            variant |= WITH_TEXTS
        return found, variant

    def _codec(self, seq: int, keyset: int) -> _MapCodec | None:
        codec = self._codecs.get(keyset)
        if codec is None:
            names = self._keysets.get(keyset)
            if names is None:
                if keyset == 0:
                    return None
                raise CorruptRecord(f"record {seq}: its key set {keyset} is not in the segment")
            if not names:
                return None
            codec = self._codecs[keyset] = _MapCodec(names)
        return codec

    def _topology(self, row: Row) -> Iterator[PackedRow]:
        """The body's pieces, then the snapshot's own row."""
        seq, _, _, step, ts, body = row
        digest, stamp = body[:DIGEST_BYTES].hex().encode(), _LONG.pack(self._base_us + seq)
        run_id, stream_id = self._ids
        pieces = [body[at : at + BODY_PIECE_BYTES] for at in range(0, len(body), BODY_PIECE_BYTES)]
        for number, piece in enumerate(pieces):
            values = [run_id, digest, _INT.pack(number), piece, stamp]
            yield PackedRow(seq, _BODY, values, _ROW_OVERHEAD_BYTES + len(piece))
        shape = describe(self._stream_id, seq, step, ts, body)
        values = [
            run_id, _LONG.pack(ts), stream_id, _LONG.pack(seq), _LONG.pack(step),
            *(_INT.pack(number) for number in (shape.input_size, shape.output_size, shape.hidden_units)),
            _LONG.pack(shape.parameters), digest, _INT.pack(len(pieces)), _LONG.pack(len(body)), stamp,
        ]  # fmt: skip
        yield PackedRow(seq, _TOPOLOGY, values, _ROW_OVERHEAD_BYTES + sum(map(len, values)))


def record_batches(
    run_id: UUID,
    stream_id: UUID,
    base_us: int,
    rows: Rows,
    max_rows: int,
    max_bytes: int,
) -> Iterator[Batch]:
    """Batches of a segment's rows; see :meth:`RecordPacker.batches`. Every cell is stamped base + seq."""
    packer_ = RecordPacker(run_id, stream_id, base_us, rows.keysets)
    return packer_.batches(rows.rows, max_rows, max_bytes)


def pack_text_map(texts: Mapping[str, str]) -> bytes:
    """A ``map<text, text>``, its keys in UTF-8 order as a frozen map's must be."""
    parts = [_INT.pack(len(texts))]
    for name in key_order(texts):
        parts += (_sized(_text(name)), _sized(_text(texts[name])))
    return b"".join(parts)


def _text(text: str) -> bytes:
    # A lone surrogate is not UTF-8: it is passed on, so that the server rejects this row and no other.
    return text.encode("utf-8", "surrogatepass")


def _sized(data: bytes) -> bytes:
    return _INT.pack(len(data)) + data
