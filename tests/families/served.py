"""Export of a trained bundle to the form that is served, for tests of its predictions."""

from collections.abc import Sequence
from pathlib import Path

from textgate.components.contracts import Export, ModelBundle
from textgate.components.export_onnx.export_onnx import export_bundle


def serve(dataset: Path, bundle: Path, output: Path, targets: Sequence[str] = ("onnx-fp32",)) -> ModelBundle:
    """Export the merged ``bundle`` to ``output`` for the given export targets."""
    served, _ = export_bundle(bundle, dataset, Export.model_validate({"targets": list(targets)}), output)
    return served
