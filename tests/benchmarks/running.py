"""A server of ``servers.py`` that runs: installed, started, asked, weighed and ended."""

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
    """A peer cannot be installed or started, or answers wrong; says why."""


class Running:
    """A server that answers; ``close`` ends it and everything it started."""

    def __init__(self, server: Server, model: HeadlineModel, environments: Path, scratch: Path) -> None:
        self.server, self._log = server, scratch / "log.txt"
        folder = install(server, environments)
        self.port, port2, port3 = _free_ports(3)
        places = {
            "python": str(folder / "python"),
            "bin": str(folder),
            "peers": str(PEERS),
            "scratch": str(scratch),
            "work": str(model.work),
            "port": str(self.port),
            "port2": str(port2),
            "port3": str(port3),
        }
        variables = {name: value.format(**places) for name, value in server.variables.items()}
        with self._log.open("wb") as log:
            self._process = subprocess.Popen(
                [part.format(**places) for part in server.command.split()],
                env={**os.environ, "PYTHONPATH": str(PEERS), **model.environment, **variables},
                cwd=server.folder.format(**places),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )

    def wait(self, text: str) -> None:
        """Until it answers one text.

        Raises:
            UnavailableError: it ends or stays silent.
        """
        deadline = time.monotonic() + _START_SECONDS
        while time.monotonic() < deadline:
            if self._process.poll() is not None:
                raise UnavailableError(f"ended with {self._process.returncode} while starting: {self._last_words()}")
            with contextlib.suppress(OSError):
                self.ask([text])
                return
            time.sleep(0.1)
        raise UnavailableError(f"did not answer within {_START_SECONDS:.0f} s: {self._last_words()}")

    def check(self, expected: Mapping[str, str], batch: int) -> None:
        """Ask one text at a time, and then ``batch`` at a time.

        Raises:
            UnavailableError: an answer is not the expected label.
        """
        if self.server.labels is None:
            return
        texts = list(expected)
        for size in (1, batch):
            for start in range(0, len(texts), size):
                asked = texts[start : start + size]
                try:
                    labels = self.server.labels(self.ask(asked))
                except OSError as error:
                    said = error.read()[:200] if isinstance(error, urllib.error.HTTPError) else self._last_words()
                    raise UnavailableError(f"asked {size} texts: {error}: {said!r}") from error
                if labels != [expected[text] for text in asked]:
                    raise UnavailableError(f"answers {asked!r} with {labels}")

    def ask(self, texts: list[str]) -> Any:
        """One request over urllib."""
        request = urllib.request.Request(
            f"http://127.0.0.1:{self.port}{self.server.path}",
            json.dumps(self.server.body(texts)).encode(),
            {"content-type": "application/json"},
        )
        with urllib.request.urlopen(request, timeout=30) as answer:
            return json.load(answer)

    @property
    def pid(self) -> int:
        """Of the process that was started."""
        return self._process.pid

    @property
    def memory(self) -> int:
        """Resident bytes of all its processes; what they share counts once."""
        return int(self._sum(lambda process: process.memory_full_info().pss))

    @property
    def cpu_seconds(self) -> float:
        """What all its living processes have computed so far."""
        return self._sum(lambda process: sum(process.cpu_times()[:2]))

    def _sum(self, figure: Callable[[psutil.Process], float]) -> float:
        total = 0.0
        for process in self._processes():
            with contextlib.suppress(psutil.NoSuchProcess):
                total += figure(process)
        return total

    def _processes(self) -> list[psutil.Process]:
        """Of the server; none when it has ended."""
        try:
            parent = psutil.Process(self.pid)
            return [parent, *parent.children(recursive=True)]
        except psutil.NoSuchProcess:
            return []

    def close(self) -> None:
        """End it, and what it leaves behind."""
        processes = self._processes()
        self._process.terminate()
        _, alive = psutil.wait_procs(processes, timeout=_STOP_SECONDS)
        for process in alive:
            with contextlib.suppress(psutil.NoSuchProcess):
                process.kill()
        self._process.wait()

    def _last_words(self) -> str:
        lines = self._log.read_text("utf-8", "replace").split("\n")
        return next((line.strip() for line in reversed(lines) if line.strip()), "it said nothing")


@contextlib.contextmanager
def running(server: Server, model: HeadlineModel, environments: Path, scratch: Path) -> Iterator[Running]:
    """A started server, ended when the block is left."""
    started = Running(server, model, environments, scratch)
    try:
        yield started
    finally:
        started.close()


def install(server: Server, environments: Path) -> Path:
    """The folder of the executables that the server runs with; a peer's environment is made when it is missing.

    Raises:
        UnavailableError: it cannot be made.
    """
    here = Path(sys.executable).parent
    if not server.environment:
        return here
    folder = environments / server.environment
    done = folder / "requirements.txt"
    wanted = "\n".join(server.requirements)
    if not done.exists() or done.read_text() != wanted:
        # As pip is told where wheels are, such as those of torch for CPUs alone.
        links = {"UV_FIND_LINKS": os.environ["PIP_FIND_LINKS"]} if "PIP_FIND_LINKS" in os.environ else {}
        index = "PIP_EXTRA_INDEX_URL"
        extra = {"UV_EXTRA_INDEX_URL": os.environ[index]} if index in os.environ else {}
        if not (here / "uv").exists():
            raise UnavailableError(f"cannot be installed without uv: run {here}/pip install uv")
        for arguments in (
            ["venv", "--clear", "--python", sys.executable, str(folder)],
            ["pip", "install", "--python", str(folder / "bin" / "python"), *server.requirements],
        ):
            print(f"installing {server.name} into {folder}", flush=True)
            result = subprocess.run(
                [here / "uv", *arguments, "--quiet"],
                env={**os.environ, **links, **extra},
                capture_output=True,
                text=True,
            )
            if result.returncode:
                raise UnavailableError(f"cannot be installed: {' '.join(result.stderr.split())[-400:]}")
        done.write_text(wanted)
    return folder / "bin"


def _free_ports(count: int) -> list[int]:
    with contextlib.ExitStack() as stack:
        taken = [stack.enter_context(socket.socket()) for _ in range(count)]
        for one in taken:
            one.bind(("127.0.0.1", 0))
        return [one.getsockname()[1] for one in taken]
