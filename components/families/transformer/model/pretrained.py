"""Pretrained weights, tokenizer and configuration of the base model: a transformers folder or a GGUF file."""

import json
import shutil
from pathlib import Path
from typing import Any

import torch
from filelock import FileLock
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
from textgate.components.families.transformer.model.remote_code import patch_remote_code

# Steps print their own progress lines (``Progress``).
logging.set_verbosity_error()
logging.disable_progress_bar()

_STAMP = ".gguf"
"""File with the size and the time of the last change of the GGUF file that a folder was made from."""


def load_tokenizer(base_model: Path, training: FromBaseModel) -> Any:
    """Return the base model's tokenizer.

    It pads and truncates on the right, and gives at least one token for the empty text.

    Raises:
        InputError: If the base model has no tokenizer that can be loaded.
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
    """Return the length in tokens to truncate texts to.

    This is the recipe's ``max_tokens``, or less if the model or the tokenizer supports less.
    """
    longest: int = getattr(model.config, "max_position_embeddings", None) or training.max_tokens
    return min(training.max_tokens, longest, int(tokenizer.model_max_length))


def load_backbone(base_model: Path, training: FromBaseModel, **options: Any) -> Any:
    """Return the base model without a head, in float32 unless ``options`` has a ``dtype``.

    Args:
        base_model: Folder or GGUF file.
        training: The recipe's training section.
        **options: Options of ``from_pretrained``.

    Raises:
        InputError: If the model cannot be loaded, or needs remote code that the recipe does not allow.
    """
    return _load(AutoModel, base_model, training, **{"dtype": torch.float32, **options})


def load_classifier(base_model: Path, training: FromBaseModel, labels: list[str], **options: Any) -> Any:
    """Return the base model with its architecture's classification head for ``labels``.

    See ``load_backbone`` for the other arguments and errors.
    """
    label_config = {
        "num_labels": len(labels),
        "id2label": dict(enumerate(labels)),
        "label2id": {label: index for index, label in enumerate(labels)},
    }
    return _load(
        AutoModelForSequenceClassification, base_model, training, **{"dtype": torch.float32, **label_config, **options}
    )


def read_config(base_model: Path, training: FromBaseModel) -> dict[str, Any]:
    """Return the content of the base model's ``config.json``.

    Raises:
        InputError: If there is no valid ``config.json``, if the model needs remote code and ``trust_remote_code`` is
            not set, or if that code is in another repository.
    """
    try:
        config = json.loads((as_folder(base_model) / "config.json").read_text("utf-8"))
        model_type, code = config["model_type"], config.get("auto_map", {})
    except (OSError, ValueError, LookupError, TypeError) as error:
        raise _unusable(training, f"its config.json does not name a model type ({error})") from error
    other_repositories = [reference for reference in code.values() if "--" in str(reference)]
    if training.trust_remote_code and other_repositories:
        raise InputError(
            f"the base model {training.base_model} would run code of another repository, {other_repositories[0]}, "
            "which is not pinned: use a base model that holds its own code"
        )
    if code and not training.trust_remote_code and model_type not in CONFIG_MAPPING:
        raise InputError(
            f"the base model {training.base_model} needs Python code of its own ({model_type}): set "
            "train.trust_remote_code=true if you trust the pinned revision"
        )
    return dict(config)


def save_model(model: Any, base_model: Path, training: FromBaseModel, folder: Path) -> None:
    """Write ``model`` to ``folder``, with the remote code that is needed to load it again."""
    model.save_pretrained(folder)
    copy_remote_code(base_model, training, folder)


def copy_remote_code(base_model: Path, training: FromBaseModel, folder: Path) -> None:
    """Copy the base model's own Python code to the model in ``folder``, if the recipe trusts it."""
    if training.trust_remote_code:
        for source in sorted(as_folder(base_model).glob("*.py")):
            shutil.copy(source, folder)
        # transformers 5 renames some keys, such as rope_scaling, and older code reads the old names.
        saved = json.loads((folder / "config.json").read_text("utf-8"))
        config = {**read_config(base_model, training), **saved}
        (folder / "config.json").write_text(json.dumps(config, indent=2, sort_keys=True) + "\n", "utf-8")


def as_folder(base_model: Path) -> Path:
    """Return the base model as a transformers folder.

    A GGUF file is dequantized to float32 on first use, into a folder next to it, and again when it has changed.
    """
    if base_model.suffix != ".gguf":
        return base_model
    folder = base_model.with_name(f"{base_model.name}.float32")
    status = base_model.stat()
    stamp = f"{status.st_size} {status.st_mtime_ns}"
    # With several training processes on a machine, one dequantizes and the others wait.
    with FileLock(base_model.with_name(f".{base_model.name}.lock")):
        if folder.exists():
            known = (folder / _STAMP).exists()  # textgate 0.1 wrote none
            if not known or (folder / _STAMP).read_text("utf-8") == stamp:
                return folder
            shutil.rmtree(folder)
        print(f"dequantizing {base_model.name}", flush=True)
        with new_folder(folder) as output:
            source = {"pretrained_model_name_or_path": base_model.parent, "gguf_file": base_model.name}
            model = AutoModelForCausalLM.from_pretrained(**source, dtype=torch.float32)
            # transformers still marks the model as quantized and refuses to save it.
            model.hf_quantizer, model.is_quantized = None, False
            del model.config.quantization_config
            model.save_pretrained(output)
            AutoTokenizer.from_pretrained(**source).save_pretrained(output)
            (output / _STAMP).write_text(stamp, "utf-8")
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
        patch_remote_code(loaded)
        for module in loaded.modules():
            # On CPUs with AVX512-BF16, bitsandbytes 0.50 repacks 4-bit weights on the first forward pass in eval mode.
            # Packed weights are less precise and pass no gradients; packing fails for layers with fewer than 64 inputs.
            if hasattr(module, "support_avx512bf16_for_cpu"):
                module.support_avx512bf16_for_cpu = False
    return loaded


def _unusable(training: FromBaseModel, reason: str) -> InputError:
    return InputError(f"the base model {training.base_model} cannot be loaded with its tokenizer: {reason}")
