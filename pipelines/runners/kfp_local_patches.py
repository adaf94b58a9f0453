"""Patches of ``kfp.local`` that make a run observable; the only module that replaces parts of it.

``kfp.local`` reports its tasks only as printed text. The patches pass each task's start, output and end to a
``TaskObserver``. They replace internals, so they apply to exactly one version of kfp.
"""

import contextlib
from collections.abc import Callable, Iterator
from importlib.metadata import version
from pathlib import Path
from typing import Any, Protocol

from textgate.components.contracts import InputError

KFP_VERSION = "2.17.0"
"""Version of kfp that the patches are written for."""


class TaskObserver(Protocol):
    """Receiver of task events; the tasks of a loop run at the same time, each in a thread of its own."""

    def task_started(self, pipeline: str, name: str, folder: Path) -> bool:
        """Handle the start of a task in the current thread.

        Args:
            pipeline: Name of the run; in a loop followed by ``/`` and a name that ends with the iteration's number.
            name: Name of the task.
            folder: Folder of its artifacts below the pipeline root.

        Returns:
            False to skip the task, which then counts as failed.
        """

    def process_output(self) -> contextlib.AbstractContextManager[None]:
        """Return the context in which the output of the task's process is printed; a cached task has no process."""

    def run_process(self, full_command: list[str], env_vars: dict[str, str] | None = None) -> int:
        """Run the process of the current thread's task and return its exit code."""

    def run_container(self, command: list[str], variables: dict[str, str]) -> int:
        """Run the current thread's task in a container with this command and environment; return its exit code."""

    def task_ran(self) -> bool:
        """Return whether the task of the current thread had a process."""

    def cache_refused(self, reason: str) -> None:
        """Handle that the cached outputs of the task of the current thread are damaged, so that it runs again."""

    def task_ended(self, outputs: dict[str, Any], succeeded: bool) -> None:
        """Handle the end of the task of the current thread."""


@contextlib.contextmanager
def observed(observer: TaskObserver) -> Iterator[None]:
    """Patch ``kfp.local`` while the body runs a pipeline.

    Raises:
        InputError: If another version of kfp is installed.
    """
    _check_version()

    from kfp.local import cache, logging_utils, subprocess_task_handler, task_dispatcher
    from kfp.local.orchestrator import task_executor

    containers = task_dispatcher.docker_task_handler  # None without the package docker
    with (
        # It takes cached outputs as they are.
        _replaced(cache, "get_local_cache", _verified(cache.get_local_cache, observer)),
        # kfp.local names the iteration of a loop's task in none of the lines that it prints.
        _replaced(task_executor, "execute_single_task", _observed(task_executor.execute_single_task, observer)),
        # It indents a process's output by replacing the builtin print, which threads undo for one another.
        _replaced(logging_utils, "indented_print", observer.process_output),
        # It replaces the root logger's handlers around each task, which threads undo for one another, too.
        _replaced(logging_utils, "local_logger_context", contextlib.nullcontext),
        # It starts processes in its own process group, and keeps only whether they succeeded.
        _replaced(subprocess_task_handler, "run_local_subprocess", observer.run_process),
        # Its containers are removed before their exit code is read, and by nobody if this process is killed.
        _replaced(containers, "DockerTaskHandler", _container_handler(observer))
        if containers
        else contextlib.nullcontext(),
    ):
        yield


def _observed(execute: Callable[..., Any], observer: TaskObserver) -> Callable[..., Any]:
    """Return a replacement of ``execute_single_task``."""
    from kfp.local import status

    def execute_observed(**call: Any) -> Any:
        pipeline, component = call["pipeline_resource_name"], call["task_spec"].component_ref.name
        folder = Path(pipeline) / component.removeprefix("comp-")
        outputs: dict[str, Any] = {}
        state = status.Status.FAILURE
        if not observer.task_started(pipeline, call["task_name"], folder):
            return outputs, state
        # No retries: on one machine a second attempt fails as the first did, and the error is shown at once.
        call["task_spec"].ClearField("retry_policy")
        # The run's id is a random number in kfp.local, but artifacts are stored under the run's name.
        call["unique_pipeline_id"] = pipeline.split("/")[0]
        try:
            outputs, state = execute(**call)
            # Writing this file is the last thing a step does.
            written = Path(call["pipeline_root"]) / folder / "executor_output.json"
            if observer.task_ran() and not written.exists():
                outputs, state = {}, status.Status.FAILURE
        finally:
            observer.task_ended(outputs, state == status.Status.SUCCESS)
        return outputs, state

    return execute_observed


def _container_handler(observer: TaskObserver) -> type:
    """Return a replacement of ``DockerTaskHandler``."""
    from kfp.local import status
    from kfp.local.task_handler_interface import ITaskHandler

    class ContainerHandler(ITaskHandler):  # type: ignore[misc]
        """A task and its container."""

        def __init__(
            self, image: str, full_command: list[str], pipeline_root: str, runner: Any, env_vars: dict[str, str]
        ) -> None:
            self._command, self._variables = full_command, env_vars

        def run(self) -> Any:
            """Run the container and return its status."""
            code = observer.run_container(self._command, self._variables)
            return status.Status.FAILURE if code else status.Status.SUCCESS

    return ContainerHandler


def _verified(get_local_cache: Callable[[], Any], observer: TaskObserver) -> Callable[[], Any]:
    """Return a replacement of ``get_local_cache``, which returns None if the cache is turned off."""
    from textgate.pipelines.runners.verified_cache import VerifiedCache

    def get_verified_cache() -> VerifiedCache | None:
        cache = get_local_cache()
        return VerifiedCache(cache.cache_root, observer.cache_refused) if cache else None

    return get_verified_cache


def _check_version() -> None:
    installed = version("kfp")
    if installed != KFP_VERSION:
        raise InputError(
            f"kfp {installed} is installed, but running a pipeline on this machine needs kfp {KFP_VERSION}, whose "
            f"internals textgate patches: pip install kfp=={KFP_VERSION}"
        )


@contextlib.contextmanager
def _replaced(owner: Any, name: str, value: Any) -> Iterator[None]:
    original = getattr(owner, name)
    setattr(owner, name, value)
    try:
        yield
    finally:
        setattr(owner, name, original)
