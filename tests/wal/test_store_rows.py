"""Packing records into Cassandra's bytes: equal to what the driver itself would have bound."""

from __future__ import annotations

import math
import struct
from typing import Any
from uuid import UUID

import pytest
from cassandra.cqltypes import DoubleType, Int32Type, MapType, UTF8Type
from hypothesis import given
from hypothesis import strategies as st

from wal.cassandra.rows import (
    WITH_EPOCH,
    WITH_TEXTS,
    WITH_VALUES,
    Batch,
    metrics_statement,
    pack_text_map,
    record_batches,
)
from wal.cassandra.tables import BODY_PIECE_BYTES, CHUNK_BITS
from wal.record import CorruptRecord, Kind, key_order, pack_texts, pack_topology, packer
from wal.segments.segment import Rows

RUN, STREAM = UUID(int=1), UUID(int=2)
BASE_US = 1_790_000_000_000_000
PROTOCOL = 5

Doubles = MapType.apply_parameters([UTF8Type, DoubleType])
Texts = MapType.apply_parameters([UTF8Type, UTF8Type])


def rows_of(*records: tuple[int, dict[str, float], dict[str, str]], first_seq: int = 1) -> Rows:
    """Records as (kind, values, texts), numbered from ``first_seq``."""
    keysets: dict[int, tuple[str, ...]] = {0: ()}
    rows: list[tuple[int, int, int, int, int, bytes]] = []
    for seq, (kind, values, texts) in enumerate(records, first_seq):
        names = key_order(values)
        keyset = next((number for number, known in keysets.items() if known == names), len(keysets))
        keysets[keyset] = names
        body = packer(len(names)).pack(*(values[name] for name in names)) + pack_texts(texts)
        rows.append((seq, kind, keyset, seq * 2, seq * 3, body))
    return Rows(keysets, rows)


def batches(rows: Rows, max_rows: int = 100, max_bytes: int = 32_768) -> list[Batch]:
    return list(record_batches(RUN, STREAM, BASE_US, rows, max_rows, max_bytes))


def only(rows: Rows) -> tuple[str, list[bytes]]:
    [batch] = batches(rows)
    [row] = batch.rows
    return row.statement, row.values


def variant_of(statement: str) -> int:
    return next(variant for variant in range(8) if metrics_statement(variant) == statement)


def log_rows(count: int, first_seq: int = 1) -> Rows:
    return rows_of(
        *[(1, {"loss": 1.0 / seq, "acc": 0.5}, {}) for seq in range(1, count + 1)], first_seq=first_seq
    )


names = st.text(st.characters(exclude_categories=["Cs"]), max_size=12)
doubles = st.floats(width=64) | st.sampled_from([math.nan, -0.0, math.inf])


@given(
    values=st.dictionaries(names, doubles, min_size=1, max_size=6),
    texts=st.dictionaries(names, names, max_size=3),
)
def test_maps_are_what_the_driver_would_have_bound(values: dict[str, float], texts: dict[str, str]) -> None:
    statement, packed = only(rows_of((1, values, texts)))
    variant = variant_of(statement)
    assert bool(variant & WITH_TEXTS) == bool(texts)
    optional = packed[7:-1]
    if variant & WITH_TEXTS:
        ordered_texts = {name: texts[name] for name in key_order(texts)}
        assert optional.pop() == Texts.serialize(ordered_texts, PROTOCOL)
    ordered = {name: values[name] for name in key_order(values)}
    assert optional.pop() == Doubles.serialize(ordered, PROTOCOL)
    assert bool(optional) == bool(variant & WITH_EPOCH)


@pytest.mark.parametrize(
    "bits",
    [
        0x7FF8_0000_0000_0000, 0x7FF8_DEAD_BEEF_0001, 0x7FF0_0000_0000_0001, 0xFFF8_0000_0000_0000,
        0x8000_0000_0000_0000, 0xFFF0_0000_0000_0000,
    ],
)  # fmt: skip
def test_every_bit_of_a_double_is_kept(bits: int) -> None:
    value = struct.unpack("<d", struct.pack("<Q", bits))[0]
    _, values = only(rows_of((1, {"x": value}, {})))
    assert values[7][-8:] == struct.pack(">Q", bits)


def test_the_key_and_the_timestamp() -> None:
    _, values = only(log_rows(1, first_seq=5_000))
    run_id, stream, chunk, seq, kind, step, ts = values[:7]
    assert (run_id, stream) == (RUN.bytes, STREAM.bytes)
    assert int.from_bytes(chunk, "big") == 5_000 >> CHUNK_BITS == 4
    assert int.from_bytes(seq, "big") == 5_000
    assert kind == b"\x01"
    assert (int.from_bytes(step, "big"), int.from_bytes(ts, "big")) == (10_000, 15_000)
    assert int.from_bytes(values[-1], "big") == BASE_US + 5_000


def test_negative_steps_and_times() -> None:
    rows = Rows({1: ("x",)}, [(1, 1, 1, -7, -8, packer(1).pack(1.0))])
    _, values = only(rows)
    assert [int.from_bytes(value, "big", signed=True) for value in values[5:7]] == [-7, -8]


@pytest.mark.parametrize(
    ("epoch", "stored"),
    [(3.0, 3), (-1.0, -1), (0.0, 0), (2.5, None), (math.nan, None), (math.inf, None), (3e9, None), (-0.0, 0)],
)
def test_the_epoch_column_is_only_for_a_whole_number(epoch: float, stored: int | None) -> None:
    statement, values = only(rows_of((1, {"epoch": epoch, "loss": 1.0}, {})))
    assert bool(variant_of(statement) & WITH_EPOCH) == (stored is not None)
    if stored is not None:
        assert values[7] == Int32Type.serialize(stored, PROTOCOL)


@pytest.mark.parametrize("variant", range(8))
def test_what_is_absent_is_not_named(variant: int) -> None:
    statement = metrics_statement(variant)
    for bit, name in ((WITH_EPOCH, "epoch"), (WITH_VALUES, "values,"), (WITH_TEXTS, "texts")):
        head = statement.partition(" VALUES ")[0].replace("values)", "values,)")
        assert (name in head) == bool(variant & bit)
    assert statement.endswith("USING TIMESTAMP ?")


def test_a_record_without_values() -> None:
    statement, values = only(rows_of((Kind.ALERT, {}, {"title": "look"})))
    assert variant_of(statement) == WITH_TEXTS
    assert values[7] == pack_text_map({"title": "look"})
    assert variant_of(only(rows_of((Kind.LOG, {}, {})))[0]) == 0


def test_batches_hold_one_partition_and_keep_both_limits() -> None:
    found = batches(log_rows(2_500, first_seq=900), max_rows=100)
    assert sum(batch.count for batch in found) == 2_500
    assert [seq for batch in found for seq in (row.seq for row in batch.rows)] == list(range(900, 3_400))
    for batch in found:
        assert len({row.seq >> CHUNK_BITS for row in batch.rows}) == 1
        assert (batch.first_seq, batch.last_seq) == (batch.rows[0].seq, batch.rows[-1].seq)
        assert batch.count == len(batch.rows) <= 100
    small = batches(log_rows(100), max_bytes=1_000)
    assert all(batch.size <= 1_000 for batch in small)
    assert all(batch.size == sum(row.size for row in batch.rows) for batch in small)


def test_a_large_row_is_a_batch_of_its_own() -> None:
    rows = rows_of((1, {"x": 1.0}, {}), (1, {}, {"note": "n" * 50_000}), (1, {"x": 1.0}, {}))
    assert [batch.count for batch in batches(rows)] == [1, 1, 1]


def test_a_batch_splits_down_to_its_rows() -> None:
    [batch] = batches(log_rows(5))
    first, second = batch.split()
    assert (first.first_seq, first.last_seq, second.first_seq, second.last_seq) == (1, 2, 3, 5)
    assert (first.count, second.count, first.size + second.size) == (2, 3, batch.size)
    [row] = batches(log_rows(1))
    assert row.split() == [row]


def test_a_topology_goes_before_its_record_in_pieces() -> None:
    body = pack_topology({"input_size": 2, "labels": [str(number * 7919) for number in range(300_000)]})
    assert len(body) > BODY_PIECE_BYTES
    rows = Rows({1: ("x",)}, [(1, 1, 1, 0, 0, packer(1).pack(1.0)), (2, Kind.TOPOLOGY, 0, 4, 5, body)])
    found = batches(rows)
    assert [batch.count for batch in found] == [0] * (len(found) - 1) + [2]
    pieces = [row for batch in found for row in batch.rows if "topology_bodies" in row.statement]
    assert b"".join(row.values[3] for row in pieces) == body
    assert all(len(row.values[3]) <= BODY_PIECE_BYTES for row in pieces)
    [described] = [row for batch in found for row in batch.rows if "network_topology" in row.statement]
    assert int.from_bytes(described.values[5], "big") == 2
    assert all(int.from_bytes(row.values[-1], "big") == BASE_US + 2 for row in pieces)
    assert found[-1].rows[1].values[7] == pack_text_map({"topology": body[:16].hex()})


@pytest.mark.parametrize(
    "row",
    [
        (1, 1, 1, 0, 0, b"\x00" * 7),
        (1, 1, 9, 0, 0, b""),
        (1, 1, 1, 0, 0, packer(1).pack(1.0) + b"{not json"),
        (1, 1, 1, 0, 0, packer(1).pack(1.0) + b'{"a": 1}'),
        (1, Kind.TOPOLOGY, 0, 0, 0, b"short"),
        (1, Kind.TOPOLOGY, 0, 0, 0, b"x" * 16 + b"not zlib"),
    ],
    ids=["values", "key set", "texts", "not strings", "digest", "body"],
)
def test_what_cannot_be_a_record_is_named(row: Any) -> None:
    with pytest.raises(CorruptRecord):
        batches(Rows({0: (), 1: ("x",)}, [row]))
