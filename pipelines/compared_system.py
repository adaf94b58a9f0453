"""One system of a comparison, from its recipe to what would be served.

It is trained, evaluated, merged, exported and evaluated again, as the pipeline of its recipe does in several steps:
here in one process, which may fail without ending the run.
"""

import os
import shutil
import subprocess
import sys
import tempfile
import time
import traceback
from pathlib import Path

from pydantic import BaseModel

from textgate.components.contracts import Export, InputError, Training, TrainingCost
from textgate.components.contracts.comparison import EXPORTED, MEASUREMENTS, MERGE, SERVED, TRAINED
from textgate.components.contracts.recipe.evaluate_settings import SCORES_ONLY


class SystemSpec(BaseModel):
    """What is made of one recipe."""

    name: str
    train: Training
    export: Export


class _Job(BaseModel):
    system: SystemSpec
    dataset: Path
    code: str
    bucket: str
    made: Path


def train_system(system: SystemSpec, dataset: Path, code: str, bucket: str, made: Path) -> str:
    """Make the folder ``made``, see ``textgate.components.contracts.comparison``; or return why that failed.

    ``code`` is the version of the code, and ``bucket`` the store's, for checkpoints.
    """
    with tempfile.TemporaryDirectory() as scratch:
        told, why, folder = (Path(scratch) / name for name in ("job.json", "why.txt", "made"))
        job = _Job(system=system, dataset=dataset, code=code, bucket=bucket, made=folder)
        told.write_text(job.model_dump_json(), "utf-8")
        # Its temporary files go with the folder, should it be killed.
        environment = {**os.environ, "TMPDIR": scratch}
        done = subprocess.run([sys.executable, "-m", __name__, str(told), str(why)], env=environment)
        if why.exists():
            return why.read_text("utf-8")
        if done.returncode < 0:
            return (
                f"it was killed by signal {-done.returncode}, as one that needs more memory than there is by signal 9"
            )
        if done.returncode:
            return f"its process ended with exit code {done.returncode}"
        shutil.move(folder, made)
    return ""


def main(told: Path, why: Path) -> None:
    """Do what ``told`` asks for, or write to ``why`` for what reason it cannot be done."""
    try:
        _make(_Job.model_validate_json(told.read_bytes()))
    except InputError as error:
        reason = str(error)
    except Exception as error:
        traceback.print_exc()
        said = str(error).strip().splitlines()
        reason = f"{type(error).__name__}: {said[0]}" if said else type(error).__name__
    else:
        return
    why.write_text(reason, "utf-8")
    print(f"failed: {reason}", flush=True)


def _make(job: _Job) -> None:
    from textgate.components.evaluate.evaluate import evaluate_bundle
    from textgate.components.export_onnx.export_onnx import export_bundle
    from textgate.components.families.speed import peak_memory
    from textgate.components.merge_quantize.merge_quantize import compare_merged, merge_bundle
    from textgate.components.sources import default_downloads, fetch
    from textgate.components.train import launch

    system, folder = job.system, job.made
    folder.mkdir()
    trained, merged = folder.parent / "model", folder.parent / "merged"
    if base_model := getattr(system.train, "base_model", None):
        fetch(base_model, default_downloads())  # a download is no training
    started = time.perf_counter()
    launch.run(launch.Job(job.dataset, system.name, system.train, job.code, job.bucket, trained, folder / "logs"))
    cost = TrainingCost(seconds=time.perf_counter() - started, peak_memory=peak_memory())
    evaluate_bundle(job.dataset, trained, folder / TRAINED, SCORES_ONLY, cost)
    bundle = merge_bundle(trained, merged)
    changed = compare_merged(merged, bundle, folder / TRAINED)
    (folder / MERGE).write_text(changed.model_dump_json(indent=2) if changed else "null", "utf-8")
    _, measured = export_bundle(merged, job.dataset, folder / TRAINED, system.export, folder / EXPORTED)
    measured.write(folder / MEASUREMENTS)
    evaluate_bundle(job.dataset, folder / EXPORTED, folder / SERVED, SCORES_ONLY, cost)


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
