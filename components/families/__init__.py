"""Model families: linear, word2vec, embedding, transformer and ensemble, behind one protocol.

``FAMILIES`` maps the family's name in a recipe to a loader of its module; ``open_predictor`` opens any bundle.
"""

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
from textgate.components.families.validation import validation_metrics

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
    "open_predictor",
    "transformer_max_tokens",
    "validation_metrics",
]
