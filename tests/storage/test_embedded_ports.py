"""Other users of the machine reach neither the files nor the ports of an embedded store."""

import http.client
import os
import ssl
import stat
from collections.abc import Callable, Iterator
from pathlib import Path

import grpc
import psutil
import pytest

from textgate.components.storage import EmbeddedStore, Store, ports
from textgate.components.storage.embedded_secrets import _certificate


@pytest.fixture(scope="module")
def embedded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EmbeddedStore]:
    store = EmbeddedStore(tmp_path_factory.mktemp("parent") / "workspace")
    umask = os.umask(0o000)
    try:
        store.start()
    finally:
        os.umask(umask)
    yield store
    store.stop()


@pytest.fixture
def private(embedded: EmbeddedStore, monkeypatch: pytest.MonkeyPatch) -> Store:
    for name, value in embedded.environment().items():
        monkeypatch.setenv(name, value)
    store = Store.from_environment()
    store.ensure_bucket()
    store.put("key", b"private")
    return store


def listening(embedded: EmbeddedStore) -> tuple[set[int], set[Path]]:
    """Return the TCP ports and the Unix sockets of the server."""
    process = psutil.Process(embedded.start().pid)
    tcp = [connection for connection in process.net_connections("tcp") if connection.status == psutil.CONN_LISTEN]
    assert {connection.laddr.ip for connection in tcp} <= {"127.0.0.1", "::1"}
    unix = {connection.laddr for connection in process.net_connections("unix") if connection.laddr}
    return {connection.laddr.port for connection in tcp}, {embedded.folder / name for name in unix}


def http_status(port: int, method: str, path: str, context: ssl.SSLContext | None = None) -> int | None:
    """Return the status of a request, or None if the connection is refused or closed."""
    connection = (
        http.client.HTTPSConnection("127.0.0.1", port, timeout=10, context=context)
        if context
        else http.client.HTTPConnection("127.0.0.1", port, timeout=10)
    )
    try:
        connection.request(method, path, body=b"stolen" if method in ("PUT", "POST") else None)
        return connection.getresponse().status
    except (OSError, http.client.HTTPException):
        return None
    finally:
        connection.close()


def string_field(number: int, text: str) -> bytes:
    """Return a protobuf message with one short string."""
    return bytes([number << 3 | 2, len(text)]) + text.encode()


def grpc_status(port: int, method: str, request: bytes, credentials: grpc.ChannelCredentials | None) -> grpc.StatusCode:
    address = f"127.0.0.1:{port}"
    with grpc.secure_channel(address, credentials) if credentials else grpc.insecure_channel(address) as channel:
        try:
            list(channel.unary_stream(method)(request, timeout=10))
        except grpc.RpcError as error:
            return error.code()
    return grpc.StatusCode.OK


@pytest.fixture(scope="module")
def foreign_certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a PEM file of another certificate and its private key."""
    path = tmp_path_factory.mktemp("foreign") / "foreign.pem"
    path.write_bytes(b"".join(_certificate()))
    return path


def unverified(certificate: Path | None) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    if certificate:
        context.load_cert_chain(certificate)
    return context


def test_only_the_owner_can_read_the_files(embedded: EmbeddedStore) -> None:
    for folder in (embedded.workspace, embedded.folder):
        assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    secret = embedded.environment()["AWS_SECRET_ACCESS_KEY"]
    holders = [path for path in embedded.folder.glob("*") if path.is_file() and secret in path.read_text("utf-8")]
    assert [path.name for path in holders] == ["s3.json"]
    for name in ("s3.json", "security.toml", "grpc.key", "state.json"):
        assert stat.S_IMODE((embedded.folder / name).stat().st_mode) == 0o600
    assert secret not in Path(f"/proc/{embedded.start().pid}/cmdline").read_text()


def test_other_users_cannot_connect_to_its_unix_sockets(embedded: EmbeddedStore) -> None:
    sockets = listening(embedded)[1]
    assert len(sockets) >= 5
    assert {stat.S_IMODE(path.lstat().st_mode) & 0o077 for path in sockets} == {0}


def test_no_http_port_but_the_one_of_s3_answers_without_the_certificate(
    embedded: EmbeddedStore, private: Store, foreign_certificate: Path
) -> None:
    s3 = int(embedded.environment()["AWS_ENDPOINT_URL_S3"].rpartition(":")[2])
    open_ports = listening(embedded)[0]
    assert len(open_ports) == 10
    requests = [
        *(("GET", path) for path in ("/", "/status", "/metrics", "/cluster/status", "/buckets/textgate/key")),
        *(("GET", path) for path in ("/col/delete?collection=textgate", "/dir/assign?collection=textgate")),
        ("GET", "/admin/delete_collection?collection=textgate"),
        ("PUT", "/buckets/textgate/key"),
        ("DELETE", "/buckets/textgate/key"),
    ]
    for port in open_ports - {s3}:
        for method, path in requests:
            assert http_status(port, method, path) in (None, 400), (port, method, path)
        for certificate in (None, foreign_certificate):
            assert http_status(port, "GET", "/status", unverified(certificate)) is None, (port, certificate)
    for method, path in [("GET", "/"), ("GET", "/textgate"), ("GET", "/textgate/key"), ("PUT", "/textgate/key")]:
        assert http_status(s3, method, path) == 403, (method, path)
    assert http_status(s3, "DELETE", "/textgate/key") == 403
    assert private.get("key").data == b"private"  # type: ignore[union-attr]


def test_no_grpc_port_answers_without_the_certificate(
    embedded: EmbeddedStore, private: Store, foreign_certificate: Path
) -> None:
    own = (embedded.folder / "grpc.pem").read_bytes()
    foreign = foreign_certificate.read_bytes()
    folder = string_field(1, "/buckets/textgate")
    calls = [
        ("/filer_pb.SeaweedFiler/ListEntries", folder),
        ("/filer_pb.SeaweedFiler/LookupDirectoryEntry", folder + string_field(2, "key")),
        ("/filer_pb.SeaweedFiler/DeleteEntry", folder + string_field(2, "key")),
        ("/master_pb.Seaweed/VolumeList", b""),
        ("/volume_server_pb.VolumeServer/VolumeServerStatus", b""),
    ]
    strangers: list[Callable[[], grpc.ChannelCredentials] | None] = [
        None,
        lambda: grpc.ssl_channel_credentials(own),
        lambda: grpc.ssl_channel_credentials(own, foreign, foreign),
    ]
    owner = grpc.ssl_channel_credentials(own, (embedded.folder / "grpc.key").read_bytes(), own)
    answers, owned = set(), set()
    for port in listening(embedded)[0]:
        for stranger in strangers:
            for method, request in calls:
                answers.add(grpc_status(port, method, request, stranger() if stranger else None))
        owned.add(grpc_status(port, *calls[0], owner))
    assert grpc.StatusCode.OK in owned
    assert answers == {grpc.StatusCode.UNAVAILABLE}
    assert private.get("key").data == b"private"  # type: ignore[union-attr]


def test_a_socket_that_another_user_has_put_in_its_way_is_avoided(monkeypatch: pytest.MonkeyPatch) -> None:
    free = ports.find_free_ports(["filer"])
    assert ports.wait_until_free(free)
    path = Path(f"/tmp/seaweedfs-filer-grpc-{free['filer'] + 10_000}.sock")
    path.touch()
    try:
        assert ports.wait_until_free(free)
        monkeypatch.setattr(os, "geteuid", lambda: path.stat().st_uid + 1)
        assert not ports.wait_until_free(free)
    finally:
        path.unlink()
