"""Records: what one call of the user becomes, how it is packed, and how a set of records is digested.

Standard library only: the training path imports this.

A packed body is the float64 values of the record's key set in little-endian order, in the key set's own
order (names sorted by their UTF-8 bytes), followed by nothing or by a JSON object of the record's texts.
A topology's body is the 16-byte digest of its canonical JSON followed by that JSON, compressed by zlib.
"""

from __future__ import annotations

import json
import os
import struct
import time
import uuid
import zlib
from collections.abc import Iterable, Mapping, Sequence
from enum import IntEnum
from functools import lru_cache
from hashlib import blake2b
from types import MappingProxyType
from typing import NamedTuple

FORMAT = 1
"""Version of the segment file. A reader refuses a newer one and says so; see :class:`NewerFormat`."""

DIGEST_BYTES = 16
DIGEST_MODULUS = 1 << (8 * DIGEST_BYTES)
MILLISECONDS_PER_WEEK = 7 * 24 * 3600 * 1000
MAX_EXACT_INT = 1 << 53
"""Integers beyond this are not exact as float64: their decimal is kept as a text beside the double."""

RUN_NAMESPACE = uuid.UUID("4b7b1d6e-6d0c-5f7e-9c0f-2b6a2f0a7c11")
"""Namespace of the UUID5 that a user's own run id becomes."""


class Kind(IntEnum):
    """What the user called. The numbers are stored: never reuse one."""

    LOG = 1
    TOPOLOGY = 2
    SUMMARY = 3
    ALERT = 4
    GAP = 5


class CorruptRecord(ValueError):
    """A stored body that cannot be a record. The message names the seq and says what is wrong."""


class NewerFormat(ValueError):
    """A segment written by a newer Canopy. The message says which file and what to do."""


class Record(NamedTuple):
    """One call that the user made.

    ``step`` is the user's step, ``ts`` nanoseconds since the epoch (data only, never an order).
    ``values`` are float64 by metric name, bit for bit; ``texts`` holds strings, the decimals of integers
    beyond 2^53 (whose double is in ``values`` under the same name) and, for a topology, its digest.
    """

    seq: int
    kind: Kind
    step: int
    ts: int
    values: Mapping[str, float] = MappingProxyType({})
    texts: Mapping[str, str] = MappingProxyType({})


# -- identities -------------------------------------------------------------------------------------


def uuid7(now_ns: int | None = None) -> uuid.UUID:
    """A UUIDv7 (RFC 9562): 48 bits of milliseconds, 12 bits of sub-millisecond time, 62 random bits."""
    ns = time.time_ns() if now_ns is None else now_ns
    milliseconds, rest = divmod(max(ns, 0), 1_000_000)
    value = (milliseconds & 0xFFFF_FFFF_FFFF) << 80
    value |= 0x7 << 76
    value |= ((rest * 4096) // 1_000_000) << 64
    value |= 0x2 << 62
    value |= int.from_bytes(os.urandom(8), "big") & 0x3FFF_FFFF_FFFF_FFFF
    return uuid.UUID(int=value)


def uuid7_milliseconds(identity: uuid.UUID) -> int | None:
    """Milliseconds since the epoch that a UUIDv7 carries; None for any other version."""
    return identity.int >> 80 if identity.version == 7 else None


def run_uuid(project: str, user_id: str) -> uuid.UUID:
    """The run id that a user's own id string stands for: a UUID5 of project and id.

    A string that already is a UUID is taken as it is, so that an id read off a screen resumes its run.
    """
    try:
        return uuid.UUID(user_id)
    except ValueError:
        return uuid.uuid5(RUN_NAMESPACE, f"{project}\0{user_id}")


def week_of(milliseconds: int) -> int:
    """Weeks since the epoch: the partition of ``runs_by_week``."""
    return milliseconds // MILLISECONDS_PER_WEEK


# -- packing ----------------------------------------------------------------------------------------


def key_order(names: Iterable[str]) -> tuple[str, ...]:
    """Names in UTF-8 order: the order of a key set, of a Cassandra map and of the digest."""
    return tuple(sorted(names, key=lambda name: name.encode("utf-8", "surrogatepass")))


@lru_cache(maxsize=1024)
def packer(count: int) -> struct.Struct:
    """The struct of ``count`` little-endian float64."""
    return struct.Struct(f"<{count}d")


def pack_texts(texts: Mapping[str, str]) -> bytes:
    """Texts as the tail of a body; empty when there are none."""
    return json.dumps(dict(texts), ensure_ascii=False, separators=(",", ":")).encode() if texts else b""


def unpack_body(seq: int, names: Sequence[str], body: bytes) -> tuple[tuple[float, ...], dict[str, str]]:
    """Values in the key set's order, and the texts.

    Raises :class:`CorruptRecord` when the body is too short or its texts are not a JSON object of strings.
    """
    struct_ = packer(len(names))
    if len(body) < struct_.size:
        raise CorruptRecord(f"record {seq}: {len(body)} bytes cannot hold {len(names)} values")
    values = struct_.unpack_from(body)
    if len(body) == struct_.size:
        return values, {}
    try:
        texts = json.loads(body[struct_.size :])
    except (ValueError, RecursionError) as error:
        raise CorruptRecord(f"record {seq}: its texts cannot be read ({error})") from None
    if not isinstance(texts, dict) or not all(isinstance(text, str) for text in texts.values()):  # pyright: ignore[reportUnknownVariableType, reportUnknownMemberType]
        raise CorruptRecord(f"record {seq}: its texts are not a map of strings")
    return values, texts  # pyright: ignore[reportUnknownVariableType]


def decode(seq: int, kind: int, names: Sequence[str], step: int, ts: int, body: bytes) -> Record:
    """A stored row as a :class:`Record`. Raises :class:`CorruptRecord`."""
    try:
        known = Kind(kind)
    except ValueError:
        raise CorruptRecord(f"record {seq}: kind {kind} is unknown to this version") from None
    if known is Kind.TOPOLOGY:
        if len(body) < DIGEST_BYTES:
            raise CorruptRecord(f"record {seq}: a topology of {len(body)} bytes")
        return Record(seq, known, step, ts, {}, {"topology": body[:DIGEST_BYTES].hex()})
    values, texts = unpack_body(seq, names, body)
    return Record(seq, known, step, ts, dict(zip(names, values, strict=True)), texts)


MAX_TOPOLOGY_BYTES = 64 << 20
"""Of its JSON: a hostile body must not take a reader's memory, and no writer keeps what no reader unpacks."""


def pack_topology(topology: Mapping[str, object]) -> bytes:
    """Digest and compressed canonical JSON of a topology. Raises TypeError or ValueError: not JSON."""
    text = json.dumps(topology, ensure_ascii=False, sort_keys=True, separators=(",", ":")).encode()
    if len(text) > MAX_TOPOLOGY_BYTES:
        raise ValueError(f"a topology of {len(text) >> 20} MiB is too large to be kept")
    return blake2b(text, digest_size=DIGEST_BYTES).digest() + zlib.compress(text, 6)


def unpack_topology(body: bytes, max_bytes: int = MAX_TOPOLOGY_BYTES) -> dict[str, object]:
    """The topology of a body made by :func:`pack_topology`.

    Raises :class:`CorruptRecord` when the bytes do not match their digest or would unpack to more than
    ``max_bytes`` (a hostile body must not take the reader's memory).
    """
    inflater = zlib.decompressobj()
    try:
        text = inflater.decompress(body[DIGEST_BYTES:], max_bytes)
    except zlib.error as error:
        raise CorruptRecord(f"a topology cannot be unpacked ({error})") from None
    if inflater.unconsumed_tail:
        raise CorruptRecord(f"a topology unpacks to more than {max_bytes >> 20} MiB")
    if blake2b(text, digest_size=DIGEST_BYTES).digest() != body[:DIGEST_BYTES]:
        raise CorruptRecord("a topology does not match its digest")
    try:
        topology = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise CorruptRecord(f"a topology is not JSON ({error})") from None
    if not isinstance(topology, dict):
        raise CorruptRecord("a topology is not a JSON object")
    return topology  # pyright: ignore[reportUnknownVariableType]


# -- digest -----------------------------------------------------------------------------------------

_HEAD = struct.Struct(">QBqqI")
_LENGTH = struct.Struct(">I")
_DOUBLE = struct.Struct(">d")


def canonical_bytes(record: Record) -> bytes:
    """The bytes that a record's digest is taken of: seq, kind, step, ts, values and texts in UTF-8 order."""
    parts = [_HEAD.pack(record.seq, record.kind, record.step, record.ts, len(record.values))]
    for name in key_order(record.values):
        encoded = name.encode("utf-8", "surrogatepass")
        parts += (_LENGTH.pack(len(encoded)), encoded, _DOUBLE.pack(record.values[name]))
    parts.append(_LENGTH.pack(len(record.texts)))
    for name in key_order(record.texts):
        for text in (name, record.texts[name]):
            encoded = text.encode("utf-8", "surrogatepass")
            parts += (_LENGTH.pack(len(encoded)), encoded)
    return b"".join(parts)


def digest(records: Iterable[Record], start: int = 0) -> int:
    """Sum mod 2^128 of BLAKE2b-128 over each record's canonical bytes, added to ``start``.

    A sum, so it can be recomputed from what Cassandra holds in any order and over any split, and a record
    that is missing, doubled or changed shows.
    """
    total = start
    for record in records:
        total += int.from_bytes(blake2b(canonical_bytes(record), digest_size=DIGEST_BYTES).digest(), "big")
    return total % DIGEST_MODULUS
