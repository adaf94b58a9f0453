"""A backbone, learned attention over its token states, and a linear head in place of the architecture's own."""

from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file
from torch import nn
from transformers.modeling_outputs import SequenceClassifierOutput

from textgate.components.families.transformer.model.pooling import AttentionPooling

HEAD = ("pooling", "classifier")
HEAD_FILE = "head.safetensors"


class PooledClassifier(nn.Module):
    """Token states (rows, tokens, hidden) weighted to (rows, hidden) and classified to logits (rows, labels)."""

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
        """Logits of a padded batch; ``labels`` are the training loop's and not looked at."""
        states = self.backbone(input_ids=input_ids, attention_mask=attention_mask, **others).last_hidden_state
        pooled = self.pooling(states.to(self.classifier.weight.dtype), attention_mask)
        return SequenceClassifierOutput(logits=self.classifier(pooled))

    @property
    def device(self) -> torch.device:
        """Where the head lies."""
        return self.classifier.weight.device

    @property
    def is_quantized(self) -> bool:
        """Whether the backbone is."""
        return bool(getattr(self.backbone, "is_quantized", False))

    @property
    def hf_quantizer(self) -> Any:
        """The backbone's quantizer, which the Trainer asks whether what is quantized can be trained on."""
        return getattr(self.backbone, "hf_quantizer", None)

    def gradient_checkpointing_enable(self, **options: Any) -> None:
        """See ``transformers.PreTrainedModel``."""
        self.backbone.gradient_checkpointing_enable(**options)

    def enable_input_require_grads(self) -> None:
        """See ``transformers.PreTrainedModel``."""
        self.backbone.enable_input_require_grads()

    def save_pretrained(self, folder: Path) -> None:
        """Write the backbone as a base model and the head beside it."""
        self.backbone.save_pretrained(folder)
        head = {name: weight for name, weight in self.state_dict().items() if not name.startswith("backbone.")}
        save_file({name: weight.contiguous() for name, weight in head.items()}, folder / HEAD_FILE)

    def load_head(self, folder: Path) -> None:
        """Take the head that ``save_pretrained`` wrote."""
        self.load_state_dict(load_file(folder / HEAD_FILE), strict=False)
