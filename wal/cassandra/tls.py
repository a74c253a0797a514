"""TLS to the nodes: whom to trust, and which name a node's certificate must bear."""

from __future__ import annotations

import ipaddress
import socket
import ssl
from collections.abc import Iterable, Iterator

from cassandra.connection import DefaultEndPoint

from wal.cassandra.trouble import Action, StoreError, Trouble
from wal.settings import Tls


def client_context(tls: Tls) -> ssl.SSLContext:
    """What the settings ask for. Raises StoreError when one of the files cannot be used."""
    try:
        context = ssl.create_default_context(cafile=str(tls.ca_file) if tls.ca_file else None)
        context.check_hostname = tls.check_hostname
        if tls.cert_file is not None:
            context.load_cert_chain(str(tls.cert_file), str(tls.key_file) if tls.key_file else None)
    except (OSError, ValueError) as error:  # ssl.SSLError is an OSError
        sentence = f"The TLS files of the settings cannot be used ({error})."
        trouble = Trouble(Action.STOP, "tls", sentence, "Check ca_file, cert_file and key_file.")
        raise StoreError(trouble) from error
    return context


class NamedEndPoint(DefaultEndPoint):
    """An address that was found by a name: the name is what the certificate there must bear.

    The driver resolves contact points first and would hold the certificate against the address. The nodes
    that it hears of from others have no name: their certificates must bear their addresses.
    """

    def __init__(self, address: str, port: int, name: str) -> None:
        super().__init__(address, port)
        self._name = name

    @property
    def ssl_options(self) -> dict[str, str]:  # pyright: ignore[reportIncompatibleMethodOverride]
        return {"server_hostname": self._name}


def named_contact_points(hosts: Iterable[str], port: int) -> Iterator[NamedEndPoint | str]:
    """The contact points for the driver, which resolves (or complains of) the ones that are still text."""
    for host in hosts:
        try:
            ipaddress.ip_address(host)
            found = []
        except ValueError:
            try:
                found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
            except OSError:
                found = []
        if not found:
            yield host
        for *_, address in found:
            yield NamedEndPoint(str(address[0]), port, host)
