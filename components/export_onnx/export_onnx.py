"""Turn a bundle into the one that would be served: make every target, measure each, serve the best that keeps F1."""

import shutil
import tempfile
from collections.abc import Sequence
from pathlib import Path

from textgate.components.contracts import Calibration, Dataset, Evaluation, Export, ModelBundle, new_folder
from textgate.components.contracts.bundle import EnsembleRuntime, LinearRuntime, OnnxRuntime, Runtime
from textgate.components.contracts.measurement import Measurement, Measurements
from textgate.components.export_onnx.calibrate import calibrate
from textgate.components.export_onnx.make import TargetExporter
from textgate.components.export_onnx.measure import choose, measure_cost, measure_quality
from textgate.components.families import open_predictor


def export_bundle(
    bundle_folder: Path, dataset_folder: Path, trained: Path, settings: Export, output: Path
) -> tuple[ModelBundle, Measurements]:
    """Write the served bundle to ``output``; the targets that are not served lie in it beside the one that is.

    ``trained`` is the evaluation of the trained bundle, which every target is compared to. Of a family that is served
    as it is, the files stay the same.

    Raises:
        InputError: the bundle is damaged, a target is not for its family, or its answers cannot be given the threshold
            asked for.
    """
    bundle = ModelBundle.load(bundle_folder)
    dataset, reference = Dataset.open(dataset_folder), Evaluation.open(trained)
    recipe = {**bundle.recipe, "export": settings.model_dump(mode="json")}
    plain = bundle.model_copy(update={"recipe": recipe, "calibration": Calibration()})
    with new_folder(output) as folder, tempfile.TemporaryDirectory() as temporary:
        scratch = Path(temporary)
        if isinstance(bundle.runtime, LinearRuntime | EnsembleRuntime):
            print(f"nothing to export: {bundle.family} bundles are served as they are", flush=True)
            shutil.copytree(bundle_folder, folder, dirs_exist_ok=True)
            served = plain.write(folder)
            quality = measure_quality(folder, served, served.runtime.name, reference, settings)
            chosen = measure_cost(folder, served, quality)
            measured = [chosen]
        else:
            maker = TargetExporter(bundle_folder, scratch, plain, dataset, settings)
            measured = []
            for target in settings.targets:
                made = maker.make(target)
                quality = measure_quality(scratch / target, made, target, reference, settings)
                measured.append(measure_cost(scratch / target, made, quality))
            chosen = choose(measured)
            served = _together(scratch, settings.targets, chosen.target, folder)
        calibration = calibrate(open_predictor(folder, served), dataset, settings)
        served = served.model_copy(update={"calibration": calibration}).write(folder)
    for measurement in measured:
        print(_line(measurement, served=measurement is chosen), flush=True)
    return served, Measurements(
        served=chosen.target,
        max_f1_loss=settings.max_f1_loss,
        min_agreement=settings.min_agreement,
        targets=measured,
    )


def _together(scratch: Path, targets: Sequence[str], chosen: str, folder: Path) -> ModelBundle:
    """Write one bundle of those in ``scratch`` to ``folder``: a folder for each, but one tokenizer for all graphs."""
    from textgate.components.inference.onnx import TOKENIZER

    runtimes: dict[str, Runtime] = {}
    for target in targets:
        made = ModelBundle.load(scratch / target)
        (folder / target).mkdir()
        for name in made.files:
            shared = isinstance(made.runtime, OnnxRuntime) and name == TOKENIZER
            shutil.move(scratch / target / name, folder / name if shared else folder / target / name)
        where = (
            {"graph": f"{target}/{made.runtime.graph}"} if isinstance(made.runtime, OnnxRuntime) else {"folder": target}
        )
        runtimes[target] = made.runtime.model_copy(update=where)
    runtime = runtimes.pop(chosen)
    return made.model_copy(update={"runtime": runtime, "alternatives": runtimes}).write(folder)


def _line(found: Measurement, served: bool) -> str:
    state = "served" if served else found.refused or "kept beside it"
    return (
        f"{found.target}: {found.bytes / 1e6:,.1f} MB, {found.texts_per_second:,.0f} texts/s, F1 {found.f1} "
        f"({found.f1_difference.value:+.4f}), agreement {found.agreement:.4f}, {found.peak_memory / 1e6:,.0f} MB "
        f"resident: {state}"
    )
