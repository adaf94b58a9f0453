"""The recipe's section ``export``: export formats of the trained model, and the accuracy that they may lose."""

from typing import Literal

from pydantic import Field, field_validator, model_validator

from textgate.components.contracts.export_target import EXPORT_TARGETS, ExportTargetName
from textgate.components.contracts.recipe.section import RecipeSection


class Export(RecipeSection):
    """Export targets and the limits that a target must keep to be served."""

    targets: list[ExportTargetName] = Field(default=["onnx-int8", "onnx-fp32"], min_length=1)
    """Formats to export and measure; ignored by families that are served from plain arrays (linear, word2vec). Of the
    ONNX targets within the limits below, the fastest is served, or the smaller of two that are about equally fast. A
    Hugging Face folder (``hf``, or ``hf-nf4`` with 4-bit weights) is served only if no ONNX target is within the
    limits, and then by a runtime such as vLLM."""
    max_f1_loss: float = Field(default=0.01, ge=0, le=1)
    """Largest allowed loss of F1 from the trained model to the served one (0.01 is one point). The target is chosen on
    the validation split; the second gate requires the same of the chosen one on the test split."""
    min_agreement: float = Field(default=0.95, ge=0, le=1)
    """Smallest allowed share of texts for which the served model predicts the same class as the trained model, on the
    same splits."""
    threshold: Literal["f1", "precision"] | None = None
    """Rule that sets the decision threshold on the probability of the second label of a binary task, chosen on the
    validation split. ``f1`` maximizes F1, and is kept if its gain over 0.5 is larger than chance (cross-validation).
    ``precision`` takes the lowest threshold that has ``min_precision`` with 95 % confidence; if there is none, the
    second gate rejects the model. By default the more probable label is predicted."""
    min_precision: float | None = Field(default=None, gt=0, le=1)
    """Precision of the second label that ``threshold: precision`` promises. The second gate rejects a model that does
    not reach it on the test split."""

    @field_validator("targets")
    @classmethod
    def _each_once(cls, value: list[str]) -> list[str]:
        if len(set(value)) < len(value):
            raise ValueError("a target is named twice")
        return value

    @model_validator(mode="after")
    def _precision_goes_with_its_threshold(self) -> "Export":
        if (self.threshold == "precision") != (self.min_precision is not None):
            raise ValueError("threshold: precision and min_precision go together: give both or neither")
        return self

    @property
    def needs_torch(self) -> bool:
        """Whether one of the targets predicts with torch."""
        return any(EXPORT_TARGETS[name].needs_torch for name in self.targets)
