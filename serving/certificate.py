"""TLS certificate of the server and its private key."""

import ssl
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from textgate.components.contracts import InputError

_TRY_SECONDS = 60.0
_TRY = """
import asyncio, sys
from pathlib import Path
from granian.constants import SSLProtocols
from granian.server.embed import Server

async def main():
    chain, key = map(Path, sys.argv[1:])
    server = Server(None, port=0, websockets=False, log_enabled=False, ssl_cert=chain, ssl_key=key,
                    ssl_protocol_min=SSLProtocols.tls12)
    asyncio.get_running_loop().call_soon(server.stop)
    await server.serve()

asyncio.run(main())
"""
"""Starts and stops a server with the files."""


@dataclass(frozen=True)
class CertificateFiles:
    """PEM files of a certificate chain and its private key."""

    chain: Path
    private_key: Path

    def check(self) -> None:
        """Check that a server can use the files; takes about half a second.

        Raises:
            InputError: If they cannot be read, do not belong together, or have a key of an unsupported kind.
        """
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        try:
            # Without a password, OpenSSL would ask for that of an encrypted key on the terminal.
            context.load_cert_chain(self.chain, self.private_key, password="")
        except (OSError, ValueError) as error:
            raise InputError(
                f"{self.chain} and {self.private_key} are not a certificate and its private key, not encrypted, in PEM "
                f"({error})"
            ) from error
        # rustls supports fewer kinds of keys than OpenSSL, and granian ends the process if it rejects one.
        command = [sys.executable, "-c", _TRY, str(self.chain), str(self.private_key)]
        try:
            subprocess.run(command, check=True, capture_output=True, timeout=_TRY_SECONDS)
        except subprocess.SubprocessError as error:
            raise InputError(
                f"{self.private_key} is a key of a kind that rustls does not support: use RSA of at least 2048 bits, "
                "ECDSA P-256 or P-384, or Ed25519"
            ) from error

    def read(self) -> tuple[bytes, bytes]:
        """Return the private key and the certificate chain, PEM."""
        return self.private_key.read_bytes(), self.chain.read_bytes()
