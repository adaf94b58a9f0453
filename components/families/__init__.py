"""Model families: what differs from one kind of model to another."""

from textgate.components.families.family import (
    Checkpoints,
    ExportableFamily,
    Family,
    FitResult,
    TrainingContext,
    custom_head_error,
    max_benchmark_tokens,
    transformer_max_tokens,
)
from textgate.components.families.registry import EXPORTABLE_FAMILIES, FAMILIES, open_predictor

__all__ = [
    "EXPORTABLE_FAMILIES",
    "FAMILIES",
    "Checkpoints",
    "ExportableFamily",
    "Family",
    "FitResult",
    "TrainingContext",
    "custom_head_error",
    "max_benchmark_tokens",
    "transformer_max_tokens",
    "open_predictor",
]
