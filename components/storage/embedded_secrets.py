"""Credentials and certificate of an embedded store, all in its folder and readable by the owner only.

<folder>/s3.json          access key and secret key of the S3 port; kept, so that clients stay connected
<folder>/security.toml    settings that close the other ports; new at every start of the server
<folder>/grpc.pem         certificate without which no port but S3's accepts a connection (mutual TLS)
<folder>/grpc.key         its private key

SeaweedFS' own ports obey every process of the machine by default: ``weed scaffold -config=security``,
https://github.com/seaweedfs/seaweedfs/wiki/Security-Configuration.
"""

import json
import secrets
from datetime import UTC, datetime
from ipaddress import ip_address
from pathlib import Path

from textgate.components.contracts import InputError, write_file

LOOPBACK = "127.0.0.1"

_SERVERS = ("master", "volume", "filer", "s3", "admin", "worker")
_SIGNED = ("jwt.signing", "jwt.signing.read", "jwt.filer_signing", "jwt.filer_signing.read")
_FILES = 'cert = "grpc.pem"\nkey = "grpc.key"\n'
"""Relative to the server's working directory, so that they are found after the folder is renamed."""


def credentials(folder: Path) -> tuple[str, str]:
    """Return access key and secret key.

    Raises:
        InputError: The file is missing or damaged.
    """
    path = folder / "s3.json"
    try:
        keys = json.loads(path.read_text())["identities"][0]["credentials"][0]
        return keys["accessKey"], keys["secretKey"]
    except (OSError, ValueError, LookupError, TypeError) as error:
        raise InputError(
            f"{path}, the credentials of the embedded store, cannot be read: "
            "stop the store, delete the file, and start the store again (textgate store stop, textgate store start)"
        ) from error


def write_secrets(folder: Path) -> None:
    """Write the secrets with which the server starts; existing credentials are kept."""
    if not (folder / "s3.json").exists():
        keys = {"accessKey": secrets.token_hex(10), "secretKey": secrets.token_hex(20)}
        actions = ["Admin", "Read", "Write", "List", "Tagging"]
        identities = {"identities": [{"name": "textgate", "credentials": [keys], "actions": actions}]}
        write_file(folder / "s3.json", json.dumps(identities), mode=0o600)
    certificate, private_key = _certificate()
    write_file(folder / "grpc.key", private_key, mode=0o600)
    write_file(folder / "grpc.pem", certificate, mode=0o600)
    write_file(folder / "security.toml", "\n".join(_security_sections()), mode=0o600)


def _security_sections() -> list[str]:
    keys = [f'[{name}]\nkey = "{secrets.token_hex(32)}"\nexpires_after_seconds = 60\n' for name in _SIGNED]
    authority = 'ca = "grpc.pem"\n'
    grpc = [f"[grpc]\n{authority}", *(f"[grpc.{name}]\n{_FILES}" for name in (*_SERVERS, "client"))]
    https = [f"[https.{name}]\n{authority}{_FILES}" for name in ("master", "volume", "filer", "admin")]
    return [*keys, *grpc, *https, f"[https.client]\nenabled = true\n{authority}{_FILES}"]


def _certificate() -> tuple[bytes, bytes]:
    """Return a new self-signed certificate and its private key, PEM; it is its own authority and does not expire.

    99991231235959Z says that there is no well-defined end: RFC 5280, section 4.1.2.5.
    """
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec
    from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "textgate embedded store")])
    usage = x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH])
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(datetime(2000, 1, 1, tzinfo=UTC))
        .not_valid_after(datetime(9999, 12, 31, 23, 59, 59, tzinfo=UTC))
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ip_address(LOOPBACK))]), critical=False)
        .add_extension(usage, critical=False)
        .sign(key, hashes.SHA256())
    )
    private_key = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    return certificate.public_bytes(serialization.Encoding.PEM), private_key
