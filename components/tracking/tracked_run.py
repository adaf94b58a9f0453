"""A run in the configured tracking services, written to by steps that never wait for a service.

Each service has a process (``worker``) that reads messages from a pipe, one JSON object per line.
"""

import json
import os
import queue
import subprocess
import sys
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from typing import Any

from textgate.components.step import WARNING_PREFIX
from textgate.components.tracking.services import TITLES, configured_services, is_installed

RUN_VARIABLE = "TEXTGATE_RUN"
"""Name of the pipeline run, in a train step whose training is the only one of the run."""
GROUP_VARIABLE = "TEXTGATE_RUN_GROUP"
"""Name of the pipeline run, in one of several train steps: of a sweep or a comparison."""
CLOSING_SECONDS = 60.0
"""Time that a step waits for each service at its end."""
_NO_TELEMETRY = {"DO_NOT_TRACK": "true", "MLFLOW_DISABLE_TELEMETRY": "true", "WANDB_ERROR_REPORTING": "false"}


@dataclass(frozen=True)
class RunIdentity:
    """Identity of a run in the tracking services."""

    name: str
    """Title."""
    run: str | None = None
    """Name of the pipeline run, by which its steps find the same tracked run; None for a run of its own."""
    group: str | None = None
    """Name of the pipeline run that it belongs to; None if it is not known."""

    @classmethod
    def of_training(cls, name: str) -> "RunIdentity":
        """Return the identity of the training that this process does, of the recipe ``name``."""
        run, group = os.environ.get(RUN_VARIABLE), os.environ.get(GROUP_VARIABLE)
        return cls(f"{name} {run or group or ''}".rstrip(), run or None, run or group or None)


class TrackedRun:
    """Run in the configured services; no method waits for a service or fails with it, except that ``close`` waits."""

    def __init__(self, identity: RunIdentity) -> None:
        """Start one process per configured service whose client is installed."""
        self._workers = [_Worker(service, identity) for service in configured_services() if is_installed(service)]
        self.last_step = 0
        """Last update that ``log`` was called for; 0 if it was not."""

    def log(self, values: Mapping[str, float], step: int) -> None:
        """Log values of a training at one of its updates."""
        self.last_step = step
        self._send({"values": dict(values), "step": step})

    def finish(self, **result: Any) -> None:
        """Log the result of the pipeline run: the fields of ``finished_run.RunResult``."""
        self._send({"result": result})

    def close(self, *, failed: bool = False) -> None:
        """Wait until the services have everything, at most ``CLOSING_SECONDS``."""
        if failed:
            self._send({"failed": True})
        for worker in self._workers:
            worker.messages.put(None)
        for worker in self._workers:
            worker.join()

    def _send(self, message: dict[str, Any]) -> None:
        for worker in self._workers:
            worker.messages.put(message)


class _Worker:
    """Process of one service, with a thread that writes to it, because a full pipe would stop the training."""

    def __init__(self, service: str, identity: RunIdentity) -> None:
        self._title = TITLES[service]
        command = [sys.executable, "-m", "textgate.components.tracking.worker", service, json.dumps(asdict(identity))]
        # TMPDIR is removed at the end of a local run, while W&B's own process may still be ending. And the clients
        # report to their makers unless they are told not to.
        variables = {name: value for name, value in os.environ.items() if name != "TMPDIR"} | _NO_TELEMETRY
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE, text=True, env=variables)
        self.messages: queue.SimpleQueue[dict[str, Any] | None] = queue.SimpleQueue()
        threading.Thread(target=self._feed, daemon=True).start()

    def _feed(self) -> None:
        with suppress(OSError), self._process.stdin:  # type: ignore[union-attr]  # a worker that gave up has said why
            for message in iter(self.messages.get, None):
                print(json.dumps(message), file=self._process.stdin, flush=True)

    def join(self) -> None:
        """Wait for the process to end, and kill one that does not."""
        try:
            self._process.wait(CLOSING_SECONDS)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
            print(
                f"{WARNING_PREFIX}{self._title} did not answer within {CLOSING_SECONDS:.0f} s, so this run is "
                "incomplete there",
                flush=True,
            )


@contextmanager
def tracked_training(name: str) -> Iterator[TrackedRun]:
    """Yield the run that the training of the recipe ``name`` logs to; it is closed, as failed after an exception."""
    run = TrackedRun(RunIdentity.of_training(name))
    try:
        yield run
    except BaseException:
        run.close(failed=True)
        raise
    run.close()
