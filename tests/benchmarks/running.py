"""A running server of ``servers.py``: installation, start, requests, CPU and memory, stop."""

import contextlib
import json
import os
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import psutil
from headline_model import HeadlineModel
from servers import Server

PEERS = Path(__file__).parent / "peers"
_START_SECONDS = 180.0
_STOP_SECONDS = 20.0


class UnavailableError(Exception):
    """Failure to install or start a server, or a wrong response; the message has the reason."""


class RunningServer:
    """Server process; ``close`` stops it and its child processes."""

    def __init__(self, server: Server, model: HeadlineModel, environments: Path, scratch: Path) -> None:
        self.server, self._log = server, scratch / "log.txt"
        folder = install(server, environments)
        self.port, port2, port3 = _free_ports(3)
        values = {
            "python": str(folder / "python"),
            "bin": str(folder),
            "peers": str(PEERS),
            "scratch": str(scratch),
            "work": str(model.work),
            "port": str(self.port),
            "port2": str(port2),
            "port3": str(port3),
        }
        variables = {name: value.format(**values) for name, value in server.variables.items()}
        with self._log.open("wb") as log:
            self._process = subprocess.Popen(
                [part.format(**values) for part in server.command.split()],
                env={**os.environ, "PYTHONPATH": str(PEERS), **model.environment, **variables},
                cwd=server.folder.format(**values),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )

    def wait(self, text: str) -> None:
        """Wait until the server classifies a text.

        Raises:
            UnavailableError: The process ends or does not respond in time.
        """
        deadline = time.monotonic() + _START_SECONDS
        while time.monotonic() < deadline:
            if self._process.poll() is not None:
                raise UnavailableError(f"exited with {self._process.returncode} during start: {self._last_log_line()}")
            with contextlib.suppress(OSError):
                self.request([text])
                return
            time.sleep(0.1)
        raise UnavailableError(f"did not respond within {_START_SECONDS:.0f} s: {self._last_log_line()}")

    def check(self, expected: Mapping[str, str], batch: int) -> None:
        """Send the texts one at a time, and then ``batch`` at a time, and compare the labels.

        Raises:
            UnavailableError: A label is not the expected one.
        """
        if self.server.labels is None:
            return
        texts = list(expected)
        for size in (1, batch):
            for start in range(0, len(texts), size):
                chunk = texts[start : start + size]
                try:
                    labels = self.server.labels(self.request(chunk))
                except OSError as error:
                    detail = error.read()[:200] if isinstance(error, urllib.error.HTTPError) else self._last_log_line()
                    raise UnavailableError(f"a request with {size} texts failed: {error}: {detail!r}") from error
                if labels != [expected[text] for text in chunk]:
                    raise UnavailableError(f"returned {labels} for {chunk!r}")

    def request(self, texts: list[str]) -> Any:
        """Send one request and return the JSON of the response."""
        request = urllib.request.Request(
            f"http://127.0.0.1:{self.port}{self.server.path}",
            json.dumps(self.server.body(texts)).encode(),
            {"content-type": "application/json"},
        )
        with urllib.request.urlopen(request, timeout=30) as response:
            return json.load(response)

    @property
    def pid(self) -> int:
        """Process id."""
        return self._process.pid

    @property
    def memory(self) -> int:
        """Resident bytes of all processes of the server; shared pages count once."""
        return int(self._sum(lambda process: process.memory_full_info().pss))

    @property
    def cpu_seconds(self) -> float:
        """CPU seconds of all living processes of the server."""
        return self._sum(lambda process: sum(process.cpu_times()[:2]))

    def _sum(self, figure: Callable[[psutil.Process], float]) -> float:
        total = 0.0
        for process in self._processes():
            with contextlib.suppress(psutil.NoSuchProcess):
                total += figure(process)
        return total

    def _processes(self) -> list[psutil.Process]:
        """Return the processes of the server; none if it has ended."""
        try:
            parent = psutil.Process(self.pid)
            return [parent, *parent.children(recursive=True)]
        except psutil.NoSuchProcess:
            return []

    def close(self) -> None:
        """Stop the server and its child processes."""
        processes = self._processes()
        self._process.terminate()
        _, alive = psutil.wait_procs(processes, timeout=_STOP_SECONDS)
        for process in alive:
            with contextlib.suppress(psutil.NoSuchProcess):
                process.kill()
        self._process.wait()

    def _last_log_line(self) -> str:
        lines = self._log.read_text("utf-8", "replace").split("\n")
        return next((line.strip() for line in reversed(lines) if line.strip()), "its log is empty")


@contextlib.contextmanager
def running(server: Server, model: HeadlineModel, environments: Path, scratch: Path) -> Iterator[RunningServer]:
    """Start a server, and stop it at the end of the block."""
    started = RunningServer(server, model, environments, scratch)
    try:
        yield started
    finally:
        started.close()


def install(server: Server, environments: Path) -> Path:
    """Return the folder of the server's executables; create its virtual environment if it is missing.

    Raises:
        UnavailableError: The environment cannot be created.
    """
    own_bin = Path(sys.executable).parent
    if not server.environment:
        return own_bin
    folder = environments / server.environment
    installed = folder / "requirements.txt"
    requirements = "\n".join(server.requirements)
    if not installed.exists() or installed.read_text() != requirements:
        # Where pip finds further wheels, such as torch's CPU builds, uv finds them too.
        links = {"UV_FIND_LINKS": os.environ["PIP_FIND_LINKS"]} if "PIP_FIND_LINKS" in os.environ else {}
        index = "PIP_EXTRA_INDEX_URL"
        extra = {"UV_EXTRA_INDEX_URL": os.environ[index]} if index in os.environ else {}
        if not (own_bin / "uv").exists():
            raise UnavailableError(f"cannot be installed without uv: run {own_bin}/pip install uv")
        for arguments in (
            ["venv", "--clear", "--python", sys.executable, str(folder)],
            ["pip", "install", "--python", str(folder / "bin" / "python"), *server.requirements],
        ):
            print(f"installing {server.name} into {folder}", flush=True)
            result = subprocess.run(
                [own_bin / "uv", *arguments, "--quiet"],
                env={**os.environ, **links, **extra},
                capture_output=True,
                text=True,
            )
            if result.returncode:
                raise UnavailableError(f"cannot be installed: {' '.join(result.stderr.split())[-400:]}")
        installed.write_text(requirements)
    return folder / "bin"


def _free_ports(count: int) -> list[int]:
    with contextlib.ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(count)]
        for one in sockets:
            one.bind(("127.0.0.1", 0))
        return [int(one.getsockname()[1]) for one in sockets]
