"""Servers to attack, and their liveness, which is checked after every case."""

import subprocess
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from serving.hostile.liveness import Liveness, poll
from serving.server_process import ServerProcess, promote_in_new_bucket, start_server

from textgate.serving.keys import new_key

_LIVENESS: list[Liveness] = []
"""Liveness of each server."""


@pytest.fixture(scope="session")
def polled_server(server: ServerProcess) -> Iterator[None]:
    """Poll the server with default options."""
    with _polled(server):
        yield


@pytest.fixture(autouse=True)
def liveness_is_answered(polled_server: None) -> Iterator[None]:
    """Check that every server answered throughout a test, in time, and still does."""
    started = time.monotonic()
    yield
    for liveness in _LIVENESS:
        liveness.check(started)


@pytest.fixture(scope="session")
def secret_key() -> tuple[str, str]:
    """A key of the secured server, and its line in the key file."""
    return new_key("client", "user")


@pytest.fixture(scope="session")
def secured_server(
    store_environment: dict[str, str],
    served_bundle: Path,
    secret_key: tuple[str, str],
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[ServerProcess]:
    """A server with TLS, the key ``secret_key``, and small limits."""
    folder = tmp_path_factory.mktemp("secured")
    certificate, private_key, keys = folder / "cert.pem", folder / "key.pem", folder / "keys"
    subprocess.run(
        [
            *("openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "1", "-subj", "/CN=localhost"),
            *("-keyout", str(private_key), "-out", str(certificate)),
        ],
        check=True,
        capture_output=True,
    )
    keys.write_text(f"{secret_key[1]}\n")
    keys.chmod(0o600)
    bucket = f"secured-{uuid.uuid4().hex[:12]}"
    promote_in_new_bucket(store_environment, bucket, served_bundle)
    arguments = [
        *("--tls-cert", str(certificate), "--tls-key", str(private_key), "--keys", str(keys)),
        *("--max-texts", "3", "--max-characters", "100", "--max-body-mb", "1"),
    ]
    with (
        start_server(store_environment, bucket, folder / "workspace", served_bundle, *arguments) as server,
        _polled(server),
    ):
        yield server


@contextmanager
def _polled(server: ServerProcess) -> Iterator[None]:
    with poll(server) as liveness:
        _LIVENESS.append(liveness)
        yield
    _LIVENESS.remove(liveness)
    print(liveness.summary())
