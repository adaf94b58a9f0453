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
    backbone.register_forward_pre_hook(_spread_mask, with_kwargs=True)


def _spread_mask(_: nn.Module, arguments: tuple[Any, ...], named: dict[str, Any]) -> tuple[Any, dict[str, Any]]:
    """Give the layers the mask (rows, 1, tokens, tokens) they take; transformers would gather it number by number."""
    mask = named["attention_mask"].bool()
    return arguments, {**named, "attention_mask": mask[:, None, None].expand(-1, -1, mask.shape[1], -1)}


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
        inner = attention.self
        projections = inner.query, inner.key, inner.value
        context = _attend(projections, hidden_states, inner.num_attention_heads, attention_mask)
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
        projections = attention.q_lin, attention.k_lin, attention.v_lin
        context = _attend(projections, hidden_states, attention.n_heads, attention_mask)
        attended = self.layer.sa_layer_norm(attention.out_lin(context) + first)
        return self.layer.output_layer_norm(self.layer.ffn(attended) + attended)


def _attend(projections: tuple[Any, Any, Any], states: torch.Tensor, heads: int, mask: torch.Tensor | None) -> Any:
    """What the first token (rows, 1, hidden) gathers from all; ``projections`` are to query, key and value."""
    rows = states.shape[0]
    query, key, value = (
        project(seen).view(rows, -1, heads, states.shape[-1] // heads).transpose(1, 2)
        for project, seen in zip(projections, (states[:, :1], states, states), strict=True)
    )
    context = scaled_dot_product_attention(query, key, value, attn_mask=None if mask is None else mask[:, :, :1])
    return context.transpose(1, 2).reshape(rows, 1, -1)
