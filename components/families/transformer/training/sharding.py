"""Fully sharded training: weights, gradients and optimizer state are spread over the devices (FSDP2, by accelerate).

Zhao et al., PyTorch FSDP (VLDB 2023); docs.pytorch.org, "Getting Started with Fully Sharded Data Parallel (FSDP2)".
"""

from typing import Any

import torch
from torch.distributed.tensor import DTensor

from textgate.components.contracts import FineTuning
from textgate.components.families.distributed import world_size


def fsdp_options(model: Any, training: FineTuning) -> dict[str, Any]:
    """Return the FSDP options of ``TrainingArguments``; empty without ``train.fsdp`` or with a single process.

    Transformer layers are gathered one at a time. Checkpoints contain the full weights.
    """
    if not training.fsdp or world_size() == 1:
        return {}
    wrapping = {"auto_wrap_policy": "TRANSFORMER_BASED_WRAP", "transformer_layer_cls_to_wrap": _layer_classes(model)}
    return {"fsdp": True, "fsdp_config": {"version": 2, "state_dict_type": "FULL_STATE_DICT", **wrapping}}


def _layer_classes(model: Any) -> list[str]:
    """Return the class names of the transformer's layers.

    ``_no_split_modules`` of BERT and related models also names the embeddings. accelerate shards embeddings separately
    and fails if they are wrapped twice, so they are left out.
    """
    names = {name for module in model.modules() for name in getattr(module, "_no_split_modules", None) or ()}
    layers = [module for module in model.modules() if type(module).__name__ in names]
    return sorted(
        {
            type(layer).__name__
            for layer in layers
            if not any(isinstance(module, torch.nn.Embedding) for module in layer.modules())
        }
    )


def full_state_dict(model: Any) -> dict[str, torch.Tensor]:
    """Return the weights of a sharded model, gathered on the CPU; empty if the model is not sharded."""
    state = model.state_dict()
    if not any(isinstance(value, DTensor) for value in state.values()):
        return {}
    return {name: (value.full_tensor() if isinstance(value, DTensor) else value).cpu() for name, value in state.items()}
