"""What has to be known of each transformer architecture to fine-tune it: one row a model type.

A head that is not named here fails silently: PEFT and bitsandbytes look for ``score`` and ``classifier`` only, so that
T5's would be quantized to 4 bits and stay as it was initialised.
"""

from dataclasses import dataclass, field
from typing import Any

import torch
from transformers.modeling_outputs import SequenceClassifierOutput

from textgate.components.contracts import InputError


@dataclass(frozen=True)
class Architecture:
    """One row of the table."""

    targets: tuple[str, ...]
    """Linear layers that get an adapter unless the recipe names others."""
    head: tuple[str, ...]
    """Modules of the classification head: trained whole beside an adapter, and never quantized."""
    options: dict[str, Any] = field(default_factory=dict)
    """Values of the configuration that differ from the base model's."""
    last_token: bool = False
    """The head reads the state of the last token, since only that has seen all others."""
    first_token: bool = False
    """The head reads the state of the first token; and torch.onnx.export makes one operator of each layer's attention,
    where of others it makes matrix products and a softmax."""


# Dropout inside attention costs a random number for every pair of tokens and keeps the fused kernel away.
_BERT = Architecture(
    ("query", "key", "value"), ("classifier",), {"attention_probs_dropout_prob": 0.0}, first_token=True
)
_DECODER = Architecture(
    ("q_proj", "k_proj", "v_proj", "o_proj"), ("score",), {"attention_dropout": 0.0}, last_token=True
)
ARCHITECTURES = {
    "bert": _BERT,
    "distilbert": Architecture(
        ("q_lin", "k_lin", "v_lin", "out_lin"),
        ("pre_classifier", "classifier"),
        {"attention_dropout": 0.0},
        first_token=True,
    ),
    "gemma": _DECODER,
    "llama": _DECODER,
    "mistral": _DECODER,
    "modernbert": Architecture(("Wqkv", "Wo"), ("head", "classifier"), {"attention_dropout": 0.0}),
    # stella_en_400M_v5 and gte-v1.5; memory-efficient attention and unpadding need kernels that only a GPU has.
    "new": Architecture(
        ("qkv_proj", "o_proj"),
        ("classifier",),
        {"attention_probs_dropout_prob": 0.0, "use_memory_efficient_attention": False, "unpad_inputs": False},
    ),
    "qwen2": _DECODER,
    "qwen3": _DECODER,
    "roberta": _BERT,
    "t5": Architecture(("q", "k", "v", "o"), ("classification_head",), last_token=True),
    "xlm-roberta": _BERT,
}


def export_options(model_type: str) -> dict[str, str]:
    """Options of ``from_pretrained`` for a model that is to be exported."""
    known = ARCHITECTURES.get(model_type)
    return {"attn_implementation": "sdpa" if known and known.first_token else "eager"}


def architecture_of(model_type: str) -> Architecture:
    """The row of a model type.

    Raises:
        InputError: it has none.
    """
    try:
        return ARCHITECTURES[model_type]
    except KeyError as error:
        raise InputError(
            f"the architecture {model_type!r} cannot be fine-tuned here: {', '.join(ARCHITECTURES)} are known"
        ) from error


def read_last_token(model: Any) -> None:
    """Make a sequence classification model read each text's last token by the attention mask.

    transformers looks for the last id that is not the padding's, or for T5's end of text: a text that holds either, and
    a padding that is written otherwise, would be read at the wrong place.
    """

    def forward(
        input_ids: torch.Tensor, attention_mask: torch.Tensor, labels: torch.Tensor | None = None, **_: Any
    ) -> SequenceClassifierOutput:
        decoder = {"decoder_input_ids": model._shift_right(input_ids)} if model.config.is_encoder_decoder else {}
        backbone = getattr(model, model.base_model_prefix)
        states = backbone(input_ids, attention_mask=attention_mask, use_cache=False, **decoder).last_hidden_state
        last = states[torch.arange(states.shape[0], device=states.device), attention_mask.sum(dim=1) - 1]
        head = model.classification_head if model.config.is_encoder_decoder else model.score
        # Adapters keep their heads in float32 whatever the base computes in.
        return SequenceClassifierOutput(logits=head(last.to(next(head.parameters()).dtype)))

    model.forward = forward
