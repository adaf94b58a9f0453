"""Pretrained checkpoints as transformers loads them: a folder, or a GGUF file that is turned into one."""

import fcntl
import json
import shutil
from pathlib import Path
from typing import Any

import torch
from tokenizers.processors import TemplateProcessing
from transformers import (
    CONFIG_MAPPING,
    AutoModel,
    AutoModelForCausalLM,
    AutoModelForSequenceClassification,
    AutoTokenizer,
    PreTrainedModel,
)
from transformers.utils import logging

from textgate.components.contracts import FromBaseModel, InputError, new_folder
from textgate.components.families.transformer.model.remote_code import adapt

# Steps say how far they are in their own lines (``Progress``).
logging.set_verbosity_error()
logging.disable_progress_bar()


def load_tokenizer(base_model: Path, training: FromBaseModel) -> Any:
    """The base model's tokenizer, which pads and truncates on the right and has a token even for the empty text.

    Raises:
        InputError: the base model has none that can be loaded.
    """
    tokenizer = _load(AutoTokenizer, base_model, training)
    tokenizer.padding_side = tokenizer.truncation_side = "right"
    if tokenizer.pad_token is None:
        tokenizer.pad_token = tokenizer.eos_token
    if not tokenizer("")["input_ids"]:
        first = tokenizer.bos_token or tokenizer.eos_token
        tokenizer.backend_tokenizer.post_processor = TemplateProcessing(
            single="[FIRST] $A",
            special_tokens=[{"id": "[FIRST]", "ids": [tokenizer.convert_tokens_to_ids(first)], "tokens": [first]}],
        )
    return tokenizer


def token_limit(model: Any, tokenizer: Any, training: FromBaseModel) -> int:
    """Tokens a text is cut at: the recipe's ``max_tokens``, or the fewer that model and tokenizer are made for."""
    longest: int = getattr(model.config, "max_position_embeddings", None) or training.max_tokens
    return min(training.max_tokens, longest, int(tokenizer.model_max_length))


def load_backbone(base_model: Path, training: FromBaseModel, **options: Any) -> Any:
    """The base model's model without a head, float32 unless ``options`` give a dtype.

    Raises:
        InputError: it cannot be loaded, or needs code that the recipe does not allow.
    """
    return _load(AutoModel, base_model, training, **{"dtype": torch.float32, **options})


def load_classifier(base_model: Path, training: FromBaseModel, labels: list[str], **options: Any) -> Any:
    """The base model's model with the classification head of its architecture, float32 unless ``options`` give a dtype.

    Raises:
        InputError: see ``load_backbone``.
    """
    named = {
        "num_labels": len(labels),
        "id2label": dict(enumerate(labels)),
        "label2id": {label: number for number, label in enumerate(labels)},
    }
    return _load(
        AutoModelForSequenceClassification, base_model, training, **{"dtype": torch.float32, **named, **options}
    )


def read_config(base_model: Path, training: FromBaseModel) -> dict[str, Any]:
    """The base model's ``config.json``, once it is sure that no code runs which the recipe does not allow.

    Raises:
        InputError: there is none, or the model needs its own code and ``trust_remote_code`` is not set.
    """
    try:
        config = json.loads((as_folder(base_model) / "config.json").read_text("utf-8"))
        model_type, code = config["model_type"], config.get("auto_map", {})
    except (OSError, ValueError, LookupError, TypeError) as error:
        raise _unusable(training, f"its config.json does not name a model type ({error})") from error
    elsewhere = [place for place in code.values() if "--" in str(place)]
    if training.trust_remote_code and elsewhere:
        raise InputError(
            f"the base model {training.base_model} would run code of another repository, {elsewhere[0]}, which is not "
            "pinned: use a base model that holds its own code"
        )
    if code and not training.trust_remote_code and model_type not in CONFIG_MAPPING:
        raise InputError(
            f"the base model {training.base_model} needs Python code of its own ({model_type}): set "
            "train.trust_remote_code=true if you trust the pinned revision"
        )
    return dict(config)


def save_model(model: Any, base_model: Path, training: FromBaseModel, folder: Path) -> None:
    """Write a whole model, with the code it needs to be loaded again."""
    model.save_pretrained(folder)
    save_code(base_model, training, folder)


def save_code(base_model: Path, training: FromBaseModel, folder: Path) -> None:
    """Put the code that a base model needs to be loaded beside the model in ``folder``, if the recipe allows it."""
    if training.trust_remote_code:
        for source in sorted(as_folder(base_model).glob("*.py")):
            shutil.copy(source, folder)
        # transformers 5 writes some keys by new names, such as rope_scaling's, which older code does not look for.
        written = json.loads((folder / "config.json").read_text("utf-8"))
        config = {**read_config(base_model, training), **written}
        (folder / "config.json").write_text(json.dumps(config, indent=2, sort_keys=True) + "\n", "utf-8")


def as_folder(base_model: Path) -> Path:
    """The base model as a folder; a GGUF file is dequantized once, into a folder beside it."""
    if base_model.suffix != ".gguf":
        return base_model
    folder = base_model.with_name(f"{base_model.name}.float32")
    with base_model.with_name(f".{base_model.name}.lock").open("w") as lock:
        # Of several processes that train together, one does it.
        fcntl.flock(lock, fcntl.LOCK_EX)
        if folder.exists():
            return folder
        print(f"dequantizing {base_model.name}", flush=True)
        with new_folder(folder) as output:
            where = {"pretrained_model_name_or_path": base_model.parent, "gguf_file": base_model.name}
            model = AutoModelForCausalLM.from_pretrained(**where, dtype=torch.float32)
            # It counts as quantized, and a quantized model is not saved.
            model.hf_quantizer, model.is_quantized = None, False
            del model.config.quantization_config
            model.save_pretrained(output)
            AutoTokenizer.from_pretrained(**where).save_pretrained(output)
    return folder


def _load(auto: Any, base_model: Path, training: FromBaseModel, **options: Any) -> Any:
    read_config(base_model, training)
    try:
        loaded = auto.from_pretrained(
            as_folder(base_model), trust_remote_code=training.trust_remote_code, local_files_only=True, **options
        )
    except (OSError, ValueError, KeyError, ImportError, AttributeError) as error:
        raise _unusable(training, str(error).strip().splitlines()[0]) from error
    if isinstance(loaded, PreTrainedModel):
        adapt(loaded)
        for module in loaded.modules():
            # On CPUs with AVX512-BF16 bitsandbytes 0.50 packs 4-bit weights when they are first used without training:
            # more coarsely, not at all below 64 inputs, and no gradient passes them from then on.
            if hasattr(module, "support_avx512bf16_for_cpu"):
                module.support_avx512bf16_for_cpu = False
    return loaded


def _unusable(training: FromBaseModel, reason: str) -> InputError:
    return InputError(f"the base model {training.base_model} cannot be loaded with its tokenizer: {reason}")
