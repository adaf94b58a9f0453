"""API keys and certificates that change while the server runs, and the time between SIGTERM and the end."""

import http.client
import os
import signal
import socket
import ssl
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from serving.server_process import ServerProcess, start_server

from textgate.components.storage import Registry
from textgate.serving.keys import new_key

POLL = ("--poll-seconds", "0.1")


@contextmanager
def started(
    registry: Registry, environment: dict[str, str], bundle: Path, workspace: Path, *arguments: str
) -> Iterator[ServerProcess]:
    with start_server(environment, registry.store.bucket, workspace, bundle, *POLL, *arguments) as server:
        yield server


def replace(path: Path, content: str) -> None:
    """Replace a file at once, as a mounted secret changes."""
    new = path.with_name(f"{path.name}.new")
    new.write_text(content)
    new.chmod(0o600)
    new.replace(path)


def write_certificate(chain: Path, key: Path, *options: str) -> None:
    """Write a new certificate for 127.0.0.1, the key first."""
    new_chain, new_key_file = chain.with_name("new-chain"), key.with_name("new-key")
    subprocess.run(
        [
            *("openssl", "req", "-x509", "-nodes", "-days", "1", "-subj", "/CN=localhost", *options),
            *("-addext", "subjectAltName=IP:127.0.0.1", "-keyout", str(new_key_file), "-out", str(new_chain)),
        ],
        check=True,
        capture_output=True,
    )
    os.replace(new_key_file, key)
    os.replace(new_chain, chain)


def test_a_revoked_key_stops_working_and_a_new_one_works(
    registry: Registry, environment: dict[str, str], served_bundle: Path, tmp_path: Path
) -> None:
    (old_key, old_line), (other_key, other_line) = new_key("old", "user"), new_key("other", "user")
    path = tmp_path / "keys"
    replace(path, old_line)

    def status(server: ServerProcess, key: str) -> int:
        return server.classify(["a"], headers={"Authorization": f"Bearer {key}"}).status_code

    with started(registry, environment, served_bundle, tmp_path, "--keys", str(path)) as server:
        assert (status(server, old_key), status(server, other_key)) == (200, 401)
        replace(path, other_line)
        server.wait_for("keys reloaded")
        assert (status(server, old_key), status(server, other_key)) == (401, 200)
        replace(path, "no key\n")
        reason = server.wait_for("a changed file cannot be used")["reason"]
        assert "line 1: it has 2 words instead of 3" in reason
        assert status(server, other_key) == 200


def test_a_new_certificate_is_used_and_one_that_cannot_be_used_is_not(
    registry: Registry, environment: dict[str, str], served_bundle: Path, tmp_path: Path
) -> None:
    chain, key = tmp_path / "chain.pem", tmp_path / "key.pem"
    write_certificate(chain, key, "-newkey", "rsa:2048")

    def served_certificate(server: ServerProcess) -> str:
        parts = urlsplit(server.http)
        assert parts.port is not None
        return ssl.get_server_certificate(("127.0.0.1", parts.port)).strip()

    arguments = ("--tls-cert", str(chain), "--tls-key", str(key))
    with started(registry, environment, served_bundle, tmp_path, *arguments) as server:
        first = chain.read_text().strip()
        assert served_certificate(server) == first
        write_certificate(chain, key, "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1")
        server.wait_for("certificate reloaded")
        second = chain.read_text().strip()
        # Until the old server's loop has ended, it may accept a few connections.
        deadline, latest = time.monotonic() + 60, [first]
        while set(latest[-5:]) != {second} and time.monotonic() < deadline:
            try:
                latest.append(served_certificate(server))
            except OSError as error:  # accepted by the old server as it ended
                latest.append(str(error))
        assert set(latest[-5:]) == {second} != {first}
        assert server.classify(["a"], verify=str(chain)).status_code == 200
        # OpenSSL can use it, rustls cannot.
        write_certificate(chain, key, "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:secp521r1")
        # Between the two files, the new key does not belong to the old certificate.
        while "rustls does not support" not in server.wait_for("a changed file cannot be used")["reason"]:
            pass
        assert served_certificate(server) == second


def test_after_sigterm_keep_alive_clients_are_answered_and_asked_to_close(
    registry: Registry, environment: dict[str, str], served_bundle: Path, tmp_path: Path
) -> None:
    with started(registry, environment, served_bundle, tmp_path, "--linger-seconds", "60") as server:
        address = urlsplit(server.http)
        assert address.port is not None
        connection = http.client.HTTPConnection("localhost", address.port, timeout=60)

        def ask(path: str) -> tuple[int, str | None]:
            connection.request("GET", path)
            response = connection.getresponse()
            response.read()
            return response.status, response.getheader("connection")

        assert ask("/v2/health/ready") == (200, None)
        server.process.send_signal(signal.SIGTERM)
        server.wait_for("lingering")
        assert ask("/v1/models") == (200, "close")
        # The client connects again, and is answered, but the server says that it is not ready.
        assert ask("/v2/health/ready") == (503, "close")
        assert ask("/v2/health/live") == (200, "close")
        server.process.send_signal(signal.SIGINT)  # ends the time of grace
        assert server.process.wait(60) == 0
        assert server.wait_for("stopped")
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection(("127.0.0.1", address.port))
