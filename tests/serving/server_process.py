"""A real ``textgate serve`` in a process of its own, for the tests that talk to it."""

import json
import os
import queue
import subprocess
import sysconfig
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import requests

from textgate.components.contracts import GateDecision
from textgate.components.storage import CHAMPION, Registry, Store

TEXTGATE = str(Path(sysconfig.get_path("scripts")) / "textgate")
START_SECONDS = 60.0
STOP_SECONDS = 60.0


@dataclass
class ServerProcess:
    """Server that is ready."""

    process: subprocess.Popen[str]
    http: str
    grpc: str
    model: str
    bundle: Path
    """Folder of the bundle that it serves."""
    workspace: Path
    lines: "queue.Queue[dict[str, Any] | None]"
    """Log lines that are not read yet; None after the last one."""
    log_lines: list[dict[str, Any]] = field(default_factory=list)
    """Log lines that ``wait_for`` has read."""

    def wait_for(self, event: str, **fields: object) -> dict[str, Any]:
        """Return the next log line with this event and these fields."""
        while (line := self.lines.get(timeout=START_SECONDS)) is not None:
            self.log_lines.append(line)
            if line["event"] == event and fields.items() <= line.items():
                return line
        raise AssertionError(f"the server ended without saying {event}: {self.log_lines[-5:]}")

    def post(self, path: str, body: Any, **options: Any) -> requests.Response:
        """Send a POST request with a JSON body."""
        return requests.post(f"{self.http}{path}", json=body, timeout=60, **options)

    def get(self, path: str, **options: Any) -> requests.Response:
        """Send a GET request."""
        return requests.get(f"{self.http}{path}", timeout=60, **options)

    def classify(self, texts: list[str], **options: Any) -> requests.Response:
        """Classify texts with the route ``:classify``."""
        return self.post(f"/v1/models/{self.model}:classify", {"texts": texts}, **options)


@contextmanager
def start_server(
    environment: Mapping[str, str],
    bucket: str,
    workspace: Path,
    bundle: Path,
    *arguments: str,
    model: str = "small",
    wait_until_ready: bool = True,
) -> Iterator[ServerProcess]:
    """Start a server on the store's ``bucket``, and stop it at the end; a thread reads its log."""
    process = subprocess.Popen(
        [
            *(TEXTGATE, "serve", "--home", str(workspace), "--bucket", bucket),
            *("--port", "0", "--grpc-port", "0", "--linger-seconds", "0", *arguments),
        ],
        env={**os.environ, **environment},
        stderr=subprocess.PIPE,
        text=True,
    )
    lines: queue.Queue[dict[str, Any] | None] = queue.Queue()

    def read_log() -> None:
        assert process.stderr is not None
        for line in process.stderr:
            try:
                lines.put(json.loads(line))
            except ValueError:
                lines.put({"event": line})
        lines.put(None)

    reader = threading.Thread(target=read_log)
    reader.start()
    server = ServerProcess(process, "", "", model, bundle, workspace, lines)
    try:
        listening = server.wait_for("listening")
        server.http, server.grpc = listening["http"], listening["grpc"]
        if wait_until_ready:
            server.wait_for("ready")
        yield server
    finally:
        process.terminate()
        try:
            process.wait(STOP_SECONDS)
        finally:
            process.kill()
            reader.join()


def promote(
    registry: Registry,
    bundle: Path,
    model: str = "small",
    channel: str = CHAMPION,
    decision: GateDecision | None = None,
) -> str:
    """Publish a bundle and point a channel of ``model`` at it."""
    version = registry.publish(model, bundle)
    current = registry.channel(model, channel)
    expected = current.version if current else None
    registry.update_channel(
        model, version, run="test", reason="test", expected=expected, channel=channel, decision=decision
    )
    return version


def promote_in_new_bucket(
    environment: Mapping[str, str],
    bucket: str,
    bundle: Path,
    model: str = "small",
    decision: GateDecision | None = None,
) -> None:
    """Create a bucket in the store of ``environment``, and promote a bundle in it."""
    with pytest.MonkeyPatch.context() as patch:
        for name, value in environment.items():
            patch.setenv(name, value)
        store = Store.from_environment(bucket)
        store.ensure_bucket()
        promote(Registry(store), bundle, model, decision=decision)
