"""Helpers for a training in several processes, one per device, on torch.distributed.

All but ``world_size_for`` also work in a process that has not joined a process group: it counts as the only one.
"""

import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from textgate.components.contracts import FineTuning, InputError, Training


def world_size_for(training: Training) -> int:
    """Return the number of processes that this machine should train in.

    Fine-tuning uses one process per GPU, every other training a single process. The environment variable
    TEXTGATE_PROCESSES overrides the number; without GPUs that many processes share the CPU.

    Raises:
        InputError: TEXTGATE_PROCESSES is not a positive number, or the batch size is not a multiple of the number.
    """
    if not isinstance(training, FineTuning) or not training.epochs:
        return 1
    override = os.environ.get("TEXTGATE_PROCESSES")
    if override is not None and not (override.isascii() and override.isdigit() and int(override) > 0):
        raise InputError(f"TEXTGATE_PROCESSES must be a number of processes, at least 1, not {override!r}")
    import torch

    count = int(override) if override else max(torch.cuda.device_count(), 1)
    if training.batch_size % count:
        raise InputError(
            f"train.batch_size ({training.batch_size}) must be a multiple of the {count} devices that share it"
        )
    return count


def world_size() -> int:
    """Return the number of processes that train together, on all machines."""
    import torch

    return torch.distributed.get_world_size() if torch.distributed.is_initialized() else 1


def is_main_process() -> bool:
    """Return True on rank 0, the process that prints and writes the results."""
    import torch

    return not torch.distributed.is_initialized() or torch.distributed.get_rank() == 0


def is_local_main_process() -> bool:
    """Return True on local rank 0, the process that does the work each machine needs once."""
    return int(os.environ.get("LOCAL_RANK", "0")) == 0


def barrier() -> None:
    """Block until every process has reached this call."""
    import torch

    if torch.distributed.is_initialized():
        torch.distributed.barrier()


def broadcast_from_main(compute: Callable[[], Any]) -> Any:
    """Call ``compute`` in the main process only, and return its result in every process."""
    import torch

    results = [compute() if is_main_process() else None]
    if torch.distributed.is_initialized():
        torch.distributed.broadcast_object_list(results)
    return results[0]


def all_gather(value: Any) -> list[Any]:
    """Return the ``value`` of every process, by rank; all processes must call this."""
    import torch

    values = [value] * world_size()
    if torch.distributed.is_initialized():
        torch.distributed.all_gather_object(values, value)
    return values


def all_reduce_min(value: int) -> int:
    """Return the smallest ``value`` of all processes."""
    return int(min(all_gather(value)))


def is_multi_node() -> bool:
    """Return True if the processes run on several machines, which share no disk."""
    return int(os.environ.get("LOCAL_WORLD_SIZE", world_size())) < world_size()


@contextmanager
def shared_temporary_folder() -> Iterator[Path]:
    """Yield a temporary folder that all processes of one machine share; remove it once all have left."""
    import torch

    names = [tempfile.mkdtemp() if is_local_main_process() else ""] * world_size()
    name = names[0]
    if torch.distributed.is_initialized():
        torch.distributed.all_gather_object(names, name)
        # Ranks are consecutive on a machine, so this is the folder that its local rank 0 made.
        name = names[torch.distributed.get_rank() - int(os.environ["LOCAL_RANK"])]
    try:
        yield Path(name)
        barrier()
    finally:
        if is_local_main_process():
            shutil.rmtree(name, ignore_errors=True)
