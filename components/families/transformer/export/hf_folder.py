"""A whole model as the Hugging Face folder that vLLM, TEI or KServe's own runtime serves, plain or in 4 bits."""

from pathlib import Path

import torch

from textgate.components.contracts import ModelBundle, TransformersRuntime
from textgate.components.contracts.files import link_file
from textgate.components.families import custom_head_error, longest_text
from textgate.components.families.transformer.model.adapters import nf4
from textgate.components.families.transformer.model.architectures import architecture_of
from textgate.components.families.transformer.family import training_of
from textgate.components.families.transformer.model.pooled_classifier import HEAD_FILE
from textgate.components.families.transformer.model.pretrained import load_classifier, read_config


def write_hf_folder(source: Path, bundle: ModelBundle, output: Path, quantize: bool) -> TransformersRuntime:
    """Write the model of ``bundle``, which lies in ``source``, to ``output``; returns the runtime that answers for it.

    As it is, its files are linked, so that a large one takes neither memory nor a second place on the disk.

    Raises:
        InputError: its head is not one that transformers knows, so that no other runtime could load it.
    """
    max_tokens = longest_text(bundle)
    if HEAD_FILE in bundle.files:
        raise custom_head_error(bundle)
    weights = {name for name in bundle.files if name.endswith((".safetensors", ".safetensors.index.json"))}
    for name in bundle.files.keys() - ({*weights, "config.json"} if quantize else set()):
        link_file(source / name, output / name)
    if not quantize:
        return TransformersRuntime(max_tokens=max_tokens)
    training = training_of(bundle)
    config = read_config(source, training)
    dtype = getattr(torch, config.get("dtype") or "float32")
    head = architecture_of(config["model_type"]).head
    options = {"dtype": dtype, "quantization_config": nf4(head, dtype)}
    load_classifier(source, training, bundle.labels, **options).save_pretrained(output)
    return TransformersRuntime(max_tokens=max_tokens, quantization="nf4")
