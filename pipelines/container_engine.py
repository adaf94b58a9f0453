"""The Docker engine of this machine: its images, its errors as sentences, and the containers of a workspace's runs.

A container has three labels, and no others, because everybody who can reach the engine can read them:

    textgate.workspace   device and inode of the folder of the runs, which are the same by each path that leads to it
    textgate.pipeline    name of the pipeline, whose lock in that folder tells whether its run is under way
    textgate.run         name of the run
"""

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from urllib3.exceptions import HTTPError

from textgate.components.contracts import InputError, MachineError

_WORKSPACE, _PIPELINE, _RUN = "textgate.workspace", "textgate.pipeline", "textgate.run"
_ANSWER_SECONDS = 30
"""Time for the engine to answer a request, other than for a step's output and its end."""


@dataclass(frozen=True)
class StepContainer:
    """A container of a step, running or not."""

    name: str
    pipeline: str
    run: str


@contextlib.contextmanager
def engine() -> Iterator[Any]:
    """Yield a client of the engine that the environment names (DOCKER_HOST), by default the one of this machine.

    Raises:
        InputError: The Python package docker is missing, or the engine refuses a request as wrong.
        MachineError: The engine does not answer, or fails.
    """
    try:
        import docker
    except ImportError as error:
        raise InputError("--runner docker needs the Python package docker: pip install docker") from error
    try:
        with contextlib.closing(docker.from_env(timeout=_ANSWER_SECONDS)) as client:
            yield client
    except docker.errors.APIError as error:
        sentence = f"the Docker engine refuses a request: {_one_line(error.explanation or error)}"
        raise (InputError if error.is_client_error() else MachineError)(sentence) from error
    except (docker.errors.DockerException, docker.utils.socket.SocketError, HTTPError, OSError) as error:
        raise MachineError(
            f"the Docker engine does not answer ({_reason(error)}): start it or see `docker info`, and run again"
        ) from error


def local_image(image: str) -> str:
    """Return the id of the image with this name on this machine, or an empty string if there is none.

    Raises:
        InputError: This is not the name of an image.
        MachineError: The engine does not answer.
    """
    with engine() as client:
        import docker

        try:
            return str(client.images.get(image).id)
        except docker.errors.ImageNotFound:
            return ""


def pull_image(image: str) -> str:
    """Pull an image and return its id.

    Raises:
        InputError: The registry has no such image, refuses it, or does not answer.
        MachineError: The engine does not answer.
    """
    with engine() as client:
        import docker

        try:
            return str(client.images.pull(image).id)
        except docker.errors.APIError as error:
            raise InputError(
                f"there is no image {image} on this machine, and it cannot be pulled "
                f"({_one_line(error.explanation or error)}): build it (make image-pipeline) or name another one "
                "(--image)"
            ) from error


def labels(runs: Path, pipeline: str, run: str) -> dict[str, str]:
    """Return the labels of a container.

    Args:
        runs: Folder of the runs of a workspace.
        pipeline: Name of the pipeline.
        run: Name of the run.
    """
    return {_WORKSPACE: _workspace_id(runs), _PIPELINE: pipeline, _RUN: run}


def step_containers(runs: Path) -> list[StepContainer]:
    """Return the containers of all runs of a workspace."""
    with engine() as client:
        found = client.api.containers(all=True, filters={"label": f"{_WORKSPACE}={_workspace_id(runs)}"})
    return [
        StepContainer(each["Names"][0].removeprefix("/"), each["Labels"][_PIPELINE], each["Labels"][_RUN])
        for each in found
    ]


def remove_container(name: str) -> None:
    """Kill a container if it runs, and remove it with its volume; one that is gone or being removed is passed over."""
    with engine() as client:
        import docker

        try:
            client.api.remove_container(name, v=True, force=True)
        except docker.errors.APIError as error:
            if error.status_code not in (404, 409):
                raise


def _workspace_id(runs: Path) -> str:
    status = runs.stat()
    return f"{status.st_dev:x}-{status.st_ino:x}"


def _reason(error: BaseException) -> str:
    """Return the system's text for the error that is the cause of others, such as "Connection refused"."""
    below: BaseException | None = error
    while below is not None:
        if isinstance(below, TimeoutError):
            return f"no answer in {_ANSWER_SECONDS} s"
        if isinstance(below, OSError) and below.strerror:
            return str(below.strerror)
        below = below.__cause__ or below.__context__
    return _one_line(error)


def _one_line(error: object) -> str:
    return " ".join(str(error).split())
