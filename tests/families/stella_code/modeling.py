"""Remote code of the tiny stella model.

Modules, weights and the use of transformers are those of the real code: rotary tables in non-persistent buffers, a mask
from ``get_extended_attention_mask``, which transformers 5 removed, and attention kernels of xformers unless the
configuration disables them.
"""

from typing import Any

import torch
from torch import nn
from torch.nn.functional import gelu
from transformers import PreTrainedModel
from transformers.modeling_outputs import BaseModelOutputWithPooling

from .configuration import NewConfig


class RotaryEmbedding(nn.Module):
    def __init__(self, config: NewConfig) -> None:
        super().__init__()
        size, factor = config.hidden_size // config.num_attention_heads, config.rope_scaling["factor"]
        exponents = torch.arange(0, size, 2).float() / size
        frequencies = (config.rope_theta * factor) ** -exponents / factor ** (2 / size)
        self.register_buffer("inv_freq", frequencies, persistent=False)
        self._tabulate(config.max_position_embeddings)

    def _tabulate(self, longest: int) -> None:
        self.longest = longest
        angles = torch.outer(torch.arange(longest, device=self.inv_freq.device).float(), self.inv_freq).repeat(1, 2)
        self.register_buffer("cos_cached", angles.cos(), persistent=False)
        self.register_buffer("sin_cached", angles.sin(), persistent=False)

    def forward(self, tokens: int) -> tuple[torch.Tensor, torch.Tensor]:
        if tokens > self.longest:
            self._tabulate(tokens)
        return self.cos_cached[:tokens], self.sin_cached[:tokens]


class NewEmbeddings(nn.Module):
    def __init__(self, config: NewConfig) -> None:
        super().__init__()
        self.word_embeddings = nn.Embedding(config.vocab_size, config.hidden_size, padding_idx=config.pad_token_id)
        self.rotary_emb = RotaryEmbedding(config)
        self.token_type_embeddings = nn.Embedding(config.type_vocab_size, config.hidden_size)
        self.LayerNorm = nn.LayerNorm(config.hidden_size, eps=config.layer_norm_eps)
        self.dropout = nn.Dropout(config.hidden_dropout_prob)
        self.register_buffer("position_ids", torch.arange(config.max_position_embeddings), persistent=False)

    def forward(
        self, input_ids: torch.Tensor, token_type_ids: torch.Tensor | None
    ) -> tuple[torch.Tensor, tuple[torch.Tensor, torch.Tensor]]:
        rows, tokens = input_ids.shape
        positions = self.position_ids[:tokens].expand(rows, -1)
        cosines, sines = (table[positions].unsqueeze(2) for table in self.rotary_emb(tokens))
        if token_type_ids is None:
            token_type_ids = positions.mul(0)
        embeddings = self.word_embeddings(input_ids) + self.token_type_embeddings(token_type_ids)
        return self.dropout(self.LayerNorm(embeddings)), (cosines, sines)


class NewAttention(nn.Module):
    def __init__(self, config: NewConfig) -> None:
        super().__init__()
        assert not config.use_memory_efficient_attention, "please install xformers"
        self.shape = (config.num_attention_heads, config.hidden_size // config.num_attention_heads)
        self.qkv_proj = nn.Linear(config.hidden_size, 3 * config.hidden_size)
        self.o_proj = nn.Linear(config.hidden_size, config.hidden_size)

    def forward(
        self, states: torch.Tensor, bias: torch.Tensor, rotation: tuple[torch.Tensor, torch.Tensor]
    ) -> torch.Tensor:
        query, key, value = (part.unflatten(-1, self.shape) for part in self.qkv_proj(states).chunk(3, dim=-1))
        query, key, value = (
            part.transpose(1, 2) for part in (_rotated(query, *rotation), _rotated(key, *rotation), value)
        )
        scores = query @ key.transpose(-1, -2) / self.shape[1] ** 0.5 + bias
        return self.o_proj((scores.softmax(dim=-1) @ value).transpose(1, 2).flatten(2))


def _rotated(states: torch.Tensor, cosines: torch.Tensor, sines: torch.Tensor) -> torch.Tensor:
    first, second = states.chunk(2, dim=-1)
    return states * cosines.to(states.dtype) + torch.cat((-second, first), dim=-1) * sines.to(states.dtype)


class NewGatedMLP(nn.Module):
    def __init__(self, config: NewConfig) -> None:
        super().__init__()
        self.up_gate_proj = nn.Linear(config.hidden_size, 2 * config.intermediate_size, bias=False)
        self.down_proj = nn.Linear(config.intermediate_size, config.hidden_size)

    def forward(self, states: torch.Tensor) -> torch.Tensor:
        up, gate = self.up_gate_proj(states).chunk(2, dim=-1)
        return self.down_proj(gelu(gate) * up)


class NewLayer(nn.Module):
    def __init__(self, config: NewConfig) -> None:
        super().__init__()
        self.attention = NewAttention(config)
        self.mlp = NewGatedMLP(config)
        self.attn_ln = nn.LayerNorm(config.hidden_size, eps=config.layer_norm_eps)
        self.mlp_ln = nn.LayerNorm(config.hidden_size, eps=config.layer_norm_eps)
        self.hidden_dropout = nn.Dropout(config.hidden_dropout_prob)

    def forward(
        self, states: torch.Tensor, bias: torch.Tensor, rotation: tuple[torch.Tensor, torch.Tensor]
    ) -> torch.Tensor:
        states = self.attn_ln(states + self.hidden_dropout(self.attention(states, bias, rotation)))
        return self.mlp_ln(states + self.hidden_dropout(self.mlp(states)))


class NewEncoder(nn.Module):
    def __init__(self, config: NewConfig) -> None:
        super().__init__()
        self.layer = nn.ModuleList(NewLayer(config) for _ in range(config.num_hidden_layers))
        self.gradient_checkpointing = False

    def forward(
        self, states: torch.Tensor, bias: torch.Tensor, rotation: tuple[torch.Tensor, torch.Tensor]
    ) -> torch.Tensor:
        for layer in self.layer:
            if self.gradient_checkpointing and self.training:
                states = self._gradient_checkpointing_func(layer.__call__, states, bias, rotation)
            else:
                states = layer(states, bias, rotation)
        return states


class NewModel(PreTrainedModel):
    config_class = NewConfig
    base_model_prefix = "new"
    supports_gradient_checkpointing = True

    def __init__(self, config: NewConfig) -> None:
        super().__init__(config)
        self.embeddings = NewEmbeddings(config)
        self.encoder = NewEncoder(config)
        self.post_init()

    def get_input_embeddings(self) -> nn.Embedding:
        return self.embeddings.word_embeddings

    def forward(
        self,
        input_ids: torch.Tensor,
        attention_mask: torch.Tensor | None = None,
        token_type_ids: torch.Tensor | None = None,
        **others: Any,
    ) -> BaseModelOutputWithPooling:
        assert not self.config.unpad_inputs, "unpad only with xformers"
        if attention_mask is None:
            attention_mask = torch.ones_like(input_ids)
        embeddings, rotation = self.embeddings(input_ids, token_type_ids)
        bias = self.get_extended_attention_mask(attention_mask, input_ids.shape)
        return BaseModelOutputWithPooling(last_hidden_state=self.encoder(embeddings, bias, rotation))
