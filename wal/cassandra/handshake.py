"""Does a Cassandra answer there? Asked in its native protocol over a bare socket, so no driver is needed."""

from __future__ import annotations

import socket
import struct

# Native protocol specification, version 4, section 2: version, flags, stream, opcode, body length.
_HEADER = struct.Struct(">BBhBi")
_REQUEST_V4, _RESPONSE_V4 = 0x04, 0x84
_OPTIONS, _SUPPORTED = 0x05, 0x06


def answers(host: str, port: int, timeout: float) -> bool:
    """Whether a server there answers OPTIONS with SUPPORTED within ``timeout`` seconds."""
    try:
        with socket.create_connection((host, port), timeout=timeout) as connection:
            connection.settimeout(timeout)
            connection.sendall(_HEADER.pack(_REQUEST_V4, 0, 0, _OPTIONS, 0))
            with connection.makefile("rb") as stream:
                header = stream.read(_HEADER.size)
    except OSError:
        return False
    if len(header) < _HEADER.size:
        return False
    version, _flags, _stream, opcode, _length = _HEADER.unpack(header)
    return version == _RESPONSE_V4 and opcode == _SUPPORTED


def in_use(host: str, port: int) -> bool:
    """Whether something listens there already, or the port cannot be had for another reason."""
    try:
        socket.create_connection((host, port), timeout=1).close()
        return True
    except OSError:
        pass
    with socket.socket() as probe:
        # Connections of a node that just went still linger on its port; a server may take it all the same.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError:
            return True
    return False


def is_ours(host: str) -> bool:
    """Whether this machine has that address: of 127.0.0.0/8, macOS has 127.0.0.1 alone."""
    with socket.socket() as probe:
        try:
            probe.bind((host, 0))
        except OSError:
            return False
    return True


def free_port(host: str, wanted: int | None, *others: int) -> int:
    """The first of the ports given that is free on ``host``, else any free one."""
    for port in (wanted, *others):
        if port and not in_use(host, port):
            return port
    with socket.socket() as probe:
        probe.bind((host, 0))
        return int(probe.getsockname()[1])
