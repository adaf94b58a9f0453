"""Containers of a run's steps, which end with the step and with the run.

They replace those of ``kfp.local``, which have no labels, and which the engine removes before their exit code is read.
"""

import codecs
import contextlib
import os
import signal
import threading
import uuid
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from textgate.components.contracts import ConflictError, InputError
from textgate.pipelines.container_engine import engine, labels, remove_container, step_containers
from textgate.pipelines.garbage.workspace_garbage import GC_LOCK
from textgate.pipelines.interrupts import deferred_signals

_REMOVAL_SECONDS = 0.4
"""Time in which an interrupted run waits for its containers; the engine removes them also after that."""


class StepContainers:
    """Containers of the steps that run now."""

    def __init__(self, image: str, image_id: str, runs: Path, pipeline: str) -> None:
        """Create the set of containers of a run, which is empty.

        Args:
            image: Name of the image, for messages.
            image_id: Id of the image, so that all steps run the same one if its name is moved meanwhile.
            runs: Folder of the runs, the only one that the containers see.
            pipeline: Name of the pipeline.
        """
        self._image, self._image_id, self._runs, self._pipeline = image, image_id, runs, pipeline
        self._names: set[str] = set()
        self._ending: threading.Thread | None = None
        self.stopped = False
        """Whether ``stop`` was called; a container that is created later does not start."""

    def run(self, run: str, command: Sequence[str], variables: Mapping[str, str]) -> int:
        """Run a step in a new container, print its output, remove the container, and return the exit code.

        Args:
            run: Name of the run.
            command: Command of the step.
            variables: Environment of the container.

        Raises:
            ConflictError: Another process removed the container or the image.
            InputError: The engine refuses the container.
            MachineError: The engine does not answer, or fails.
        """
        name = f"textgate-{uuid.uuid4().hex[:12]}"
        with engine() as client:
            import docker

            self._names.add(name)
            print(f"Container {name} of image {self._image} ({self._image_id})")
            try:
                with deferred_signals():
                    container = client.containers.create(
                        self._image_id,
                        list(command),
                        name=name,
                        labels=labels(self._runs, self._pipeline, run),
                        environment=dict(variables),
                        **_settings(client, self._runs),
                    )
                if self.stopped:
                    return 128 + signal.SIGKILL
                container.start()
                _print_output(container)
                return int(container.wait()["StatusCode"])
            except docker.errors.ImageNotFound as error:
                raise ConflictError(f"the image {self._image} was removed during the run: run again") from error
            except docker.errors.NotFound as error:
                if self.stopped:
                    return 128 + signal.SIGKILL
                raise ConflictError(f"the container {name} was removed while it ran: run again") from error
            finally:
                # A run that is interrupted has a thread for this, which does not keep it from ending.
                if self._ending is None or threading.current_thread() is not threading.main_thread():
                    with contextlib.suppress(InputError):
                        remove_container(name)
                else:
                    self._ending.join(_REMOVAL_SECONDS)
                self._names.discard(name)

    def stop(self) -> None:
        """Kill and remove every container; do not wait."""
        self.stopped = True
        self._ending = threading.Thread(target=_remove, args=(list(self._names),), daemon=True)
        self._ending.start()


def remove_abandoned(runs: Path) -> None:
    """Remove the containers of runs in this workspace that were killed: their pipelines' locks are free."""
    with FileLock(runs / GC_LOCK):
        for container in step_containers(runs):
            with contextlib.suppress(Timeout), FileLock(runs / f".{container.pipeline}.lock", timeout=0):
                remove_container(container.name)


def _remove(names: Sequence[str]) -> None:
    for name in names:
        with contextlib.suppress(InputError):
            remove_container(name)


def _settings(client: Any, runs: Path) -> dict[str, Any]:
    """Return the settings of a container besides its image and command.

    The store listens on this machine's loopback interface, and artifacts must belong to the user who started the run.
    As on a cluster, a container can write only to the run's folder and to a volume that is deleted with it.
    """
    from docker.types import Mount

    selinux = "name=selinux" in client.info().get("SecurityOptions", [])
    return {
        "network_mode": "host",
        "user": f"{os.getuid()}:{os.getgid()}",
        "read_only": True,
        "mounts": [Mount("/tmp", None)],  # noqa: S108
        "volumes": {str(runs): {"bind": str(runs), "mode": "rw,z" if selinux else "rw"}},
    }


def _print_output(container: Any) -> None:
    decoder = codecs.getincrementaldecoder("utf-8")(errors="replace")
    # The engine returns pieces of its output, not lines.
    for piece in container.logs(stream=True):
        print(decoder.decode(piece), end="")
    print(decoder.decode(b"", final=True))
