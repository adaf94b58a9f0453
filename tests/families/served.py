"""A trained bundle as it is served, for tests of what it answers."""

from collections.abc import Sequence
from pathlib import Path

from textgate.components.contracts import Export, ModelBundle
from textgate.components.evaluate.evaluate import evaluate_bundle
from textgate.components.export_onnx.export_onnx import export_bundle


def serve(dataset: Path, bundle: Path, output: Path, targets: Sequence[str] = ("onnx-fp32",)) -> ModelBundle:
    """Export the whole ``bundle`` in the given targets to ``output``."""
    judged = output.with_name(f"{output.name}-judged")
    evaluate_bundle(dataset, bundle, judged)
    served, _ = export_bundle(bundle, dataset, judged, Export.model_validate({"targets": list(targets)}), output)
    return served
