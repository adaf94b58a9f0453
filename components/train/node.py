"""Entry point of each process of a training on several machines; torchrun starts it.

The machines exchange files through the store. ``multi_node`` uploads the inputs and removes everything afterwards:

<prefix>/given/job.json, dataset/…    input of the training
<prefix>/made/model/…, logs/…         output of rank 0
"""

import json
import sys
from pathlib import Path

from pydantic import TypeAdapter

from textgate.components.contracts import Training
from textgate.components.families.distributed import (
    barrier,
    is_local_main_process,
    is_main_process,
    shared_temporary_folder,
    world_size,
)
from textgate.components.step import step_work
from textgate.components.storage import Store
from textgate.components.train.launch import (
    TrainingJob,
    create_logs_folder,
    fetch_inputs,
    init_process_group,
    run_process,
)


def main(bucket: str, prefix: str) -> None:
    """Run one process of the training whose input is below ``prefix``.

    Args:
        bucket: Bucket of the store.
        prefix: Prefix of the training's files.

    Raises:
        InputError: See ``launch.run``.
    """
    import torch

    init_process_group("env://")
    store = Store.from_environment(bucket)
    with shared_temporary_folder() as folder:
        # Local rank 0 downloads the input and the base model; the other processes wait and use its copies.
        if not is_local_main_process():
            barrier()
        else:
            store.download_folder(f"{prefix}/given", folder)
        job = _job(folder, bucket)
        inputs = fetch_inputs(job, world_size(), folder)
        if is_local_main_process():
            create_logs_folder(job.logs)
            barrier()
        run_process(job, inputs, folder)
        if is_main_process():
            store.upload_folder(job.model, f"{prefix}/made/model")
            store.upload_folder(job.logs, f"{prefix}/made/logs")
    torch.distributed.destroy_process_group()


def _job(folder: Path, bucket: str) -> TrainingJob:
    fields = json.loads((folder / "job.json").read_text("utf-8"))
    training = TypeAdapter(Training).validate_python(fields["training"])
    return TrainingJob(
        folder / "dataset", fields["name"], training, fields["code"], bucket, folder / "model", folder / "logs"
    )


if __name__ == "__main__":
    with step_work():
        main(*sys.argv[1:])
