"""The loss of a fine-tuned classifier, over a whole update however many batches it was cut into."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from torch.nn.functional import cross_entropy

from textgate.components.contracts import FineTuning, TransformerTraining
from textgate.components.families.transformer.training.distillation import divergence

Loss = Callable[..., torch.Tensor]


def update_loss(training: FineTuning, classes: Sequence[int], labels: int) -> Loss:
    """Cross-entropy, and with a teacher the weighted sum of it and the divergence from the teacher.

    ``classes`` are those of the training texts, of ``labels`` that there are: ``class_weights: balanced`` is
    n / (labels x count), as in scikit-learn's ``compute_class_weight``.
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
        # Validation texts have no teacher.
        if distillation and teacher is not None:
            learned = divergence(logits, teacher, distillation.temperature)
            total = (1 - distillation.weight) * total + distillation.weight * learned
        return total / (len(target) if num_items_in_batch is None else num_items_in_batch)

    return loss
