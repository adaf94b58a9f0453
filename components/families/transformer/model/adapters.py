"""Low-rank adapters on a frozen base, which may be quantized to 4 bits while they train.

Hu et al., LoRA (2021); Dettmers et al., QLoRA (2023).
"""

import shutil
from pathlib import Path
from typing import Any

import torch
from bitsandbytes.nn.modules import Linear4bit
from peft import LoraConfig, PeftModel, get_peft_model, get_peft_model_state_dict
from peft.utils import SAFETENSORS_WEIGHTS_NAME
from safetensors.torch import load_file, save_file
from transformers import BitsAndBytesConfig

from textgate.components.contracts import Adapter, InputError

# Rounds of the randomised decomposition that PiSSA starts from: its paper's fast setting.
_PISSA = "pissa_niter_4"
_START = "start"


def quantization_options(adapter: Adapter, head: tuple[str, ...], dtype: torch.dtype) -> dict[str, Any]:
    """Options of ``from_pretrained`` for the adapter's base, computing in ``dtype``; the head stays unquantized."""
    if adapter.quantization == "none":
        return {"dtype": dtype}
    return {"dtype": dtype, "quantization_config": nf4(head, dtype)}


def nf4(head: tuple[str, ...], dtype: torch.dtype) -> BitsAndBytesConfig:
    """4-bit NormalFloat with double quantization, computing in ``dtype``; the head stays unquantized."""
    return BitsAndBytesConfig(
        load_in_4bit=True,
        bnb_4bit_quant_type="nf4",
        bnb_4bit_use_double_quant=True,
        bnb_4bit_compute_dtype=dtype,
        llm_int8_skip_modules=list(head),
    )


def add_adapter(
    model: Any, adapter: Adapter, targets: tuple[str, ...], head: tuple[str, ...], base: str, folder: Path
) -> Any:
    """The model with a new adapter; ``head`` is trained whole beside it, in float32.

    ``base`` is the base model's URI; ``folder`` is where the adapter will be saved.

    Raises:
        InputError: no layer has a name that is to get an adapter, or the head would not be trained.
    """
    for name in head:
        model.get_submodule(name).float()
    config = LoraConfig(
        r=adapter.r,
        lora_alpha=adapter.alpha,
        lora_dropout=adapter.dropout,
        target_modules=adapter.targets or list(targets),
        modules_to_save=list(head) or None,
        use_rslora=adapter.variant == "rslora",
        use_dora=adapter.variant == "dora",
        init_lora_weights=_PISSA if adapter.variant == "pissa" else True,
    )
    try:
        adapted = get_peft_model(model, config)
    except ValueError as error:
        names = ", ".join(sorted(config.target_modules))
        raise InputError(f"train.adapter.targets: no layer of the base model is called {names}") from error
    for settings in adapted.peft_config.values():
        # peft notes where the base lay on this machine.
        settings.base_model_name_or_path = base
    require_trainable_head(adapted, head)
    if adapter.variant == "pissa":
        adapted.save_pretrained(folder / _START, save_embedding_layers=False)
    return adapted


def require_trainable_head(model: Any, head: tuple[str, ...]) -> None:
    """Refuse a model whose head would silently stay as it was initialised.

    Raises:
        InputError: a weight of the head is quantized, or frozen; it is named.
    """
    for module in head:
        weights = {name: weight for name, weight in model.named_parameters() if f".{module}." in f".{name}"}
        trained = [name for name, weight in weights.items() if weight.requires_grad]
        quantized = [
            name
            for name, layer in model.named_modules()
            if f".{module}." in f".{name}." and isinstance(layer, Linear4bit)
        ]
        if quantized:
            raise InputError(
                f"the classification head {module} is quantized ({quantized[0]}) and could not be trained: list it "
                "among the architecture's head modules"
            )
        if not trained:
            raise InputError(
                f"the classification head {module} would not be trained: list it among the architecture's head modules"
            )


def save_adapter(model: Any, adapter: Adapter, folder: Path) -> None:
    """Write the adapter and the trained head into ``folder``.

    PiSSA takes its start away from the base; the difference to it is a plain LoRA of twice the rank on the untouched
    base, which is what is stored (huggingface.co/docs/peft, "PiSSA").
    """
    if adapter.variant == "pissa":
        head = {name: value for name, value in get_peft_model_state_dict(model).items() if ".lora_" not in name}
        model.save_pretrained(
            folder, path_initial_model_for_weight_conversion=str(folder / _START), save_embedding_layers=False
        )
        shutil.rmtree(folder / _START)
        # The conversion forgets what is trained beside the adapter.
        save_file({**load_file(folder / SAFETENSORS_WEIGHTS_NAME), **head}, folder / SAFETENSORS_WEIGHTS_NAME)
    else:
        # Otherwise peft asks the hub whether the vocabulary has grown.
        model.save_pretrained(folder, save_embedding_layers=False)
    (folder / "README.md").unlink(missing_ok=True)


def load_adapter(model: Any, folder: Path) -> Any:
    """The base with the adapter that lies in ``folder``, to answer with or to merge."""
    return PeftModel.from_pretrained(model, folder)
