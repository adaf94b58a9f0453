"""Export step: write every export target, measure each against the merged model, and serve the best one."""

import shutil
import tempfile
from collections.abc import Sequence
from pathlib import Path

from textgate.components.contracts import Calibration, Dataset, Export, ModelBundle, new_folder
from textgate.components.contracts.bundle import EnsembleRuntime, LinearRuntime, OnnxRuntime, Runtime
from textgate.components.contracts.export_target import EXPORT_TARGETS
from textgate.components.contracts.measurement import Measurement, Measurements
from textgate.components.contracts.text_keys import copy_trained_on
from textgate.components.contracts.training_cost import copy_training_cost
from textgate.components.export_onnx.calibrate import calibrate
from textgate.components.export_onnx.measure import Reference, choose_served, measure_cost, measure_quality
from textgate.components.export_onnx.target_exporter import TargetExporter
from textgate.components.families import open_predictor


def export_bundle(
    bundle_folder: Path, dataset_folder: Path, settings: Export, output: Path
) -> tuple[ModelBundle, Measurements]:
    """Write the bundle to serve: calibrated, with the other export targets as alternatives.

    The files of a family that is served as it was trained are copied unchanged.

    Args:
        bundle_folder: The merged bundle.
        dataset_folder: Dataset whose validation split chooses the target and calibrates the bundle.
        settings: The recipe's section ``export``.
        output: Folder to write.

    Raises:
        InputError: The bundle is damaged, a target does not support its family, or the threshold cannot be fitted.
    """
    bundle = ModelBundle.load(bundle_folder)
    dataset = Dataset.open(dataset_folder)
    reference = Reference.predict(bundle_folder, bundle, dataset)
    recipe = {**bundle.recipe, "export": settings.model_dump(mode="json")}
    uncalibrated = bundle.model_copy(update={"recipe": recipe, "calibration": Calibration()})
    with new_folder(output) as folder, tempfile.TemporaryDirectory() as temporary:
        scratch = Path(temporary)
        if isinstance(bundle.runtime, LinearRuntime | EnsembleRuntime):
            print(f"nothing to export: {bundle.family} bundles are served as they are", flush=True)
            shutil.copytree(bundle_folder, folder, dirs_exist_ok=True)
            served = uncalibrated.write(folder)
            chosen = measure_cost(folder, served, measure_quality(folder, served, reference, settings))
            measurements = [chosen]
        else:
            exporter = TargetExporter(bundle_folder, scratch, uncalibrated, dataset, settings)
            measurements = [_export_and_measure(exporter, name, reference) for name in settings.targets]
            chosen = choose_served(measurements)
            copy_trained_on(bundle_folder, folder)
            copy_training_cost(bundle_folder, folder)
            served = _combine(scratch, settings.targets, chosen.target, folder)
        calibration = calibrate(open_predictor(folder, served), dataset, settings)
        served = served.model_copy(update={"calibration": calibration}).write(folder)
    for measurement in measurements:
        print(_summary(measurement, served=measurement is chosen), flush=True)
    return served, Measurements(
        served=chosen.target,
        max_f1_loss=settings.max_f1_loss,
        min_agreement=settings.min_agreement,
        targets=measurements,
    )


def _export_and_measure(exporter: TargetExporter, name: str, reference: Reference) -> Measurement:
    target, folder = EXPORT_TARGETS[name], exporter.scratch / name
    bundle = exporter.export(target)
    return measure_cost(folder, bundle, measure_quality(folder, bundle, reference, exporter.settings, target))


def _combine(scratch: Path, targets: Sequence[str], served: str, folder: Path) -> ModelBundle:
    """Move the bundles of all targets into one bundle: a folder per target, with one tokenizer for all graphs.

    Args:
        scratch: Folder that holds a bundle per target.
        targets: Names of the targets.
        served: Name of the target whose runtime becomes the bundle's own; the others become alternatives.
        folder: Folder to write to.
    """
    from textgate.components.inference.onnx import TOKENIZER

    runtimes: dict[str, Runtime] = {}
    for target in targets:
        bundle = ModelBundle.load(scratch / target)
        shared, location = set(), {"folder": target}
        if isinstance(bundle.runtime, OnnxRuntime):
            shared, location = {TOKENIZER}, {"graph": f"{target}/{bundle.runtime.graph}"}
        (folder / target).mkdir()
        for name in bundle.files:
            shutil.move(scratch / target / name, folder / name if name in shared else folder / target / name)
        runtimes[target] = bundle.runtime.model_copy(update=location)
    runtime = runtimes.pop(served)
    return bundle.model_copy(update={"runtime": runtime, "alternatives": runtimes}).write(folder)


def _summary(measurement: Measurement, served: bool) -> str:
    status = "served" if served else measurement.refused or "kept as an alternative"
    return (
        f"{measurement.target}: {measurement.bytes / 1e6:,.1f} MB, {measurement.texts_per_second:,.0f} texts/s, "
        f"F1 {measurement.f1} ({measurement.f1_difference.value:+.4f}) and agreement {measurement.agreement:.4f} on "
        f"the {measurement.split} split, {measurement.peak_memory / 1e6:,.0f} MB resident: {status}"
    )
