"""Train, evaluate, merge, export and evaluate one system of a comparison, in a process of its own.

These are the steps of the training pipeline, done one after another. The process may fail, or be killed when it needs
too much memory, without ending the run. Run by ``train_system``: ``python -m textgate.pipelines.compared_system``.
"""

import os
import shutil
import subprocess
import sys
import tempfile
import traceback
from pathlib import Path

from pydantic import BaseModel

from textgate.components.contracts import Export, InputError, Training, new_folder, write_file
from textgate.components.contracts.comparison import EXPORTED, MEASUREMENTS, MERGE, SERVED, TRAINED, VALIDATION
from textgate.components.contracts.recipe.evaluate_settings import SCORES_ONLY
from textgate.components.machine_errors import machine_errors


class SystemSpec(BaseModel):
    """The sections of a recipe that define a system."""

    name: str
    train: Training
    export: Export


class _Job(BaseModel):
    """Input of the process."""

    spec: SystemSpec
    dataset: Path
    code: str
    bucket: str
    output: Path


def train_system(spec: SystemSpec, dataset: Path, code: str, bucket: str, output: Path) -> str:
    """Train and export a system into the folder ``output``.

    Args:
        spec: The system.
        dataset: Folder of the preprocessed dataset.
        code: Version of the code; only the same version resumes a training from its checkpoints.
        bucket: Bucket of the store, for checkpoints.
        output: Folder to create, with the files described in ``textgate.components.contracts.comparison``.

    Returns:
        The reason why the system failed, in which case there is no folder; otherwise an empty string.
    """
    with tempfile.TemporaryDirectory() as scratch:
        job_file, error_file, folder = (Path(scratch) / name for name in ("job.json", "error.txt", "system"))
        job = _Job(spec=spec, dataset=dataset, code=code, bucket=bucket, output=folder)
        write_file(job_file, job.model_dump_json())
        # The temporary files of a killed process are removed with this folder.
        environment = {**os.environ, "TMPDIR": scratch}
        process = subprocess.run([sys.executable, "-m", __name__, str(job_file), str(error_file)], env=environment)
        if error_file.exists():
            return error_file.read_text("utf-8")
        if process.returncode < 0:
            return (
                f"it was killed by signal {-process.returncode}, "
                "as one that needs more memory than there is by signal 9"
            )
        if process.returncode:
            return f"its process ended with exit code {process.returncode}"
        with new_folder(output) as new:
            shutil.copytree(folder, new, dirs_exist_ok=True)
    return ""


def main(job_file: Path, error_file: Path) -> None:
    """Run the job in ``job_file``; if it fails, write the reason to ``error_file``."""
    try:
        with machine_errors():
            _run(_Job.model_validate_json(job_file.read_bytes()))
    except InputError as error:
        reason = str(error)
    except Exception as error:
        traceback.print_exc()
        lines = str(error).strip().splitlines()
        reason = f"{type(error).__name__}: {lines[0]}" if lines else type(error).__name__
    else:
        return
    write_file(error_file, reason)
    print(f"failed: {reason}", flush=True)


def _run(job: _Job) -> None:
    from textgate.components.evaluate.evaluate import evaluate_bundle
    from textgate.components.export_onnx.export_onnx import export_bundle
    from textgate.components.merge_quantize.merge_quantize import compare_merged, merge_bundle
    from textgate.components.sources import default_downloads, fetch
    from textgate.components.train import launch

    spec, folder = job.spec, job.output
    folder.mkdir()
    trained, merged = folder.parent / "model", folder.parent / "merged"
    if base_model := getattr(spec.train, "base_model", None):
        fetch(base_model, default_downloads())  # so that the download does not count as training time
    training = launch.TrainingJob(job.dataset, spec.name, spec.train, job.code, job.bucket, trained, folder / "logs")
    launch.run(training)
    evaluate_bundle(job.dataset, trained, folder / TRAINED, SCORES_ONLY, export=spec.export)
    bundle = merge_bundle(trained, merged)
    changes = compare_merged(merged, bundle, folder / TRAINED)
    write_file(folder / MERGE, changes.model_dump_json(indent=2) if changes else "null")
    _, measurements = export_bundle(merged, job.dataset, spec.export, folder / EXPORTED)
    measurements.write(folder / MEASUREMENTS)
    evaluate_bundle(job.dataset, folder / EXPORTED, folder / SERVED, SCORES_ONLY)
    evaluate_bundle(job.dataset, folder / EXPORTED, folder / VALIDATION, SCORES_ONLY, split="validation")


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
