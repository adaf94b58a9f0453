"""Classification heads that read the last token: decoders and T5."""

from typing import Any

import torch
from transformers.modeling_outputs import SequenceClassifierOutput


def pool_last_token(model: Any) -> None:
    """Replace ``model.forward`` so that the head reads the last token with an attention mask of 1.

    transformers looks for the last id that is not the padding id, or for T5's end-of-sequence id. It reads the wrong
    position when a text itself contains that id, or when the batch is padded with another id.

    Args:
        model: Sequence classification model with a ``score`` (decoder) or ``classification_head`` (T5) module.
    """

    def forward(
        input_ids: torch.Tensor, attention_mask: torch.Tensor, labels: torch.Tensor | None = None, **_: Any
    ) -> SequenceClassifierOutput:
        decoder = {"decoder_input_ids": model._shift_right(input_ids)} if model.config.is_encoder_decoder else {}
        backbone = getattr(model, model.base_model_prefix)
        states = backbone(input_ids, attention_mask=attention_mask, use_cache=False, **decoder).last_hidden_state
        last = states[torch.arange(states.shape[0], device=states.device), attention_mask.sum(dim=1) - 1]
        head = model.classification_head if model.config.is_encoder_decoder else model.score
        # With adapters the head is float32, whatever the dtype of the base.
        return SequenceClassifierOutput(logits=head(last.to(next(head.parameters()).dtype)))

    model.forward = forward
