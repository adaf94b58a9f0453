"""Functions of the family ``embedding``; see ``Family``.

An embedding is the mean of the encoder's token states, optionally followed by a linear layer in sentence-transformers'
layout. A trained bundle holds the head and that layer only; merging adds the unchanged encoder.
"""

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import nn
from torch.nn.functional import cross_entropy
from transformers import PreTrainedTokenizerFast, set_seed
from transformers.modeling_outputs import SequenceClassifierOutput

from textgate.components.contracts import (
    Dataset,
    EmbeddingTraining,
    InputError,
    ModelBundle,
    OnnxRuntime,
    TransformersRuntime,
)
from textgate.components.families import (
    FitResult,
    TrainingContext,
    custom_head_error,
    transformer_max_tokens,
    validation_metrics,
)
from textgate.components.families.embedding.heads import EmbeddedSplit, fit_head, load_head
from textgate.components.families.transformer.model.architectures import ARCHITECTURES, export_options
from textgate.components.families.transformer.model.pooling import MeanPooling
from textgate.components.families.transformer.model.pretrained import (
    load_backbone,
    load_tokenizer,
    read_config,
    save_model,
    token_limit,
)
from textgate.components.families.transformer.torch_predictor import TorchPredictor, predict_logits
from textgate.components.inference import Predictor

HEAD_FILE = "head.safetensors"
_NO_ACTIVATION = "torch.nn.modules.linear.Identity"


class EmbeddingClassifier(nn.Module):
    """Encoder, mean pooling to embeddings (rows, dimensions), and a head that maps them to logits.

    Args:
        backbone: Encoder from transformers.
        dense: Linear layer after pooling, or the identity.
        head: Module from embeddings to logits (rows, labels).
        labels: Number of labels.
    """

    def __init__(self, backbone: Any, dense: nn.Module, head: nn.Module, labels: int) -> None:
        super().__init__()
        self.backbone, self.pooling, self.dense, self.head = backbone, MeanPooling(), dense, head
        self.config = backbone.config
        self.config.num_labels = labels

    def forward(
        self, input_ids: torch.Tensor, attention_mask: torch.Tensor, token_type_ids: torch.Tensor | None = None
    ) -> SequenceClassifierOutput:
        """Return logits (rows, labels) of a padded batch, whose inputs are (rows, tokens) int64."""
        types = {} if token_type_ids is None else {"token_type_ids": token_type_ids}
        states = self.backbone(input_ids=input_ids, attention_mask=attention_mask, **types).last_hidden_state
        return SequenceClassifierOutput(logits=self.head(self.dense(self.pooling(states, attention_mask))))

    @property
    def device(self) -> torch.device:
        """Device of the encoder."""
        return torch.device(self.backbone.device)


def fit(dataset: Dataset, training: EmbeddingTraining, folder: Path, context: TrainingContext) -> FitResult:
    """See ``Family.fit``.

    Raises:
        InputError: The base model cannot be loaded, is not an encoder, or lacks the dense layer that the recipe names.
    """
    base_model, labels = context.base_model, len(dataset.manifest.labels)
    if base_model is None:
        raise InputError(f"the base model {training.base_model} was not fetched")
    set_seed(training.seed)
    tokenizer = load_tokenizer(base_model, training)
    backbone = _load_backbone(base_model, training)
    max_tokens = token_limit(backbone, tokenizer, training)
    dense = _load_dense(base_model, training, backbone.config.hidden_size)
    train, validation = (
        _embed(backbone, dense, tokenizer, dataset, split, max_tokens) for split in ("train", "validation")
    )
    if not np.isfinite(train.embeddings).all():
        raise InputError(f"the base model {training.base_model} gives embeddings that are not numbers")

    head, history = fit_head(training.head, train, validation, labels, training.class_weights)

    with torch.inference_mode():
        logits = head(torch.tensor(validation.embeddings, dtype=torch.float32))
        loss = cross_entropy(logits, torch.tensor(validation.classes)).item()
    probabilities = logits.double().softmax(dim=1).numpy()
    metrics = {"validation_loss": loss, **validation_metrics(validation.classes, probabilities)}
    layers = nn.ModuleDict({"dense": dense, "head": head})
    save_file({name: tensor.contiguous() for name, tensor in layers.state_dict().items()}, folder / HEAD_FILE)
    tokenizer.save_pretrained(folder)
    return FitResult(TransformersRuntime(max_tokens=max_tokens, base_model=training.base_model), metrics, history)


def predictor(folder: Path, bundle: ModelBundle, base_model: Path | None) -> Predictor:
    """See ``Family.predictor``; a merged bundle has its encoder in ``folder`` too."""
    model, tokenizer = _open(folder, bundle, base_model or folder)
    return TorchPredictor(model.to(_device()), tokenizer, bundle.normalizer, transformer_max_tokens(bundle))


def merge(
    folder: Path, bundle: ModelBundle, base_model: Path | None, output: Path
) -> tuple[TransformersRuntime, str] | None:
    """See ``Family.merge``; the merged bundle holds the encoder and the head."""
    if base_model is None:
        return None
    training = EmbeddingTraining(**bundle.recipe["train"])
    save_model(_load_backbone(base_model, training), base_model, training, output)
    for name in bundle.files:
        shutil.copy(folder / name, output / name)
    return TransformersRuntime(max_tokens=transformer_max_tokens(bundle)), "the frozen encoder was added to its head"


def export_onnx(folder: Path, bundle: ModelBundle, output: Path) -> tuple[OnnxRuntime, list[str]]:
    """See ``ExportableFamily.export_onnx``.

    The head must not be quantized: it is small, and a kernel needs exact distances.
    """
    from textgate.components.families.transformer.export.onnx_graph import export_classifier

    max_tokens = transformer_max_tokens(bundle)
    config = read_config(folder, EmbeddingTraining(**bundle.recipe["train"]))
    model, tokenizer = _open(folder, bundle, folder, **export_options(config["model_type"]))
    return export_classifier(model, tokenizer, max_tokens, output, unquantized="head")


def export_hf(folder: Path, bundle: ModelBundle, output: Path, quantize: bool) -> TransformersRuntime:
    """See ``ExportableFamily.export_hf``; always raises, since transformers knows none of the heads."""
    raise custom_head_error(bundle)


def _load_backbone(base_model: Path, training: EmbeddingTraining, **options: Any) -> Any:
    known = ARCHITECTURES.get(read_config(base_model, training)["model_type"])
    backbone = load_backbone(base_model, training, **(known.config_overrides if known else {}), **options)
    if backbone.config.is_encoder_decoder:
        raise InputError(
            f"the base model {training.base_model} is an encoder-decoder: train.family=embedding takes an encoder"
        )
    return backbone.eval()


def _load_dense(base_model: Path, training: EmbeddingTraining, hidden: int) -> nn.Module:
    """Return the linear layer in the folder ``training.dense``, in sentence-transformers' layout, or the identity."""
    if training.dense is None:
        return nn.Identity()
    folder = base_model / training.dense
    try:
        settings = json.loads((folder / "config.json").read_text("utf-8"))
        stored = load_file(folder / "model.safetensors")
        tensors = {name: stored[f"linear.{name}"] for name in ("weight", "bias") if f"linear.{name}" in stored}
        weight, activation = tensors["weight"], settings["activation_function"]
    except (OSError, ValueError, LookupError, TypeError, SafetensorError) as error:
        folders = sorted(path.parent.name for path in base_model.glob("*/model.safetensors"))
        available = ", ".join(folders) or "no such folder"
        raise InputError(
            f"train.dense={training.dense} must be a folder with a linear layer (config.json, model.safetensors) in "
            f"the base model {training.base_model}, which has {available}"
        ) from error
    if activation != _NO_ACTIVATION or weight.ndim != 2 or weight.shape[1] != hidden:
        raise InputError(
            f"train.dense={training.dense} of the base model {training.base_model} must be a linear layer over the "
            f"encoder's {hidden} dimensions without an activation, but it takes {weight.shape[-1]} and has {activation}"
        )
    return _linear(tensors)


def _linear(tensors: dict[str, torch.Tensor]) -> nn.Linear:
    layer = nn.Linear(tensors["weight"].shape[1], tensors["weight"].shape[0], bias="bias" in tensors)
    layer.load_state_dict(tensors)
    return layer


def _embed(
    backbone: Any, dense: nn.Module, tokenizer: Any, dataset: Dataset, split: str, max_tokens: int
) -> EmbeddedSplit:
    _, texts, classes = dataset.columns(split)
    dimensions = dense.out_features if isinstance(dense, nn.Linear) else backbone.config.hidden_size
    # With the identity as its head, the logits of the classifier are the embeddings.
    embedder = EmbeddingClassifier(backbone, dense, nn.Identity(), dimensions).to(_device())
    return EmbeddedSplit(
        predict_logits(embedder, tokenizer, texts, max_tokens, dimensions, f"embedding {split}"), classes
    )


def _open(
    folder: Path, bundle: ModelBundle, base_model: Path, **options: Any
) -> tuple[EmbeddingClassifier, PreTrainedTokenizerFast]:
    """Return the model, with its encoder from ``base_model`` and the rest from ``folder``, and the tokenizer."""
    training = EmbeddingTraining(**bundle.recipe["train"])
    layers: dict[str, dict[str, torch.Tensor]] = {"dense": {}, "head": {}}
    for name, tensor in load_file(folder / HEAD_FILE).items():
        layer, _, inner = name.partition(".")
        layers[layer][inner] = tensor
    dense = _linear(layers["dense"]) if layers["dense"] else nn.Identity()
    head = load_head(training.head, layers["head"])
    backbone = _load_backbone(base_model, training, **options)
    # The generic class reads tokenizer.json alone, as the server does; a custom class might add other special tokens.
    tokenizer = PreTrainedTokenizerFast.from_pretrained(folder)
    return EmbeddingClassifier(backbone, dense, head, len(bundle.labels)), tokenizer


def _device() -> str:
    return "cuda" if torch.cuda.is_available() else "cpu"
