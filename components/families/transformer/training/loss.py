"""Loss of a fine-tuned classifier, normalized by the texts of an optimizer update rather than of a micro-batch."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from torch.nn.functional import cross_entropy

from textgate.components.contracts import FineTuning, TransformerTraining
from textgate.components.families.transformer.training.distillation import distillation_loss

Loss = Callable[..., torch.Tensor]
"""A ``compute_loss_func`` of ``transformers.Trainer`` that also takes ``teacher`` probabilities."""


def build_loss(training: FineTuning, classes: Sequence[int], labels: int) -> Loss:
    """Return the loss: cross-entropy, or with a teacher the weighted sum of cross-entropy and distillation loss.

    With ``class_weights: balanced`` the weight of a class is n / (labels · count), as in scikit-learn's
    ``compute_class_weight``.

    Args:
        training: The recipe's training section.
        classes: Class indices of the training texts.
        labels: Number of classes.
    """
    weights = None
    if training.class_weights:
        counts = np.bincount(classes, minlength=labels)
        weights = torch.tensor(len(classes) / (labels * np.maximum(counts, 1)), dtype=torch.float32)
    distillation = training.distillation if isinstance(training, TransformerTraining) else None

    def loss(
        outputs: Any, target: torch.Tensor, num_items_in_batch: Any = None, teacher: torch.Tensor | None = None
    ) -> torch.Tensor:
        logits = outputs["logits"].float()
        weight = None if weights is None else weights.to(logits.device)
        total = cross_entropy(logits, target, weight, reduction="sum", label_smoothing=training.label_smoothing)
        # There are no teacher probabilities for validation texts.
        if distillation and teacher is not None:
            soft = distillation_loss(logits, teacher, distillation.temperature)
            total = (1 - distillation.weight) * total + distillation.weight * soft
        return total / (len(target) if num_items_in_batch is None else num_items_in_batch)

    return loss
