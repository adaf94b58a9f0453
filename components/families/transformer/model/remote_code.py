"""Models whose code lies in their base model and was written for transformers 4, on transformers 5.

Without this stella_en_400M_v5 loads in silence, and then turns its positions by whatever lay in the memory.
"""

from typing import Any

import torch
from accelerate import init_empty_weights
from transformers import PreTrainedModel
from transformers.initialization import no_init_weights


def adapt(model: Any) -> None:
    """Give a loaded model of remote code what transformers 5 took from it, in place."""
    if not model.is_remote_code():
        return
    # Models are built without memory now, so that tables made on the way, which no checkpoint holds, are left unset.
    with no_init_weights(), init_empty_weights(include_buffers=False):
        built = type(model)(model.config)
    with torch.no_grad():
        for name, buffer in model.named_non_persistent_buffers():
            buffer.copy_(built.get_buffer(name))
    for module in model.modules():
        if isinstance(module, PreTrainedModel) and not hasattr(module, "get_extended_attention_mask"):
            type(module).get_extended_attention_mask = _extended_attention_mask


def _extended_attention_mask(self: Any, attention_mask: torch.Tensor, *_: Any) -> torch.Tensor:
    """A mask (rows, tokens) of 1 and 0 as what is added to attention scores (rows, heads, tokens, tokens)."""
    kept = attention_mask[:, None, None, :].to(self.dtype)
    return (1 - kept) * torch.finfo(self.dtype).min
