"""A base model with a classification head: built for training, or loaded from a trained bundle."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from transformers import PreTrainedTokenizerFast

from textgate.components.contracts import FineTuning, InputError, ModelBundle, PromptedTraining, TransformerTraining
from textgate.components.families.transformer.model.adapters import quantization_options
from textgate.components.families.transformer.model.architectures import architecture_of
from textgate.components.families.transformer.model.last_token import pool_last_token
from textgate.components.families.transformer.model.pooled_classifier import HEAD_FILE, HEAD_MODULES, PooledClassifier
from textgate.components.families.transformer.model.precision import weights_dtype
from textgate.components.families.transformer.model.pretrained import (
    load_backbone,
    load_classifier,
    load_tokenizer,
    read_config,
    token_limit,
)
from textgate.components.families.transformer.model.prompt import set_label_word_head


@dataclass(frozen=True)
class Classifier:
    """Untrained classifier: the base model with a new head."""

    model: Any
    tokenizer: Any
    max_tokens: int
    """Length in tokens to truncate texts to."""
    dtype: torch.dtype
    """Dtype of the base model's weights; the compute dtype if they are quantized."""
    adapter_targets: tuple[str, ...]
    """Linear layers that get an adapter unless the recipe names others."""
    trained_head: tuple[str, ...]
    """Head modules that are fully trained alongside an adapter."""


def build_classifier(base_model: Path, training: FineTuning, labels: list[str]) -> Classifier:
    """Return the base model with a new head for ``labels``, as the training starts from.

    An adapter is not added.

    Args:
        base_model: Folder or GGUF file of the pretrained weights.
        training: The recipe's training section, which selects the head, the dtype and the quantization.
        labels: Labels in the order of the logits.

    Raises:
        InputError: If the base model cannot be loaded or its architecture is not supported.
    """
    architecture = architecture_of(read_config(base_model, training)["model_type"])
    tokenizer = load_tokenizer(base_model, training)
    options: dict[str, Any] = {**architecture.config_overrides, "dtype": torch.float32}
    if training.adapter or not training.epochs:
        options["dtype"] = weights_dtype(training.precision)
    if training.adapter:
        options |= quantization_options(training.adapter, architecture.head_modules, options["dtype"])
    trained_head = architecture.head_modules
    if isinstance(training, TransformerTraining) and training.pooling == "attention":
        trained_head = HEAD_MODULES
        model: Any = PooledClassifier(load_backbone(base_model, training, **options), labels)
    else:
        # The base model may have a head for other labels, which is discarded.
        model = load_classifier(base_model, training, labels, ignore_mismatched_sizes=True, **options)
        model.config.pad_token_id = tokenizer.pad_token_id
        if architecture.last_token:
            pool_last_token(model)
    if isinstance(training, PromptedTraining):
        trained_head = ()
        if architecture.head_modules != ("score",):
            raise InputError(f"the base model {training.base_model} is not a decoder, so it cannot be prompted")
        set_label_word_head(model, tokenizer, base_model, training, labels)
    max_tokens = token_limit(model, tokenizer, training)
    return Classifier(model, tokenizer, max_tokens, options["dtype"], architecture.adapter_targets, trained_head)


def open_classifier(folder: Path, bundle: ModelBundle, **options: Any) -> tuple[Any, PreTrainedTokenizerFast]:
    """Return model and tokenizer of a bundle that holds all weights.

    Args:
        folder: Folder of the bundle.
        bundle: Its manifest.
        **options: Options of ``from_pretrained``.
    """
    training, labels = training_settings(bundle), bundle.labels
    if (folder / HEAD_FILE).exists():
        model: Any = PooledClassifier(load_backbone(folder, training, **options), labels)
        model.load_head(folder)
    else:
        model = load_classifier(folder, training, labels, **options)
        if architecture_of(read_config(folder, training)["model_type"]).last_token:
            pool_last_token(model)
    return model, open_tokenizer(folder)


def open_tokenizer(folder: Path) -> PreTrainedTokenizerFast:
    """Return the tokenizer of a bundle.

    It is built from ``tokenizer.json`` alone, as it is when served: a model-specific tokenizer class might add other
    special tokens.
    """
    return PreTrainedTokenizerFast.from_pretrained(folder)


def to_device(model: Any) -> Any:
    """Return ``model`` on the GPU, if there is one. A quantized model is on its device already."""
    return model.to("cuda") if torch.cuda.is_available() and not getattr(model, "is_quantized", False) else model


def training_settings(bundle: ModelBundle) -> FineTuning:
    """Return the recipe section ``train`` that ``bundle`` was trained with."""
    section = bundle.recipe["train"]
    return PromptedTraining(**section) if bundle.family == "prompted" else TransformerTraining(**section)
