"""Process that logs one run to one service: ``python -m textgate.components.tracking.worker SERVICE IDENTITY``.

It reads messages (see ``tracked_run``) until its input ends. The clients' own output is discarded, because it may name
addresses and keys; a failure is one line of warning.
"""

import json
import os
import re
import signal
import sys
from collections.abc import Mapping
from typing import Any, Protocol, TextIO

from textgate.components.redaction import HIDDEN, redact
from textgate.components.step import WARNING_PREFIX
from textgate.components.tracking.services import TITLES
from textgate.components.tracking.tracked_run import RunIdentity

_SECRET = re.compile(r"^(WANDB|MLFLOW|AWS)_.*(KEY|PASSWORD|SECRET|TOKEN)")


class ServiceRun(Protocol):
    """Run in one service."""

    def log(self, values: Mapping[str, float], step: int) -> None:
        """Log values of a training at one of its updates."""

    def finish(
        self, parameters: Mapping[str, Any], metrics: Mapping[str, float], tags: Mapping[str, str], report: str | None
    ) -> None:
        """Log the result of the pipeline run; ``report`` is the path of an HTML page."""

    def close(self, *, finished: bool, failed: bool) -> None:
        """Send what is pending.

        Args:
            finished: Whether nothing else of the pipeline run will be logged to this run.
            failed: Whether the run failed.
        """


def main(service: str, identity: RunIdentity, messages: TextIO) -> str | None:
    """Log messages to a service until they end or the service fails; return a warning if it failed."""
    try:
        run = _open(service, identity)
        finished, failed = identity.run is None, False
        for line in messages:
            match json.loads(line):
                case {"values": values, "step": step}:
                    run.log(values, step)
                case {"result": result}:
                    finished, failed = True, result.pop("failed")
                    run.finish(**result)
                case {"failed": True}:
                    failed = True
        run.close(finished=finished, failed=failed)
    except Exception as error:  # each client has its own kinds
        text = _without_secrets(" ".join(str(error).split()) or type(error).__name__)
        return f"this run is not completely in {TITLES[service]}: {text}"
    return None


def _open(service: str, identity: RunIdentity) -> ServiceRun:
    if service == "wandb":
        from textgate.components.tracking.wandb_run import WandbRun

        return WandbRun(identity)

    from textgate.components.tracking.mlflow_run import MlflowRun

    return MlflowRun(identity)


def _without_secrets(text: str) -> str:
    for name, value in os.environ.items():
        if value and _SECRET.match(name):
            text = text.replace(value, HIDDEN)
    return redact(text)


if __name__ == "__main__":
    # A Ctrl-C ends the step, whose end closes the input.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    output, devnull = os.dup(1), os.open(os.devnull, os.O_WRONLY)
    os.dup2(devnull, 1)
    os.dup2(devnull, 2)
    if warning := main(sys.argv[1], RunIdentity(**json.loads(sys.argv[2])), sys.stdin):
        os.write(output, f"{WARNING_PREFIX}{warning}\n".encode())
    # Not the clients' exit handlers, which wait for services that do not answer.
    os._exit(0)
