"""Low-rank adapters on a frozen base model, which may be quantized to 4 or 8 bits during training.

Hu et al., LoRA (2021); Dettmers et al., QLoRA (2023) and LLM.int8() (2022).
"""

import shutil
from pathlib import Path
from typing import Any

import torch
from bitsandbytes.nn.modules import Linear4bit, Linear8bitLt
from peft import LoraConfig, PeftModel, get_peft_model, get_peft_model_state_dict
from peft.utils import SAFETENSORS_WEIGHTS_NAME
from safetensors.torch import load_file, save_file
from transformers import BitsAndBytesConfig

from textgate.components.contracts import Adapter, InputError

# PiSSA with 4 iterations of the randomized SVD: the fast setting of its paper (Meng et al., 2024).
_PISSA_INIT = "pissa_niter_4"
_INITIAL_ADAPTER = "start"


def quantization_options(adapter: Adapter, head_modules: tuple[str, ...], dtype: torch.dtype) -> dict[str, Any]:
    """Return the options of ``from_pretrained`` for loading the adapter's base model.

    Args:
        adapter: The recipe's adapter settings.
        head_modules: Modules of the classification head, which are not quantized.
        dtype: Dtype of unquantized weights and of computation.
    """
    if adapter.quantization == "none":
        return {"dtype": dtype}
    if adapter.quantization == "int8":
        config = BitsAndBytesConfig(load_in_8bit=True, llm_int8_skip_modules=list(head_modules))
    else:
        config = nf4_config(head_modules, dtype)
    return {"dtype": dtype, "quantization_config": config}


def nf4_config(head_modules: tuple[str, ...], dtype: torch.dtype) -> BitsAndBytesConfig:
    """Return the settings of 4-bit NormalFloat with double quantization, computing in ``dtype``.

    ``head_modules`` are not quantized.
    """
    return BitsAndBytesConfig(
        load_in_4bit=True,
        bnb_4bit_quant_type="nf4",
        bnb_4bit_use_double_quant=True,
        bnb_4bit_compute_dtype=dtype,
        llm_int8_skip_modules=list(head_modules),
    )


def add_adapter(
    model: Any, adapter: Adapter, targets: tuple[str, ...], head_modules: tuple[str, ...], base_model: str, folder: Path
) -> Any:
    """Return ``model`` with a new adapter. The head modules are fully trained, in float32.

    Args:
        model: Base model with a classification head.
        adapter: The recipe's adapter settings.
        targets: Names of the layers to adapt if the settings name none.
        head_modules: Modules of the classification head.
        base_model: URI of the base model, stored in the adapter's configuration.
        folder: Folder that ``save_adapter`` will write to.

    Raises:
        InputError: If no layer has a target's name, or the head would not be trained.
    """
    for name in head_modules:
        model.get_submodule(name).float()
    config = LoraConfig(
        r=adapter.r,
        lora_alpha=adapter.alpha,
        lora_dropout=adapter.dropout,
        target_modules=adapter.targets or list(targets),
        modules_to_save=list(head_modules) or None,
        use_rslora=adapter.variant == "rslora",
        use_dora=adapter.variant == "dora",
        init_lora_weights=_PISSA_INIT if adapter.variant == "pissa" else True,
    )
    try:
        adapted = get_peft_model(model, config)
    except ValueError as error:
        names = ", ".join(sorted(config.target_modules))
        raise InputError(f"train.adapter.targets: no layer of the base model is called {names}") from error
    for settings in adapted.peft_config.values():
        # PEFT stores the base model's path on this machine.
        settings.base_model_name_or_path = base_model
    require_trainable_head(adapted, head_modules)
    if adapter.variant == "pissa":
        adapted.save_pretrained(folder / _INITIAL_ADAPTER, save_embedding_layers=False)
    return adapted


def require_trainable_head(model: Any, head_modules: tuple[str, ...]) -> None:
    """Check that every head module is trained; otherwise it would silently keep its initial weights.

    Raises:
        InputError: If a head module is quantized or frozen. The message names it.
    """
    for module in head_modules:
        weights = {name: weight for name, weight in model.named_parameters() if f".{module}." in f".{name}"}
        trainable = [name for name, weight in weights.items() if weight.requires_grad]
        quantized = [
            name
            for name, layer in model.named_modules()
            if f".{module}." in f".{name}." and isinstance(layer, Linear4bit | Linear8bitLt)
        ]
        if quantized:
            raise InputError(
                f"the classification head {module} is quantized ({quantized[0]}) and could not be trained: list it "
                "among the architecture's head modules"
            )
        if not trainable:
            raise InputError(
                f"the classification head {module} would not be trained: list it among the architecture's head modules"
            )


def save_adapter(model: Any, adapter: Adapter, folder: Path) -> None:
    """Write the adapter and the trained head to ``folder``.

    PiSSA subtracts its initial adapter from the base weights. The difference between the trained and the initial
    adapter is a plain LoRA of twice the rank on the unmodified base. That LoRA is stored
    (huggingface.co/docs/peft, "PiSSA").
    """
    if adapter.variant == "pissa":
        head = {name: value for name, value in get_peft_model_state_dict(model).items() if ".lora_" not in name}
        model.save_pretrained(
            folder,
            path_initial_model_for_weight_conversion=str(folder / _INITIAL_ADAPTER),
            save_embedding_layers=False,
        )
        shutil.rmtree(folder / _INITIAL_ADAPTER)
        # The conversion drops the head.
        save_file({**load_file(folder / SAFETENSORS_WEIGHTS_NAME), **head}, folder / SAFETENSORS_WEIGHTS_NAME)
    else:
        # Without this option PEFT queries the Hub to find out whether the vocabulary was resized.
        model.save_pretrained(folder, save_embedding_layers=False)
    (folder / "README.md").unlink(missing_ok=True)


def load_adapter(model: Any, folder: Path) -> Any:
    """Return the base ``model`` with the adapter stored in ``folder``, for prediction or merging."""
    return PeftModel.from_pretrained(model, folder)
