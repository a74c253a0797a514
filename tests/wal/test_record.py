"""Records: packing, decoding, digests, identities."""

from __future__ import annotations

import json
import math
import struct
import uuid
import zlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wal.record import (
    DIGEST_BYTES,
    DIGEST_MODULUS,
    CorruptRecord,
    Kind,
    Record,
    canonical_bytes,
    decode,
    digest,
    key_order,
    pack_texts,
    pack_topology,
    packer,
    run_uuid,
    unpack_body,
    unpack_topology,
    uuid7,
    uuid7_milliseconds,
    week_of,
)  # fmt: skip

names = st.text(max_size=8)
# Every double, NaN with all their payloads and signs among them.
doubles = st.binary(min_size=8, max_size=8).map(lambda raw: struct.unpack("<d", raw)[0]) | st.floats(width=64)
texts = st.dictionaries(names, st.text(max_size=8), max_size=3)
records = st.builds(
    Record,
    seq=st.integers(1, 2**62),
    kind=st.sampled_from([Kind.LOG, Kind.SUMMARY, Kind.ALERT, Kind.GAP]),
    step=st.integers(-(2**63), 2**63 - 1),
    ts=st.integers(-(2**63), 2**63 - 1),
    values=st.dictionaries(names, doubles, max_size=4),
    texts=texts,
)


def bits(value: float) -> bytes:
    return struct.pack("<d", value)


def pack(record: Record) -> tuple[tuple[str, ...], bytes]:
    ordered = key_order(record.values)
    values = packer(len(ordered)).pack(*(record.values[name] for name in ordered))
    return ordered, values + pack_texts(record.texts)


@given(records)
def test_a_record_comes_back_bit_for_bit(record: Record) -> None:
    ordered, body = pack(record)
    again = decode(record.seq, record.kind, ordered, record.step, record.ts, body)
    assert (again.seq, again.kind, again.step, again.ts) == (record.seq, record.kind, record.step, record.ts)
    assert {name: bits(value) for name, value in again.values.items()} == {
        name: bits(value) for name, value in record.values.items()
    }
    assert again.texts == record.texts
    assert canonical_bytes(again) == canonical_bytes(record)


@given(st.lists(names, unique=True))
def test_key_order_is_that_of_utf8(given_names: list[str]) -> None:
    assert [name.encode() for name in key_order(given_names)] == sorted(name.encode() for name in given_names)


def test_key_order_takes_lone_surrogates() -> None:
    assert key_order(["\udfff", "z", "\U0001f600"]) == ("z", "\udfff", "\U0001f600")


# -- digests -----------------------------------------------------------------------------------------


@given(st.lists(records, max_size=6), st.randoms(use_true_random=False), st.integers(0, 6))
def test_a_digest_knows_no_order_and_no_split(found: list[Record], random, cut: int) -> None:
    whole = digest(found)
    shuffled = random.sample(found, len(found))
    assert digest(shuffled) == whole
    assert digest(shuffled[cut:], digest(shuffled[:cut])) == whole
    assert 0 <= whole < DIGEST_MODULUS


@given(records, records)
def test_a_digest_shows_what_is_missing_doubled_or_changed(record: Record, other: Record) -> None:
    whole = digest([record, other])
    assert digest([record]) != whole
    assert digest([record, other, other]) != whole
    for changed in (
        record._replace(seq=record.seq + 1),
        record._replace(step=record.step ^ 1),
        record._replace(ts=record.ts ^ 1),
        record._replace(values={**record.values, "new": 0.0}),
        record._replace(texts={**record.texts, "new": ""}),
        record._replace(kind=Kind.TOPOLOGY),
    ):
        assert digest([changed, other]) != whole


def test_a_digest_tells_zeros_and_nans_apart() -> None:
    payload = struct.unpack("<d", struct.pack("<Q", 0x7FF8_0000_0000_0001))[0]
    variants = [
        Record(1, Kind.LOG, 1, 1, {"x": value}) for value in (0.0, -0.0, math.nan, payload, -math.nan)
    ]
    assert len({digest([record]) for record in variants}) == len(variants)


def test_a_digest_is_the_same_for_ever() -> None:
    """Stored in files and in Cassandra: a change of the canonical bytes would call good data corrupt."""
    record = Record(7, Kind.LOG, -3, 1 << 60, {"loss": 0.25, "ä": math.inf}, {"note": "x"})
    assert canonical_bytes(record) == b"".join(
        [
            b"\0\0\0\0\0\0\0\7", b"\1", b"\xff\xff\xff\xff\xff\xff\xff\xfd", b"\x10\0\0\0\0\0\0\0",
            b"\0\0\0\2", b"\0\0\0\4loss", b"\x3f\xd0\0\0\0\0\0\0", b"\0\0\0\2\xc3\xa4",
            b"\x7f\xf0\0\0\0\0\0\0",
            b"\0\0\0\1", b"\0\0\0\4note", b"\0\0\0\1x",
        ]
    )  # fmt: skip
    assert f"{digest([record]):032x}" == "62fddb52e5f5bce0057da5cd1e9e0cd8"


# -- what cannot be a record ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("kind", "ordered", "body", "words"),
    [
        (Kind.LOG, ("a", "b"), b"\0" * 15, "cannot hold 2 values"),
        (Kind.LOG, ("a",), b"\0" * 8 + b"{", "cannot be read"),
        (Kind.LOG, ("a",), b"\0" * 8 + b"\xff\xfe", "cannot be read"),
        (Kind.LOG, (), b"[1]", "not a map of strings"),
        (Kind.LOG, (), b'{"a": 1}', "not a map of strings"),
        (Kind.TOPOLOGY, (), b"short", "a topology of 5 bytes"),
        (99, (), b"", "kind 99 is unknown"),
    ],
)
def test_a_corrupt_body_is_named(kind: int, ordered: tuple[str, ...], body: bytes, words: str) -> None:
    with pytest.raises(CorruptRecord, match="record 41: ") as raised:
        decode(41, kind, ordered, 0, 0, body)
    assert words in str(raised.value)


@given(st.binary(max_size=40), st.integers(0, 3))
def test_any_bytes_are_a_record_or_corrupt(body: bytes, count: int) -> None:
    try:
        values, found = unpack_body(1, [str(at) for at in range(count)], body)
    except CorruptRecord:
        return
    assert len(values) == count
    assert all(isinstance(text, str) for text in found.values())


# -- topologies ---------------------------------------------------------------------------------------


@given(st.dictionaries(names, st.recursive(st.integers() | st.floats(allow_nan=False) | names, st.lists)))
def test_a_topology_comes_back(topology: dict[str, object]) -> None:
    body = pack_topology(topology)
    assert unpack_topology(body) == topology
    assert pack_topology(dict(reversed(topology.items()))) == body
    record = decode(1, Kind.TOPOLOGY, (), 0, 0, body)
    assert record.texts == {"topology": body[:DIGEST_BYTES].hex()}


def test_what_cannot_be_a_topology() -> None:
    body = pack_topology({"input_size": 2})
    other = pack_topology({"input_size": 3})
    for damaged, words in (
        (body[:DIGEST_BYTES] + b"not zlib", "cannot be unpacked"),
        (body[:DIGEST_BYTES] + other[DIGEST_BYTES:], "does not match its digest"),
        (pack_topology({"x": "y" * 2000}), "more than 0 MiB"),
        (digested(json.dumps([1]).encode()), "not a JSON object"),
    ):
        with pytest.raises(CorruptRecord, match=words):
            unpack_topology(damaged, max_bytes=1000)


def digested(text: bytes) -> bytes:
    from hashlib import blake2b

    return blake2b(text, digest_size=DIGEST_BYTES).digest() + zlib.compress(text)


# -- identities -----------------------------------------------------------------------------------------


@given(st.integers(0, 2**48 * 1_000_000 - 1))
def test_a_uuid7_carries_its_time(now_ns: int) -> None:
    identity = uuid7(now_ns)
    assert (identity.version, identity.variant) == (7, uuid.RFC_4122)
    assert uuid7_milliseconds(identity) == now_ns // 1_000_000


def test_uuid7s_sort_by_time_and_differ() -> None:
    identities = [uuid7(1_790_000_000_000_000_000 + at * 1_000) for at in range(1_000)]
    assert sorted(identities) == identities
    assert len({uuid7(0) for _ in range(1_000)}) == 1_000


def test_a_users_own_id() -> None:
    assert run_uuid("spirals", "a") == run_uuid("spirals", "a") != run_uuid("other", "a")
    assert run_uuid("spirals", "a").version == 5
    assert uuid7_milliseconds(run_uuid("spirals", "a")) is None
    identity = uuid7()
    assert run_uuid("spirals", str(identity)) == identity


def test_weeks() -> None:
    week_ms = 7 * 24 * 3600 * 1000
    assert (week_of(0), week_of(week_ms - 1), week_of(week_ms)) == (0, 0, 1)
