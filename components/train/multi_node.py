"""A training on several machines: what they need goes into the store, and a TrainJob runs it there."""

import json
import signal
import sys
import uuid
from collections.abc import Iterator
from contextlib import contextmanager

from textgate.components.contracts import ModelBundle, Resources, new_folder
from textgate.components.storage import Store
from textgate.components.train.launch import TrainingJob, resolve_refs
from textgate.components.train.trainjob import run_train_job

_NAME_LENGTH = 36
"""The name of a node's pod, which is a label of DNS (63 characters), begins with that of the TrainJob."""


def run_on_nodes(job: TrainingJob, resources: Resources) -> ModelBundle:
    """Train on ``resources.nodes`` machines of the cluster this step runs on; see ``launch.run`` for one.

    Nothing is left behind: neither on success, nor on failure, nor on SIGTERM, with which Kubernetes ends a pod.

    Raises:
        InputError: see ``launch.run`` and ``run_train_job``.
    """
    job = resolve_refs(job)
    name = f"train-{job.name[:_NAME_LENGTH]}-{uuid.uuid4().hex[:8]}"
    prefix = f"nodes/{name}"
    store = Store.from_environment(job.bucket)
    told = {"name": job.name, "training": job.training.model_dump(mode="json"), "code": job.code}
    with _terminable():
        try:
            store.upload_folder(job.dataset, f"{prefix}/given/dataset")
            store.put(f"{prefix}/given/job.json", json.dumps(told).encode())
            run_train_job(name, ["torchrun", "-m", "textgate.components.train.node", job.bucket, prefix], resources)
            with new_folder(job.model) as folder:
                store.download_folder(f"{prefix}/made/model", folder)
            store.download_folder(f"{prefix}/made/logs", job.logs)
        finally:
            for item in list(store.objects(f"{prefix}/")):
                store.delete(item.key)
    return ModelBundle.load(job.model)


@contextmanager
def _terminable() -> Iterator[None]:
    """Let SIGTERM run what stands in ``finally``."""

    def end(*_: object) -> None:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        sys.exit(128 + signal.SIGTERM)

    before = signal.signal(signal.SIGTERM, end)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)
