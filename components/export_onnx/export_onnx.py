"""Turn a bundle into the one that would be served, calibrated on the validation split."""

import shutil
from pathlib import Path

from textgate.components.contracts import Calibration, Dataset, Export, ModelBundle, new_folder
from textgate.components.contracts.bundle import MANIFEST
from textgate.components.export_onnx.calibrate import calibrate
from textgate.components.families import family
from textgate.serving import load


def export_bundle(bundle_folder: Path, dataset_folder: Path, settings: Export, output: Path) -> ModelBundle:
    """Write the served bundle to ``output``; of a family that is served as it is, the same files.

    Raises:
        InputError: the bundle is damaged, or its answers cannot be given the threshold asked for.
    """
    bundle = ModelBundle.load(bundle_folder)
    dataset = Dataset.open(dataset_folder)
    with new_folder(output) as folder:
        runtime = family(bundle.family).export(bundle_folder, bundle, settings.target, folder)
        if runtime is None:
            print(f"nothing to export: a {bundle.family} bundle is served as it is", flush=True)
            shutil.copytree(bundle_folder, folder, dirs_exist_ok=True, ignore=shutil.ignore_patterns(MANIFEST))
        recipe = {**bundle.recipe, "export": settings.model_dump(mode="json")}
        update = {"runtime": runtime or bundle.runtime, "recipe": recipe, "calibration": Calibration()}
        exported = bundle.model_copy(update=update).write(folder)
        calibration = calibrate(load(folder), dataset, settings)
        exported = exported.model_copy(update={"calibration": calibration}).write(folder)
        size = sum(entry.size for entry in exported.files.values())
        print(f"exported {exported.runtime.name}: {size / 1e6:,.1f} MB", flush=True)
        return exported
