"""The embedded S3 server of a workspace: SeaweedFS on the loopback interface, with its own credentials.

<workspace>/store/id.json          id of the store, and the folder that it belongs to
<workspace>/store/s3.json          access key and secret key (embedded_secrets.py)
<workspace>/store/state.json       process id and ports of the last server that answered
<workspace>/store/server.lock      locked by the running server (embedded_server.py)
<workspace>/store/weed.log         log of the server
<workspace>/store/data/            stored objects

The folder is readable by its owner only. A store is found by any path, and after its workspace was renamed. A copied
workspace becomes a store of its own, with another id, other credentials and other ports.
"""

import contextlib
import shutil
import stat
import sys
import threading
import time
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from filelock import FileLock, Timeout
from pydantic import BaseModel

from textgate.components.contracts import ConflictError, InputError, StoreError, write_file
from textgate.components.storage.embedded_probe import find_problem
from textgate.components.storage.embedded_secrets import LOOPBACK, credentials
from textgate.components.storage.embedded_server import (
    SERVICES,
    Server,
    find_server,
    is_held,
    launch,
    stop_abandoned,
)
from textgate.components.storage.ports import find_free_ports, wait_until_free

_SILENT_SECONDS = 3.0
"""Longer waits are announced."""
_START_SECONDS = 60.0
_LOCK_SECONDS = 150.0
"""More than another command takes to stop a server and start one."""
_POLL_SECONDS = 0.1
_LOST_SECONDS = 5.0
"""A server that has lost its folder does not end by itself."""
_LAUNCHES = 3
"""Number of servers that are tried, if each ends at once."""
_DISCARD_PORT = 9
"""Port of the discard protocol (RFC 863), which no server of this machine uses."""
_FULL_BYTES = 64 << 20
"""Free space below which a failure is the disk's, not the server's."""

_Model = TypeVar("_Model", bound=BaseModel)


class _Identity(BaseModel):
    """Content of ``id.json``."""

    id: str
    inode: int
    """Inode of the store's folder: a copy has another one."""


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
    answers: bool
    """Whether it answers requests; a suspended or overloaded server does not."""


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

        A wait of more than three seconds is announced on stderr.

        Raises:
            InputError: The server is not installed, or its folder cannot be written.
            ConflictError: Another command has been starting or stopping the server for long.
            StoreError: The server does not answer within a minute.
        """
        running, state = self._server(), self._state()
        is_known = running and state and state.pid == running.process.pid
        if running and is_known and not running.has_lost(self.folder) and running.answers():
            return _address(running, answers=True)
        with _announced(f"waiting for the embedded store of {self.workspace}"), self._lock():
            identity = self._identify()
            for _ in range(_LAUNCHES):
                server = self._find_or_launch(identity)
                problem = find_problem(server, self.folder)
                if problem is None:
                    state = _State(pid=server.process.pid, ports=server.ports)
                    write_file(self.folder / "state.json", state.model_dump_json(), mode=0o600)
                    return _address(server, answers=True)
                failure = self._failure(server, problem)
                # Another program may have taken a port first, or the server that was found was being ended.
                if server.is_alive():
                    break
            raise StoreError(failure)

    def status(self) -> ServerAddress | None:
        """Return the address of the running server, or None if it does not run.

        Raises:
            StoreError: It runs where this process cannot see it.
        """
        server = self._visible_server()
        return _address(server, answers=server.answers()) if server else None

    def stop(self) -> bool:
        """Stop the server and wait until it has ended.

        Returns:
            False if the server was not running.

        Raises:
            InputError: The folder cannot be locked.
            ConflictError: See ``start``.
            StoreError: The server runs where this process cannot see it.
        """
        if self._visible_server() is None:
            return False
        with self._lock():
            server = self._server()
            if server is not None:
                server.stop()
        return server is not None

    def environment(self) -> dict[str, str]:
        """Return the AWS variables that connect any S3 client to the running server.

        Raises:
            InputError: The server does not run, or its credentials cannot be read.
        """
        server = self._server()
        if server is None:
            raise InputError(f"the store of {self.workspace} is not running: textgate store start")
        return _variables(server.endpoint, *credentials(self.folder))

    def last_environment(self) -> dict[str, str]:
        """Return the AWS variables of the server that ran last; the next one has the same unless its ports are taken.

        If they are not known, nothing answers at the endpoint.
        """
        state = self._state()
        try:
            keys = credentials(self.folder)
        except InputError:
            keys = "unknown", "unknown"
        return _variables(f"http://{LOOPBACK}:{state.ports['s3'] if state else _DISCARD_PORT}", *keys)

    def _server(self) -> Server | None:
        state = self._state()
        return find_server(self.folder, state.pid if state else None)

    def _visible_server(self) -> Server | None:
        for _ in range(2):  # a command that launches the server holds the folder for a moment before
            server = self._server()
            if server or not is_held(self.folder):
                return server
            time.sleep(_POLL_SECONDS)
        raise self._out_of_sight()

    def _out_of_sight(self) -> StoreError:
        return StoreError(
            f"the embedded store in {self.folder} runs where this command cannot see it, in another container or on "
            "another machine: stop it there, or name another folder with --workspace"
        )

    @contextlib.contextmanager
    def _lock(self) -> Iterator[None]:
        """Create the folder, and let one command at a time start or stop the server."""
        try:
            for folder in (self.workspace, self.folder):
                folder.mkdir(parents=True, exist_ok=True, mode=0o700)
            if stat.S_IMODE(self.folder.stat().st_mode) != 0o700:
                self.folder.chmod(0o700)
            with FileLock(self.folder / ".lock", timeout=_LOCK_SECONDS):
                yield
        except Timeout as error:
            raise ConflictError(
                f"another command has been starting or stopping the store of {self.workspace} for "
                f"{_LOCK_SECONDS:.0f} seconds: end it and try again"
            ) from error
        except OSError as error:
            raise InputError(
                f"the embedded store cannot use {self.folder} ({error.strerror or error}): "
                "make it writable, with free space, or name another folder with --workspace"
            ) from error

    def _identify(self) -> _Identity:
        """Return the identity of the store; a new one for a new folder, an earlier version's, or a copy's."""
        path, inode = self.folder / "id.json", self.folder.stat().st_ino
        identity = _read(_Identity, path)
        if identity and identity.inode == inode:
            return identity
        if identity and self._server() is None:
            # A copy, or moved from another disk: clients of the original must not reach it.
            stop_abandoned(identity.id)
            for name in ("s3.json", "state.json"):
                (self.folder / name).unlink(missing_ok=True)
            identity = None
        identity = _Identity(id=identity.id if identity else str(uuid.uuid4()), inode=inode)
        write_file(path, identity.model_dump_json(), mode=0o600)
        return identity

    def _find_or_launch(self, identity: _Identity) -> Server:
        deadline = time.monotonic() + _START_SECONDS
        while time.monotonic() < deadline:
            server = self._server()
            if server and not server.has_lost(self.folder):
                return server
            if server:
                server.stop(_LOST_SECONDS)
            with contextlib.suppress(BlockingIOError):  # one that is not visible yet, or not from here
                return self._launch(identity)
            time.sleep(_POLL_SECONDS)
        raise self._out_of_sight()

    def _launch(self, identity: _Identity) -> Server:
        state = self._state()
        ports = state.ports if state and wait_until_free(state.ports) else find_free_ports(SERVICES)
        return launch(self.folder, identity.id, ports)

    def _state(self) -> _State | None:
        return _read(_State, self.folder / "state.json")

    def _failure(self, server: Server, problem: str) -> str:
        """Return the sentence about a server with a problem; one that has never answered is stopped."""
        free = shutil.disk_usage(self.folder).free
        if free < _FULL_BYTES:
            problem = f"its disk is full, with {free >> 20} MiB free"
        state = self._state()
        if state and state.pid == server.process.pid and server.is_alive():
            return f"the embedded store in {self.folder} does not answer ({problem}): end it with textgate store stop"
        server.stop()
        return f"the embedded store in {self.folder} does not start ({problem}): its log is {self.folder / 'weed.log'}"


def _variables(endpoint: str, access_key: str, secret_key: str) -> dict[str, str]:
    return {
        "AWS_ENDPOINT_URL_S3": endpoint,
        "AWS_ACCESS_KEY_ID": access_key,
        "AWS_SECRET_ACCESS_KEY": secret_key,
        "AWS_REGION": "us-east-1",
    }


def _address(server: Server, *, answers: bool) -> ServerAddress:
    return ServerAddress(server.endpoint, server.process.pid, answers)


def _read(model: type[_Model], path: Path) -> _Model | None:
    """Return the content of a file, or None if it is missing or damaged."""
    try:
        return model.model_validate_json(path.read_text())
    except (OSError, ValueError):
        return None


@contextlib.contextmanager
def _announced(sentence: str) -> Iterator[None]:
    timer = threading.Timer(_SILENT_SECONDS, print, [sentence], {"file": sys.stderr, "flush": True})
    timer.daemon = True
    timer.start()
    try:
        yield
    finally:
        timer.cancel()
