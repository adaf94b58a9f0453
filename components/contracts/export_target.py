"""Export targets: the forms in which a trained transformer can be served."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

ExportTargetName = Literal["onnx-fp32", "onnx-fp16", "onnx-int8", "onnx-int4", "hf", "hf-nf4"]
Precision = Literal["fp32", "fp16", "int8", "int4", "nf4"]

PARITY_TOLERANCE: dict[Precision, float] = {"fp32": 0.01, "fp16": 0.02, "int8": 0.1, "int4": 0.1, "nf4": 0.1}
"""Largest mean absolute difference from the trained model's probabilities that each precision may cause."""


@dataclass(frozen=True)
class ExportTarget:
    """One form in which a trained transformer can be served: a runtime and the precision of its weights."""

    name: ExportTargetName
    """Name in recipes (``export.targets``), measurements and folders of a bundle."""
    runtime: Literal["onnx", "transformers"]
    """Name of the bundle runtime: an ONNX graph, or a Hugging Face folder."""
    precision: Precision
    """Number format of the weights."""

    @property
    def needs_torch(self) -> bool:
        """Whether it predicts with torch, and so outside this package's server and best on an accelerator."""
        return self.runtime == "transformers"

    @property
    def parity_tolerance(self) -> float:
        """Largest mean absolute difference from the trained model's probabilities that is allowed."""
        return PARITY_TOLERANCE[self.precision]


EXPORT_TARGETS: Mapping[str, ExportTarget] = {
    target.name: target
    for target in (
        ExportTarget("onnx-fp32", "onnx", "fp32"),
        ExportTarget("onnx-fp16", "onnx", "fp16"),
        ExportTarget("onnx-int8", "onnx", "int8"),
        ExportTarget("onnx-int4", "onnx", "int4"),
        ExportTarget("hf", "transformers", "fp32"),
        ExportTarget("hf-nf4", "transformers", "nf4"),
    )
}
"""Every export target by its name."""
