"""Turn a bundle into the one that would be served: make every target, measure each, serve the best that keeps F1."""

import shutil
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import cast

from textgate.components.contracts import Calibration, Dataset, Evaluation, Export, ModelBundle, OnnxRuntime, new_folder
from textgate.components.contracts.bundle import MANIFEST
from textgate.components.contracts.measurement import Measurement, Measurements
from textgate.components.export_onnx.calibrate import calibrate
from textgate.components.export_onnx.measure import choose, measure_cost, measure_quality
from textgate.components.families import family
from textgate.serving import load

_KEPT = (0.0, 0.05, 0.15, 0.3)
"""Shares of the matrix products that 8 bits may spare, tried in turn while F1 is lost."""
_TEXTS_LOOKED_AT = 16


def export_bundle(
    bundle_folder: Path, dataset_folder: Path, trained: Path, settings: Export, output: Path
) -> tuple[ModelBundle, Measurements]:
    """Write the served bundle to ``output``; the targets that are not served lie in it beside the one that is.

    ``trained`` is the evaluation of the trained bundle, which every target is compared to. Of a family that is served
    as it is, the files stay the same.

    Raises:
        InputError: the bundle is damaged, or its answers cannot be given the threshold asked for.
    """
    bundle = ModelBundle.load(bundle_folder)
    dataset, reference = Dataset.open(dataset_folder), Evaluation.open(trained)
    recipe = {**bundle.recipe, "export": settings.model_dump(mode="json")}
    plain = bundle.model_copy(update={"recipe": recipe, "calibration": Calibration()})
    with new_folder(output) as folder, tempfile.TemporaryDirectory() as temporary:
        scratch = Path(temporary)
        exported = family(bundle.family).export(bundle_folder, bundle, scratch)
        if exported is None:
            print(f"nothing to export: a {bundle.family} bundle is served as it is", flush=True)
            shutil.copytree(bundle_folder, folder, dirs_exist_ok=True, ignore=shutil.ignore_patterns(MANIFEST))
            served = plain.write(folder)
            quality = measure_quality(folder, served, served.runtime.name, reference, settings)
            chosen = measure_cost(folder, served, quality)
            measured = [chosen]
        else:
            maker = _Maker(scratch, plain, *exported, dataset, reference, settings)
            measured = [maker.make(target) for target in settings.targets]
            chosen = choose(measured)
            served = _together(scratch, settings.targets, chosen.target, folder)
        calibration = calibrate(load(folder), dataset, settings)
        served = served.model_copy(update={"calibration": calibration}).write(folder)
    for measurement in measured:
        print(_line(measurement, served=measurement is chosen), flush=True)
    return served, Measurements(served=chosen.target, max_f1_loss=settings.max_f1_loss, targets=measured)


@dataclass(frozen=True)
class _Maker:
    """Makes targets of the full-precision graph in ``scratch``, each a bundle in a folder of its own there."""

    scratch: Path
    bundle: ModelBundle
    runtime: OnnxRuntime
    unrounded: list[str]
    dataset: Dataset
    trained: Evaluation
    settings: Export

    def make(self, target: str) -> Measurement:
        """Make and measure one; 8 bits spare ever more of the layers they distort most, while F1 is lost."""
        folder = self.scratch / target
        sensitive: list[str] = []
        for share in _KEPT if target == "onnx-int8" else _KEPT[:1]:
            if share and not sensitive:
                sensitive = self._sensitive()
            made = self._write(target, folder, sensitive[: round(share * len(sensitive))])
            quality = measure_quality(folder, made, target, self.trained, self.settings)
            if quality.refused is None:
                break
            print(f"{quality.refused}{f', {share:.0%} of its products kept in full' if share else ''}", flush=True)
        return measure_cost(folder, made, quality)

    def _write(self, target: str, folder: Path, spared: list[str]) -> ModelBundle:
        from textgate.components.export_onnx.targets import make_target
        from textgate.serving.onnx import TOKENIZER

        print(f"making {target}", flush=True)
        shutil.rmtree(folder, ignore_errors=True)
        make_target(target, self.scratch / self.runtime.graph, folder / self.runtime.graph, [*self.unrounded, *spared])
        shutil.copy(self.scratch / TOKENIZER, folder)
        runtime = self.runtime.model_copy(update={"precision": target.removeprefix("onnx-"), "kept": len(spared)})
        return self.bundle.model_copy(update={"runtime": runtime}).write(folder)

    def _sensitive(self) -> list[str]:
        from textgate.components.export_onnx.sensitivity import sensitive_products
        from textgate.serving.onnx import OnnxPredictor

        _, texts, _ = self.dataset.columns("validation")
        predictor = OnnxPredictor(self.scratch, self.bundle.normalizer, self.runtime, threads=0)
        inputs = [inputs for _, inputs in predictor.batches(texts[:_TEXTS_LOOKED_AT])]
        return sensitive_products(self.scratch / self.runtime.graph, inputs)


def _together(scratch: Path, targets: Sequence[str], chosen: str, folder: Path) -> ModelBundle:
    """Write one bundle of those in ``scratch`` to ``folder``: a folder for each graph, the tokenizer for all."""
    from textgate.serving.onnx import TOKENIZER

    runtimes: dict[str, OnnxRuntime] = {}
    for target in targets:
        made = ModelBundle.load(scratch / target)
        (folder / target).mkdir()
        for name in made.files.keys() - {TOKENIZER}:
            shutil.move(scratch / target / name, folder / target / name)
        made_runtime = cast(OnnxRuntime, made.runtime)
        runtimes[target] = made_runtime.model_copy(update={"graph": f"{target}/{made_runtime.graph}"})
    shutil.copy(scratch / TOKENIZER, folder)
    runtime = runtimes.pop(chosen)
    return made.model_copy(update={"runtime": runtime, "alternatives": runtimes}).write(folder)


def _line(found: Measurement, served: bool) -> str:
    state = "served" if served else found.refused or "kept beside it"
    return (
        f"{found.target}: {found.bytes / 1e6:,.1f} MB, {found.texts_per_second:,.0f} texts/s, F1 {found.f1} "
        f"({found.f1_difference.value:+.4f}), agreement {found.agreement:.4f}, {found.peak_memory / 1e6:,.0f} MB "
        f"resident: {state}"
    )
