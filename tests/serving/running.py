"""A real ``textgate serve`` in a process of its own, for tests that talk to it."""

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

import requests

from textgate.components.storage import CHAMPION, Registry

TEXTGATE = str(Path(sysconfig.get_path("scripts")) / "textgate")
STARTED_SECONDS = 60.0
GONE_SECONDS = 60.0


@dataclass
class Running:
    """A server that is ready."""

    process: subprocess.Popen[str]
    http: str
    grpc: str
    model: str
    folder: Path
    """The bundle it was started on."""
    home: Path
    lines: "queue.Queue[dict[str, Any] | None]"
    """What it logs from now on; None at its end."""
    seen: list[dict[str, Any]] = field(default_factory=list)
    """What has been read of it."""

    def until(self, event: str, **fields: object) -> dict[str, Any]:
        """The next line of the log that says ``event`` with these fields."""
        while (line := self.lines.get(timeout=STARTED_SECONDS)) is not None:
            self.seen.append(line)
            if line["event"] == event and fields.items() <= line.items():
                return line
        raise AssertionError(f"the server ended without saying {event}: {self.seen[-5:]}")

    def post(self, path: str, body: Any, **options: Any) -> requests.Response:
        """Send JSON to it."""
        return requests.post(f"{self.http}{path}", json=body, timeout=60, **options)

    def get(self, path: str, **options: Any) -> requests.Response:
        """Read from it."""
        return requests.get(f"{self.http}{path}", timeout=60, **options)

    def classify(self, texts: list[str], **options: Any) -> requests.Response:
        """Ask it by the plain route."""
        return self.post(f"/v1/models/{self.model}:classify", {"texts": texts}, **options)


@contextmanager
def running(
    environment: Mapping[str, str], bucket: str, home: Path, folder: Path, *arguments: str, model: str = "small"
) -> Iterator[Running]:
    """Start a server on the store's ``bucket`` and stop it again; its log is read all the while."""
    process = subprocess.Popen(
        [
            *(TEXTGATE, "serve", "--home", str(home), "--bucket", bucket),
            *("--port", "0", "--grpc-port", "0", *arguments),
        ],
        env={**os.environ, **environment},
        stderr=subprocess.PIPE,
        text=True,
    )
    lines: queue.Queue[dict[str, Any] | None] = queue.Queue()

    def read() -> None:
        assert process.stderr is not None
        for line in process.stderr:
            try:
                lines.put(json.loads(line))
            except ValueError:
                lines.put({"event": line})
        lines.put(None)

    reader = threading.Thread(target=read)
    reader.start()
    server = Running(process, "", "", model, folder, home, lines)
    try:
        ready = server.until("ready")
        server.http, server.grpc = ready["http"], ready["grpc"]
        yield server
    finally:
        process.terminate()
        try:
            process.wait(GONE_SECONDS)
        finally:
            process.kill()
            reader.join()


def promote(registry: Registry, folder: Path, model: str = "small", channel: str = CHAMPION) -> str:
    """Publish a bundle and point a channel of ``model`` at it."""
    version = registry.publish(model, folder)
    now = registry.channel(model, channel)
    registry.update_channel(
        model, version, run="test", reason="test", expected=now.version if now else None, channel=channel
    )
    return version
