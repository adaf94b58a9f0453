"""One process of a training on several machines, as torchrun starts it on each of them.

What the machines share lies in the store; ``nodes`` puts it there and takes it away:

<prefix>/given/job.json, dataset/…    what is trained
<prefix>/made/model/…, logs/…         what the first process made
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
    """Take part in the training whose job lies below ``prefix``.

    Raises:
        InputError: see ``launch.run``.
    """
    import torch

    init_process_group("env://")
    store = Store.from_environment(bucket)
    with shared_temporary_folder() as folder:
        # The first process of each machine brings what is given and the weights; the others find them there.
        if not is_local_main_process():
            barrier()
        else:
            store.download_folder(f"{prefix}/given", folder)
        job = _job(folder, bucket)
        start = fetch_inputs(job, world_size(), folder)
        if is_local_main_process():
            create_logs_folder(job.logs)
            barrier()
        run_process(job, start, folder)
        if is_main_process():
            store.upload_folder(job.model, f"{prefix}/made/model")
            store.upload_folder(job.logs, f"{prefix}/made/logs")
    torch.distributed.destroy_process_group()


def _job(folder: Path, bucket: str) -> TrainingJob:
    told = json.loads((folder / "job.json").read_text("utf-8"))
    training = TypeAdapter(Training).validate_python(told["training"])
    return TrainingJob(
        folder / "dataset", told["name"], training, told["code"], bucket, folder / "model", folder / "logs"
    )


if __name__ == "__main__":
    with step_work():
        main(*sys.argv[1:])
