"""A model whose weights, gradients and optimizer's state are spread over the devices: FSDP2, through accelerate.

Zhao et al., PyTorch FSDP (VLDB 2023); docs.pytorch.org, "Getting Started with Fully Sharded Data Parallel (FSDP2)".
"""

from typing import Any

import torch

from textgate.components.contracts import FineTuning
from textgate.components.families.processes import process_count


def fsdp_options(model: Any, training: FineTuning) -> dict[str, Any]:
    """Arguments of ``TrainingArguments``; none where each process holds the whole model, as accelerate has it on CPUs.

    A layer of the transformer is gathered at a time. Checkpoints hold whole weights.
    """
    if not training.fsdp or process_count() == 1:
        return {}
    wrapping = {"auto_wrap_policy": "TRANSFORMER_BASED_WRAP", "transformer_layer_cls_to_wrap": _layers(model)}
    return {"fsdp": True, "fsdp_config": {"version": 2, "state_dict_type": "FULL_STATE_DICT", **wrapping}}


def _layers(model: Any) -> list[str]:
    """Names of the classes of the transformer's layers.

    BERT's kin count their embeddings among them, which accelerate shards by themselves, and cannot twice.
    """
    named = {name for part in model.modules() for name in getattr(part, "_no_split_modules", None) or ()}
    layers = [part for part in model.modules() if type(part).__name__ in named]
    return sorted(
        {
            type(part).__name__
            for part in layers
            if not any(isinstance(inner, torch.nn.Embedding) for inner in part.modules())
        }
    )


def whole_weights(model: Any) -> dict[str, torch.Tensor]:
    """The weights of a model that was trained in parts, gathered on the CPU; none of one that each process holds."""
    from torch.distributed.tensor import DTensor

    state = model.state_dict()
    if not any(isinstance(value, DTensor) for value in state.values()):
        return {}
    return {name: (value.full_tensor() if isinstance(value, DTensor) else value).cpu() for name, value in state.items()}
