"""Export to a Hugging Face folder that vLLM, TEI or KServe's Hugging Face runtime serves."""

from pathlib import Path

import torch

from textgate.components.contracts import ModelBundle, TransformersRuntime
from textgate.components.contracts.files import link_file
from textgate.components.contracts.text_keys import TRAINED_ON
from textgate.components.families import custom_head_error, transformer_max_tokens
from textgate.components.families.transformer.model.adapters import nf4_config
from textgate.components.families.transformer.model.architectures import architecture_of
from textgate.components.families.transformer.model.classifier import training_settings
from textgate.components.families.transformer.model.pooled_classifier import HEAD_FILE
from textgate.components.families.transformer.model.pretrained import load_classifier, read_config


def write_hf_folder(source: Path, bundle: ModelBundle, output: Path, quantize: bool) -> TransformersRuntime:
    """Write the model of a merged bundle to ``output``.

    Unquantized files are hard-linked, so a large model needs neither memory nor more disk space.

    Args:
        source: Folder of the bundle.
        bundle: Its manifest.
        output: Existing folder to write to.
        quantize: True stores the weights in 4-bit NormalFloat.

    Returns:
        Runtime of the exported model.

    Raises:
        InputError: If transformers does not know the model's head, so that no other server could load it.
    """
    max_tokens = transformer_max_tokens(bundle)
    if HEAD_FILE in bundle.files:
        raise custom_head_error(bundle)
    weights = {name for name in bundle.files if name.endswith((".safetensors", ".safetensors.index.json"))}
    for name in bundle.files.keys() - {TRAINED_ON, *({*weights, "config.json"} if quantize else set())}:
        link_file(source / name, output / name)
    if not quantize:
        return TransformersRuntime(max_tokens=max_tokens)
    training = training_settings(bundle)
    config = read_config(source, training)
    dtype = getattr(torch, config.get("dtype") or "float32")
    head_modules = architecture_of(config["model_type"]).head_modules
    options = {"dtype": dtype, "quantization_config": nf4_config(head_modules, dtype)}
    load_classifier(source, training, bundle.labels, **options).save_pretrained(output)
    return TransformersRuntime(max_tokens=max_tokens, quantization="nf4")
