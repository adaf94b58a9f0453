"""Compatibility shim: base models with their own code, written for transformers 4, on transformers 5.

Without it stella_en_400M_v5 loads without a warning, but its table of rotary positions is uninitialized memory.
"""

from typing import Any

import torch
from accelerate import init_empty_weights
from transformers import PreTrainedModel
from transformers.initialization import no_init_weights


def patch_remote_code(model: Any) -> None:
    """Restore in place what a loaded model of remote code lacks on transformers 5. Other models are not changed."""
    if not model.is_remote_code():
        return
    # transformers 5 builds models on the meta device and fills only the tensors that the weights files hold. Buffers
    # that are not stored stay unset, so they are copied from a model that is built with real buffers.
    with no_init_weights(), init_empty_weights(include_buffers=False):
        built = type(model)(model.config)
    with torch.no_grad():
        for name, buffer in model.named_non_persistent_buffers():
            buffer.copy_(built.get_buffer(name))
    for module in model.modules():
        if isinstance(module, PreTrainedModel) and not hasattr(module, "get_extended_attention_mask"):
            type(module).get_extended_attention_mask = _extended_attention_mask


def _extended_attention_mask(self: Any, attention_mask: torch.Tensor, *_: Any) -> torch.Tensor:
    """Return a mask (batch, tokens) of 1 and 0 as the addend (batch, 1, 1, tokens) of the attention scores."""
    mask = attention_mask[:, None, None, :].to(self.dtype)
    return (1 - mask) * torch.finfo(self.dtype).min
