"""A training in several processes, one a device, that torch.distributed joins."""

import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from textgate.components.contracts import FineTuning, InputError, Training


def world_size_for(training: Training) -> int:
    """How many processes to train in: one a GPU for what is fine-tuned, else one.

    TEXTGATE_PROCESSES names another number; on a machine without GPUs that many share the processor.

    Raises:
        InputError: TEXTGATE_PROCESSES is no such number, or the batch cannot be divided evenly.
    """
    if not isinstance(training, FineTuning) or not training.epochs:
        return 1
    named = os.environ.get("TEXTGATE_PROCESSES")
    if named is not None and not (named.isascii() and named.isdigit() and int(named) > 0):
        raise InputError(f"TEXTGATE_PROCESSES must be a number of processes, at least 1, not {named!r}")
    import torch

    count = int(named) if named else max(torch.cuda.device_count(), 1)
    if training.batch_size % count:
        raise InputError(
            f"train.batch_size ({training.batch_size}) must be a multiple of the {count} devices that share it"
        )
    return count


def world_size() -> int:
    """How many processes train together."""
    import torch

    return torch.distributed.get_world_size() if torch.distributed.is_initialized() else 1


def is_main_process() -> bool:
    """Whether this one writes and speaks for all."""
    import torch

    return not torch.distributed.is_initialized() or torch.distributed.get_rank() == 0


def is_local_main_process() -> bool:
    """Whether this one does what each machine needs once."""
    return int(os.environ.get("LOCAL_RANK", "0")) == 0


def barrier() -> None:
    """Return once every process has come this far."""
    import torch

    if torch.distributed.is_initialized():
        torch.distributed.barrier()


def broadcast_from_main(make: Callable[[], Any]) -> Any:
    """What ``make`` returns, in every process; only the main one calls it."""
    import torch

    made = [make() if is_main_process() else None]
    if torch.distributed.is_initialized():
        torch.distributed.broadcast_object_list(made)
    return made[0]


def all_reduce_min(number: int) -> int:
    """The smallest of the numbers that the processes bring."""
    import torch

    numbers = [number] * world_size()
    if torch.distributed.is_initialized():
        torch.distributed.all_gather_object(numbers, number)
    return min(numbers)


def is_multi_node() -> bool:
    """Whether the processes that train together share no disk."""
    return int(os.environ.get("LOCAL_WORLD_SIZE", world_size())) < world_size()


@contextmanager
def shared_temporary_folder() -> Iterator[Path]:
    """A temporary folder that is the same in every process of a machine."""
    import torch

    names = [tempfile.mkdtemp() if is_local_main_process() else ""] * world_size()
    name = names[0]
    if torch.distributed.is_initialized():
        torch.distributed.all_gather_object(names, name)
        # Ranks run through one machine after the other.
        name = names[torch.distributed.get_rank() - int(os.environ["LOCAL_RANK"])]
    try:
        yield Path(name)
        barrier()
    finally:
        if is_local_main_process():
            shutil.rmtree(name, ignore_errors=True)
