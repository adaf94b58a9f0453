"""Run a training on several machines: the input is passed through the store, and a TrainJob runs the processes."""

import json
import signal
import sys
import uuid
from collections.abc import Iterator
from contextlib import contextmanager

from textgate.components.contracts import ModelBundle, Resources, new_folder
from textgate.components.contracts.earlier_trainings import earlier_trainings
from textgate.components.contracts.training_cost import write_training_cost
from textgate.components.storage import Store
from textgate.components.train.cost_meter import CostMeter
from textgate.components.train.launch import TrainingJob, read_accelerator_use, resolve_refs
from textgate.components.train.trainjob import run_train_job

_NAME_LENGTH = 36
"""Maximum length of the recipe's name within the TrainJob's. Pod names begin with it and must be DNS labels (63
characters)."""


def run_on_nodes(job: TrainingJob, resources: Resources) -> ModelBundle:
    """Train on ``resources.nodes`` machines of this step's cluster; ``launch.run`` trains on one.

    The job and its files in the store are removed on success, on failure, and on SIGTERM, with which Kubernetes ends a
    pod.

    Raises:
        InputError: See ``launch.run`` and ``run_train_job``.
    """
    meter = CostMeter()
    job = resolve_refs(job)
    name = f"train-{job.name[:_NAME_LENGTH]}-{uuid.uuid4().hex[:8]}"
    prefix = f"nodes/{name}"
    store = Store.from_environment(job.bucket)
    fields = {"name": job.name, "training": job.training.model_dump(mode="json"), "code": job.code}
    with _exit_on_sigterm():
        try:
            store.upload_folder(job.dataset, f"{prefix}/given/dataset")
            store.put(f"{prefix}/given/job.json", json.dumps(fields).encode())
            run_train_job(name, ["torchrun", "-m", "textgate.components.train.node", job.bucket, prefix], resources)
            with new_folder(job.model) as folder:
                store.download_folder(f"{prefix}/made/model", folder)
            store.download_folder(f"{prefix}/made/logs", job.logs)
        finally:
            for item in list(store.objects(f"{prefix}/")):
                store.delete(item.key)
    devices = resources.nodes * (resources.accelerator.count if resources.accelerator else 0)
    earlier = earlier_trainings(job.training, lambda _: None)
    # The CPU time of the machines, and the bundles that they fetched, are not known here.
    cost = meter.cost(devices, read_accelerator_use(job.logs)).model_copy(
        update={"cpu_seconds": None, "earlier": earlier}
    )
    write_training_cost(job.model, cost)
    return ModelBundle.load(job.model)


@contextmanager
def _exit_on_sigterm() -> Iterator[None]:
    """Raise SystemExit on SIGTERM, so that ``finally`` blocks run; a second SIGTERM is ignored."""

    def exit_(*_: object) -> None:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        sys.exit(128 + signal.SIGTERM)

    before = signal.signal(signal.SIGTERM, exit_)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)
