"""Classifier with attention pooling and a linear layer in place of the architecture's own head."""

from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file
from torch import nn
from transformers.modeling_outputs import SequenceClassifierOutput

from textgate.components.families.transformer.model.pooling import AttentionPooling

HEAD_MODULES = ("pooling", "classifier")
HEAD_FILE = "head.safetensors"


class PooledClassifier(nn.Module):
    """Backbone, attention pooling (batch, tokens, hidden) → (batch, hidden), and a linear layer to logits."""

    def __init__(self, backbone: Any, labels: list[str]) -> None:
        super().__init__()
        self.backbone = backbone
        self.pooling = AttentionPooling(backbone.config.hidden_size)
        self.classifier = nn.Linear(backbone.config.hidden_size, len(labels))
        self.config = backbone.config
        self.config.num_labels = len(labels)

    def forward(
        self, input_ids: torch.Tensor, attention_mask: torch.Tensor, labels: torch.Tensor | None = None, **others: Any
    ) -> SequenceClassifierOutput:
        """Return the logits (batch, labels) of a padded batch.

        ``labels`` is accepted because the Trainer passes it, and ignored.
        """
        states = self.backbone(input_ids=input_ids, attention_mask=attention_mask, **others).last_hidden_state
        pooled = self.pooling(states.to(self.classifier.weight.dtype), attention_mask)
        return SequenceClassifierOutput(logits=self.classifier(pooled))

    @property
    def device(self) -> torch.device:
        """Device of the head."""
        return self.classifier.weight.device

    @property
    def is_quantized(self) -> bool:
        """True if the backbone is quantized."""
        return bool(getattr(self.backbone, "is_quantized", False))

    @property
    def hf_quantizer(self) -> Any:
        """Quantizer of the backbone. The Trainer checks whether it supports training."""
        return getattr(self.backbone, "hf_quantizer", None)

    def gradient_checkpointing_enable(self, **options: Any) -> None:
        """See ``transformers.PreTrainedModel.gradient_checkpointing_enable``."""
        self.backbone.gradient_checkpointing_enable(**options)

    def enable_input_require_grads(self) -> None:
        """See ``transformers.PreTrainedModel.enable_input_require_grads``."""
        self.backbone.enable_input_require_grads()

    def save_pretrained(self, folder: Path) -> None:
        """Write the backbone as a base model to ``folder``, and the head to ``HEAD_FILE``."""
        self.backbone.save_pretrained(folder)
        head = {name: weight for name, weight in self.state_dict().items() if not name.startswith("backbone.")}
        save_file({name: weight.contiguous() for name, weight in head.items()}, folder / HEAD_FILE)

    def load_head(self, folder: Path) -> None:
        """Load the head that ``save_pretrained`` wrote to ``folder``."""
        self.load_state_dict(load_file(folder / HEAD_FILE), strict=False)
