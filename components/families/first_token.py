"""The last layer of an encoder computed for the first token alone, since the head reads no other.

It saves the query, the output and the feed-forward part of that layer for all other tokens: of six layers a seventh of
the work. The pretrained weights stay as they are, and so do the answers.
"""

from typing import Any

import torch
from torch import nn
from torch.nn.functional import scaled_dot_product_attention


def read_first_token(model: Any) -> None:
    """Change ``model``, a sequence classifier of BERT's or DistilBERT's kind, to be exported."""
    backbone = model.base_model
    layers = backbone.transformer.layer if hasattr(backbone, "transformer") else backbone.encoder.layer
    layers[-1] = (_DistilBertLayer if hasattr(backbone, "transformer") else _BertLayer)(layers[-1])


class _BertLayer(nn.Module):
    """Devlin et al. (NAACL 2019); RoBERTa's layers are the same."""

    def __init__(self, layer: Any) -> None:
        super().__init__()
        self.layer = layer

    def forward(
        self, hidden_states: torch.Tensor, attention_mask: torch.Tensor | None = None, *_: Any, **__: Any
    ) -> Any:
        """State (rows, 1, hidden) of the first token from those of all (rows, tokens, hidden)."""
        first, attention = hidden_states[:, :1], self.layer.attention
        query, key, value = (
            attention.self.query(first),
            attention.self.key(hidden_states),
            attention.self.value(hidden_states),
        )
        context = _attend(query, key, value, attention.self.num_attention_heads, attention_mask)
        return self.layer.feed_forward_chunk(attention.output(context, first))


class _DistilBertLayer(nn.Module):
    """Sanh et al. (2019)."""

    def __init__(self, layer: Any) -> None:
        super().__init__()
        self.layer = layer

    def forward(
        self, hidden_states: torch.Tensor, attention_mask: torch.Tensor | None = None, *_: Any, **__: Any
    ) -> Any:
        """See ``_BertLayer.forward``."""
        first, attention = hidden_states[:, :1], self.layer.attention
        query, key, value = attention.q_lin(first), attention.k_lin(hidden_states), attention.v_lin(hidden_states)
        context = _attend(query, key, value, attention.n_heads, attention_mask)
        attended = self.layer.sa_layer_norm(attention.out_lin(context) + first)
        return self.layer.output_layer_norm(self.layer.ffn(attended) + attended)


def _attend(
    query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, heads: int, mask: torch.Tensor | None
) -> torch.Tensor:
    rows = query.shape[0]
    query, key, value = (
        states.view(rows, -1, heads, states.shape[-1] // heads).transpose(1, 2) for states in (query, key, value)
    )
    context = scaled_dot_product_attention(query, key, value, attn_mask=None if mask is None else mask[:, :, :1])
    return context.transpose(1, 2).reshape(rows, 1, -1)
