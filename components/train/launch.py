"""One training on one machine: in this process, or in several that each hold a device."""

import contextlib
import os
import sys
import tempfile
from dataclasses import dataclass, replace
from datetime import timedelta
from pathlib import Path

from textgate.components.contracts import (
    Dataset,
    InputError,
    ModelBundle,
    Training,
    bundle_references,
    replace_bundle_references,
)
from textgate.components.families import TrainingContext
from textgate.components.families.distributed import world_size_for
from textgate.components.sources import content_version, default_downloads, fetch, fetch_bundle, resolve_ref
from textgate.components.storage import Registry, Store
from textgate.components.train.checkpoints import StoreCheckpoints, checkpoint_prefix
from textgate.components.train.train import train_bundle

_ABOUT_LOGS = """TensorBoard's event files of this training, where its family writes any:

    tensorboard --logdir <this folder>
"""
# The others wait while the main process stores a checkpoint.
_PATIENCE = timedelta(hours=2)


@dataclass(frozen=True)
class TrainingJob:
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


@dataclass(frozen=True)
class TrainingInputs:
    """What a training starts from, on this machine; it travels to its every process."""

    weights: Path | None
    bundles: dict[str, Path]
    """Folders of the finished systems that the recipe names."""
    checkpoints: str
    """Where in the store this very training, and no other, keeps its checkpoints."""


def run(job: TrainingJob) -> ModelBundle:
    """Train, resuming from the last checkpoint of the very same training if it was killed.

    Raises:
        InputError: see ``train_bundle``, ``fetch_inputs`` and ``world_size_for``.
    """
    job = resolve_refs(job)
    processes = world_size_for(job.training)
    create_logs_folder(job.logs)
    with tempfile.TemporaryDirectory() as scratch:
        start = fetch_inputs(job, processes, Path(scratch))
        if processes == 1:
            return _train(job, start)
        _in_processes(job, start, processes)
    return ModelBundle.load(job.model)


def resolve_refs(job: TrainingJob) -> TrainingJob:
    """The job with each finished system it names pinned to what stands there now, for every process and the bundle.

    Raises:
        InputError: there is none.
    """
    registry = Registry(Store.from_environment(job.bucket))
    return replace(
        job, training=replace_bundle_references(job.training, lambda reference: resolve_ref(reference, registry))
    )


def create_logs_folder(logs: Path) -> None:
    """Make the folder for TensorBoard's files, which is never empty: one without a file is taken for lost."""
    logs.mkdir(parents=True, exist_ok=True)
    (logs / "README.md").write_text(_ABOUT_LOGS, "utf-8")


def fetch_inputs(job: TrainingJob, processes: int, scratch: Path) -> TrainingInputs:
    """What a resolved job starts from when it is trained in so many processes; bundles are brought below ``scratch``.

    Raises:
        InputError: see ``fetch`` and ``fetch_bundle``, or a finished system has other labels than the dataset.
    """
    dataset = Dataset.open(job.dataset)
    registry = Registry(Store.from_environment(job.bucket))
    uri = getattr(job.training, "base_model", None)
    weights = fetch(uri, default_downloads()) if uri else None
    versions = [content_version(uri)] if uri else []
    bundles = {}
    for reference in bundle_references(job.training):
        bundles[reference], bundle = fetch_bundle(reference, registry, scratch)
        _check(reference, bundle, dataset)
        versions.append(bundle.fingerprint)
    prefix = checkpoint_prefix(dataset, job.training, " ".join(versions), job.code, processes)
    return TrainingInputs(weights, bundles, prefix)


def _check(reference: str, bundle: ModelBundle, dataset: Dataset) -> None:
    labels = dataset.manifest.labels
    if bundle.labels != labels:
        raise InputError(f"{reference} answers {bundle.labels} but the dataset has the labels {labels}")
    if bundle.dataset != dataset.manifest.fingerprint and not int(os.environ.get("RANK", "0")):
        print(
            f"{reference} was trained on another dataset: if texts of this test split were among it, what is measured "
            "on them will be too good",
            flush=True,
        )


def init_process_group(meeting: str) -> None:
    """Join the processes of a training, which are numbered by RANK, LOCAL_RANK and WORLD_SIZE as torchrun does.

    ``meeting`` is where they find each other, an ``init_method`` of torch.distributed.
    """
    import torch

    backend = "gloo"
    if torch.cuda.is_available():
        backend = "nccl"
        torch.cuda.set_device(int(os.environ["LOCAL_RANK"]))
    rank, size = int(os.environ["RANK"]), int(os.environ["WORLD_SIZE"])
    torch.distributed.init_process_group(backend, meeting, rank=rank, world_size=size, timeout=_PATIENCE)


def run_process(job: TrainingJob, start: TrainingInputs, scratch: Path) -> None:
    """What each of several joined processes does. The first writes the bundle and speaks.

    What the others make is thrown away, in ``scratch``.
    """
    import torch

    rank = torch.distributed.get_rank()
    if not rank:
        _train(job, start)
    else:
        with open(os.devnull, "w", encoding="utf-8") as nowhere, contextlib.redirect_stdout(nowhere):
            _train(replace(job, model=scratch / f"bundle-{rank}"), start, speaks=False)


def _train(job: TrainingJob, start: TrainingInputs, speaks: bool = True) -> ModelBundle:
    checkpoints = StoreCheckpoints(Store.from_environment(job.bucket), start.checkpoints)
    context = TrainingContext(start.weights, checkpoints, job.logs, start.bundles)
    bundle = train_bundle(job.dataset, job.name, job.training, job.model, context)
    if speaks:
        checkpoints.clear()
    return bundle


def _in_processes(job: TrainingJob, start: TrainingInputs, processes: int) -> None:
    from torch.multiprocessing.spawn import ProcessException, spawn

    with tempfile.TemporaryDirectory() as scratch:
        try:
            spawn(_process, (job, start, processes, Path(scratch)), processes)  # type: ignore[no-untyped-call]
        except ProcessException as error:
            # One that ends takes the others' connections with it, so whoever has a sentence is believed.
            for sentence in sorted(Path(scratch).glob("sentence-*")):
                raise InputError(sentence.read_text("utf-8")) from error
            raise


def _process(rank: int, job: TrainingJob, start: TrainingInputs, processes: int, scratch: Path) -> None:
    """What process ``rank`` of one machine does."""
    import torch

    os.environ.update(RANK=str(rank), LOCAL_RANK=str(rank), WORLD_SIZE=str(processes), LOCAL_WORLD_SIZE=str(processes))
    # Loopback, since all are in one pod.
    os.environ.update(GLOO_SOCKET_IFNAME="lo", NCCL_SOCKET_IFNAME="lo")
    # They find each other by a file: the usual store would listen on every interface.
    init_process_group(f"file://{scratch / 'processes'}")
    try:
        run_process(job, start, scratch)
    except InputError as error:
        (scratch / f"sentence-{rank}").write_text(str(error), "utf-8")
        sys.exit(2)
    torch.distributed.destroy_process_group()
