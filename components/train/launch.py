"""One train step: in this process, or in several that each hold a device."""

import os
import sys
import tempfile
from dataclasses import dataclass, replace
from datetime import timedelta
from pathlib import Path

from textgate.components.contracts import Dataset, InputError, ModelBundle, Training
from textgate.components.families import Surroundings
from textgate.components.families.processes import processes_for
from textgate.components.storage import Store
from textgate.components.storage.fetch import default_downloads, fetch
from textgate.components.storage.fetch import version as version_of
from textgate.components.train.checkpoints import StoreCheckpoints, checkpoint_prefix
from textgate.components.train.train import train_bundle

_ABOUT_LOGS = """TensorBoard's event files of this training, where its family writes any:

    tensorboard --logdir <this folder>
"""
# The others wait while the main process stores a checkpoint.
_PATIENCE = timedelta(hours=2)


@dataclass(frozen=True)
class Job:
    """What a train step is given; it travels to every process."""

    dataset: Path
    name: str
    training: Training
    code: str
    """Version of the steps' code."""
    bucket: str
    model: Path
    """Folder the bundle becomes."""
    logs: Path


def run(job: Job) -> ModelBundle:
    """Train, resuming from the last checkpoint of the very same training if it was killed.

    Raises:
        InputError: see ``train_bundle``, ``fetch`` and ``processes_for``.
    """
    processes = processes_for(job.training)
    job.logs.mkdir(parents=True, exist_ok=True)
    # Beside the events, since a family may write none and a folder without a file is taken for lost.
    (job.logs / "README.md").write_text(_ABOUT_LOGS, "utf-8")
    uri = getattr(job.training, "checkpoint", None)
    weights = fetch(uri, default_downloads()) if uri else None
    version = version_of(uri) if uri else ""
    prefix = checkpoint_prefix(Dataset.open(job.dataset), job.training, version, job.code, processes)
    if processes == 1:
        return _train(job, weights, prefix)
    _in_processes(job, weights, prefix, processes)
    return ModelBundle.load(job.model)


def _train(job: Job, weights: Path | None, prefix: str) -> ModelBundle:
    checkpoints = StoreCheckpoints(Store.from_environment(job.bucket), prefix)
    surroundings = Surroundings(weights, checkpoints, job.logs)
    bundle = train_bundle(job.dataset, job.name, job.training, job.model, surroundings)
    checkpoints.clear()
    return bundle


def _in_processes(job: Job, weights: Path | None, prefix: str, processes: int) -> None:
    from torch.multiprocessing.spawn import ProcessException, spawn

    with tempfile.TemporaryDirectory() as scratch:
        try:
            spawn(_process, (job, weights, prefix, processes, Path(scratch)), processes)  # type: ignore[no-untyped-call]
        except ProcessException as error:
            # One that ends takes the others' connections with it, so whoever has a sentence is believed.
            for sentence in sorted(Path(scratch).glob("sentence-*")):
                raise InputError(sentence.read_text("utf-8")) from error
            raise


def _process(rank: int, job: Job, weights: Path | None, prefix: str, processes: int, scratch: Path) -> None:
    """What process ``rank`` does. The first writes the bundle and speaks; what the others make is thrown away."""
    # As torchrun would, so that accelerate finds them; loopback, since all are in one pod.
    os.environ.update(RANK=str(rank), LOCAL_RANK=str(rank), WORLD_SIZE=str(processes), LOCAL_WORLD_SIZE=str(processes))
    os.environ.update(GLOO_SOCKET_IFNAME="lo", NCCL_SOCKET_IFNAME="lo")
    import torch

    backend = "gloo"
    if torch.cuda.is_available():
        backend = "nccl"
        torch.cuda.set_device(rank)
    if rank:
        sys.stdout = open(os.devnull, "w", encoding="utf-8")  # noqa: SIM115 (for as long as the process lives)
    # They find each other by a file: the usual store would listen on every interface.
    meeting = f"file://{scratch / 'processes'}"
    torch.distributed.init_process_group(backend, meeting, rank=rank, world_size=processes, timeout=_PATIENCE)
    try:
        _train(replace(job, model=scratch / f"bundle-{rank}") if rank else job, weights, prefix)
    except InputError as error:
        (scratch / f"sentence-{rank}").write_text(str(error), "utf-8")
        sys.exit(2)
    torch.distributed.destroy_process_group()
