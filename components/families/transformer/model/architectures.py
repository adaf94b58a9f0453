"""Table of the supported transformer architectures: one row per ``model_type``.

Head modules that are not listed here would fail silently. PEFT and bitsandbytes only recognize the names ``score`` and
``classifier``, so the head of T5 would be quantized to 4 bits and keep its random initial weights.
"""

from dataclasses import dataclass, field
from typing import Any

from textgate.components.contracts import InputError


@dataclass(frozen=True)
class Architecture:
    """Settings for fine-tuning and exporting one architecture."""

    adapter_targets: tuple[str, ...]
    """Linear layers that get an adapter unless the recipe names others."""
    head_modules: tuple[str, ...]
    """Modules of the classification head. They are fully trained alongside an adapter and never quantized."""
    config_overrides: dict[str, Any] = field(default_factory=dict)
    """Values that replace those of the base model's configuration."""
    last_token: bool = False
    """True if the head reads the last token, the only one that attends to all others in a decoder."""
    first_token: bool = False
    """True if the head reads the first token. ``torch.onnx.export`` writes the attention of these architectures as one
    operator a layer, and that of the others as matrix products and a softmax."""


# Dropout inside attention draws a random number for every pair of tokens and rules out the fused kernel.
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
    # stella_en_400M_v5 and gte-v1.5. Their memory-efficient attention and unpadding need GPU kernels.
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
    """Return the options of ``from_pretrained`` for loading a model for ONNX export."""
    architecture = ARCHITECTURES.get(model_type)
    return {"attn_implementation": "sdpa" if architecture and architecture.first_token else "eager"}


def architecture_of(model_type: str) -> Architecture:
    """Return the settings for ``model_type``.

    Raises:
        InputError: If the architecture is not supported.
    """
    try:
        return ARCHITECTURES[model_type]
    except KeyError as error:
        raise InputError(
            f"the architecture {model_type!r} cannot be fine-tuned here: {', '.join(ARCHITECTURES)} are known"
        ) from error
