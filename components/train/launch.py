"""Run a training on one machine: in this process, or in one process per GPU."""

import contextlib
import os
import sys
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import timedelta
from pathlib import Path

import numpy as np

from textgate.components.contracts import (
    Dataset,
    InputError,
    ModelBundle,
    Training,
    bundle_references,
    replace_bundle_references,
    write_file,
)
from textgate.components.contracts.earlier_trainings import earlier_trainings
from textgate.components.contracts.text_keys import Keys, read_trained_on
from textgate.components.contracts.training_cost import AcceleratorUse, read_training_cost, write_training_cost
from textgate.components.families import TrainingContext
from textgate.components.families.accelerator_meter import AcceleratorMeter
from textgate.components.families.distributed import world_size_for
from textgate.components.machine_errors import machine_errors
from textgate.components.sources import (
    content_version,
    default_downloads,
    fetch,
    fetch_bundle,
    resolve_ref,
    unchanged,
)
from textgate.components.step import error_line, parse_error
from textgate.components.storage import Registry, Store
from textgate.components.tracking.services import check_clients
from textgate.components.tracking.tracked_run import TrackedRun, tracked_training
from textgate.components.train.checkpoints import StoreCheckpoints, checkpoint_prefix
from textgate.components.train.cost_meter import CostMeter
from textgate.components.train.train import train_bundle

_ACCELERATOR_USE = "accelerator_use.json"
"""File in the folder of the logs, by which the processes of a training report to the one that started them."""
_LOGS_README = """TensorBoard's event files of this training, where its family writes any:

    tensorboard --logdir <this folder>

A training on GPUs adds accelerator_use.json, their memory and speed.
"""
_COLLECTIVE_TIMEOUT = timedelta(hours=2)
"""Timeout of torch.distributed; long, since all processes wait while the main one stores a checkpoint."""


@dataclass(frozen=True)
class TrainingJob:
    """Arguments of a train step; they are passed to every process of the training."""

    dataset: Path
    """Folder of the preprocessed dataset."""
    name: str
    """Name of the recipe."""
    training: Training
    """Recipe section ``train``."""
    code: str
    """Version of the step's code."""
    bucket: str
    """Bucket of the store."""
    model: Path
    """Folder to write the bundle to."""
    logs: Path
    """Folder to write TensorBoard's files to."""


@dataclass(frozen=True)
class TrainingInputs:
    """Local copies of what a recipe names; they are shared by every process on this machine."""

    base_model: Path | None
    """Local folder or file of the pretrained weights."""
    bundles: dict[str, Path]
    """Local folders of the finished bundles, by reference."""
    checkpoint_prefix: str
    """Prefix in the store of this training's checkpoints; see ``checkpoints.checkpoint_prefix``."""


def run(job: TrainingJob) -> ModelBundle:
    """Train a model and write what that took to the bundle; a killed training resumes from its last checkpoint.

    Returns:
        The manifest of the bundle that was written to ``job.model``.

    Raises:
        InputError: See ``train_bundle``, ``fetch_inputs``, ``world_size_for`` and ``check_clients``.
    """
    meter = CostMeter()
    check_clients()
    job = resolve_refs(job)
    processes = world_size_for(job.training)
    create_logs_folder(job.logs)
    with tempfile.TemporaryDirectory() as scratch:
        inputs = fetch_inputs(job, processes, Path(scratch))
        if processes == 1:
            bundle = _train(job, inputs)
        else:
            _spawn(job, inputs, processes)
            bundle = ModelBundle.load(job.model)
        record_cost(meter, job.training, inputs.bundles, job.model, read_accelerator_use(job.logs))
        return bundle


def record_cost(
    meter: CostMeter,
    training: Training,
    bundles: Mapping[str, Path],
    model: Path,
    use: AcceleratorUse | None,
) -> None:
    """Write what a training took to its bundle.

    Args:
        meter: Meter that was created when the training began.
        training: Recipe section ``train``.
        bundles: Local folders of the finished bundles that it names, by reference.
        model: Folder of the bundle.
        use: Memory and speed of the GPUs; None without one.
    """
    earlier = earlier_trainings(training, lambda reference: read_training_cost(bundles[reference]))
    write_training_cost(model, meter.cost(_accelerators(training), use).model_copy(update={"earlier": earlier}))


def read_accelerator_use(logs: Path) -> AcceleratorUse | None:
    """Return what the main process of a training wrote to the folder ``logs``; None if the training used no GPU."""
    path = logs / _ACCELERATOR_USE
    return AcceleratorUse.model_validate_json(path.read_bytes()) if path.exists() else None


def _accelerators(training: Training) -> int:
    """Return the number of GPUs that a training on this machine can use."""
    if not training.uses_accelerator:
        return 0
    import torch

    return torch.cuda.device_count()


def resolve_refs(job: TrainingJob) -> TrainingJob:
    """Resolve each model reference of the job to a version, so that all processes use and record the same one.

    Raises:
        InputError: A model does not exist, or its channel points at no version.
    """
    registry = Registry(Store.from_environment(job.bucket))
    return replace(
        job, training=replace_bundle_references(job.training, lambda reference: resolve_ref(reference, registry))
    )


def unchanged_base_model(training: Training, versions: Mapping[str, str]) -> contextlib.AbstractContextManager[None]:
    """Return a context in whose body the base model must have its version, if ``versions`` has one by its URI.

    Raises:
        ConflictError: On entry or exit: the base model has another version, or was changed in between.
    """
    uri = getattr(training, "base_model", "")
    return unchanged(uri, versions[uri]) if uri in versions else contextlib.nullcontext()


def create_logs_folder(logs: Path) -> None:
    """Create the folder for TensorBoard's files with a README, since KFP treats an empty artifact as missing."""
    logs.mkdir(parents=True, exist_ok=True)
    write_file(logs / "README.md", _LOGS_README)


def fetch_inputs(job: TrainingJob, processes: int, scratch: Path) -> TrainingInputs:
    """Fetch the base model and the bundles that a job with resolved references names.

    Args:
        job: Job from ``resolve_refs``.
        processes: Number of processes of the training, which its checkpoints depend on.
        scratch: Folder for downloaded bundles.

    Raises:
        InputError: See ``fetch`` and ``fetch_bundle``; or a bundle has other labels than the dataset.
    """
    dataset = Dataset.open(job.dataset)
    registry = Registry(Store.from_environment(job.bucket))
    uri = getattr(job.training, "base_model", None)
    versions = [content_version(uri)] if uri else []
    base_model = fetch(uri, default_downloads(), versions[0]) if uri else None
    bundles = {}
    for reference in bundle_references(job.training):
        bundles[reference], bundle = fetch_bundle(reference, registry, scratch)
        _check(reference, bundle, read_trained_on(bundles[reference]), dataset)
        versions.append(bundle.fingerprint)
    prefix = checkpoint_prefix(dataset, job.training, " ".join(versions), job.code, processes)
    return TrainingInputs(base_model, bundles, prefix)


def _check(reference: str, bundle: ModelBundle, trained_on: Keys | None, dataset: Dataset) -> None:
    """Raise InputError if a bundle has other labels than the dataset; report which texts of the test split it knows."""
    labels = dataset.manifest.labels
    if bundle.labels != labels:
        raise InputError(f"{reference} has the labels {bundle.labels}, but the dataset has {labels}")
    if bundle.dataset == dataset.manifest.fingerprint or int(os.environ.get("RANK", "0")):
        return
    test = dataset.keys("test") if "test" in dataset.manifest.counts else None
    if trained_on is None or test is None:
        known = "does not say on which texts: if these include some of this test split"
    elif seen := int(np.isin(test, trained_on).sum()):
        known = f"knows {seen:,} of the {len(test):,} texts of this test split: unless they are left out"
    else:
        return
    message = f"{reference} was trained on another dataset and {known}, the scores on the test split will be too high"
    print(message, flush=True)


def init_process_group(init_method: str) -> None:
    """Join the processes of a training.

    RANK, LOCAL_RANK and WORLD_SIZE are set in the environment, as torchrun does.

    Args:
        init_method: URL by which the processes find each other; see ``torch.distributed.init_process_group``.
    """
    import torch

    backend = "gloo"
    if torch.cuda.is_available():
        backend = "nccl"
        torch.cuda.set_device(int(os.environ["LOCAL_RANK"]))
    rank, size = int(os.environ["RANK"]), int(os.environ["WORLD_SIZE"])
    torch.distributed.init_process_group(backend, init_method, rank=rank, world_size=size, timeout=_COLLECTIVE_TIMEOUT)


def run_process(job: TrainingJob, inputs: TrainingInputs, scratch: Path) -> None:
    """Train in one process of an initialized process group.

    Rank 0 writes the bundle and prints. The other ranks print nothing, and write their copies to ``scratch``.
    """
    import torch

    rank = torch.distributed.get_rank()
    if not rank:
        _train(job, inputs)
    else:
        with open(os.devnull, "w", encoding="utf-8") as devnull, contextlib.redirect_stdout(devnull):
            _train(replace(job, model=scratch / f"bundle-{rank}"), inputs, main=False)


def _train(job: TrainingJob, inputs: TrainingInputs, main: bool = True) -> ModelBundle:
    checkpoints = StoreCheckpoints(Store.from_environment(job.bucket), inputs.checkpoint_prefix)
    meter = AcceleratorMeter.for_training(job.training)
    context = TrainingContext(inputs.base_model, checkpoints, job.logs, inputs.bundles, meter=meter)
    with tracked_training(job.name) if main else contextlib.nullcontext() as run:
        bundle = train_bundle(
            job.dataset, job.name, job.training, job.model, replace(context, track=run.log) if run else context
        )
        # The workers of all devices take part in the figures.
        use = meter.use() if meter else None
        if run:
            _log_result(run, bundle)
    if main:
        if use:
            print(f"{use.name}: {use.message}", flush=True)
            write_file(job.logs / _ACCELERATOR_USE, use.model_dump_json())
        checkpoints.clear()
    return bundle


def _log_result(run: TrackedRun, bundle: ModelBundle) -> None:
    """Log the validation metrics, and the history of a family that has not logged while it trained."""
    if not run.last_step:
        for step, entry in enumerate(bundle.history, 1):
            run.log({f"train/{name}": value for name, value in entry.items()}, step)
    measured = {
        f"validation/{name.removeprefix('validation_')}" if name.startswith("validation_") else f"train/{name}": value
        for name, value in bundle.metrics.items()
    }
    run.log(measured, run.last_step + 1)


def _spawn(job: TrainingJob, inputs: TrainingInputs, processes: int) -> None:
    from torch.multiprocessing.spawn import ProcessException, spawn

    with tempfile.TemporaryDirectory() as scratch:
        try:
            spawn(_process, (job, inputs, processes, Path(scratch)), processes)  # type: ignore[no-untyped-call]
        except ProcessException as error:
            # A process that ends closes the others' connections, so any of them may be the one that spawn reports.
            for line in sorted(Path(scratch).glob("error-*")):
                if reported := parse_error(line.read_text("utf-8")):
                    raise reported from error
            raise


def _process(rank: int, job: TrainingJob, inputs: TrainingInputs, processes: int, scratch: Path) -> None:
    """Run one spawned process; an InputError or MachineError is written to a file, for ``_spawn`` to raise."""
    import torch

    os.environ.update(RANK=str(rank), LOCAL_RANK=str(rank), WORLD_SIZE=str(processes), LOCAL_WORLD_SIZE=str(processes))
    # Loopback, since all processes are in one pod.
    os.environ.update(GLOO_SOCKET_IFNAME="lo", NCCL_SOCKET_IFNAME="lo")
    # A file as rendezvous: the usual TCP store would listen on every interface.
    init_process_group(f"file://{scratch / 'processes'}")
    try:
        with machine_errors(scratch):
            run_process(job, inputs, scratch)
    except InputError as error:
        write_file(scratch / f"error-{rank}", error_line(error))
        sys.exit(error.exit_code)
    torch.distributed.destroy_process_group()
