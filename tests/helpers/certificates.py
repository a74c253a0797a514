"""Certificates for nodes under test, made by the keytool that comes with every Java."""

from __future__ import annotations

import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from wal.cassandra.java import find_java

PASSWORD = "changeit"
"""Of a key store that lives as long as a test run."""


@dataclass(frozen=True)
class Certificate:
    """A node's key store, and its certificate for those who are to trust it (PEM)."""

    store: Path
    pem: Path

    @property
    def overrides(self) -> dict[str, Any]:
        """Keys of cassandra.yaml: the node speaks TLS with who wants it, on the same port."""
        key = {"keystore": str(self.store), "keystore_password": PASSWORD}
        return {"client_encryption_options": {"enabled": True, "optional": True, **key}}


def make_certificate(folder: Path, name: str) -> Certificate:
    """A certificate that signs itself and is good for the host ``name`` only."""
    keytool = find_java().path.with_name("keytool")
    made = Certificate(folder / f"{name}.p12", folder / f"{name}.pem")
    common = ["-alias", "node", "-keystore", str(made.store), "-storepass", PASSWORD]
    generate = ["-genkeypair", *common, "-storetype", "PKCS12", "-keyalg", "EC", "-groupname", "secp256r1",
                "-validity", "2", "-dname", f"CN={name}", "-ext", f"san=dns:{name}"]  # fmt: skip
    for arguments in (generate, ["-exportcert", *common, "-rfc", "-file", str(made.pem)]):
        subprocess.run([str(keytool), *arguments], check=True, capture_output=True)
    return made
