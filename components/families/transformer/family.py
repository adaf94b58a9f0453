"""Transformer with a classification head, fully fine-tuned or by adapters on a frozen base model.

This module implements ``Family`` for encoders, encoder-decoders and decoders, with and without a prompt.

Devlin et al., BERT (NAACL 2019), section 4: a linear layer over the state of one token.
"""

from pathlib import Path
from typing import Any

from transformers import set_seed

from textgate.components.contracts import (
    Dataset,
    FineTuning,
    InputError,
    ModelBundle,
    OnnxRuntime,
    PromptedTraining,
    TransformersRuntime,
    TransformerTraining,
)
from textgate.components.families import FitResult, TrainingContext, transformer_max_tokens, validation_metrics
from textgate.components.families.transformer.export.first_token import compute_first_token_only
from textgate.components.families.transformer.export.hf_folder import write_hf_folder
from textgate.components.families.transformer.export.merging import write_merged
from textgate.components.families.transformer.export.onnx_graph import export_classifier
from textgate.components.families.transformer.model.adapters import add_adapter, load_adapter, save_adapter
from textgate.components.families.transformer.model.architectures import architecture_of, export_options
from textgate.components.families.transformer.model.classifier import (
    Classifier,
    build_classifier,
    open_classifier,
    open_tokenizer,
    to_device,
    training_settings,
)
from textgate.components.families.transformer.model.pooled_classifier import PooledClassifier
from textgate.components.families.transformer.model.pretrained import copy_remote_code, read_config, save_model
from textgate.components.families.transformer.model.prompt import set_prompt_template
from textgate.components.families.transformer.torch_predictor import TorchPredictor
from textgate.components.families.transformer.training.distillation import teacher_probabilities
from textgate.components.families.transformer.training.loop import train
from textgate.components.families.transformer.training.sharding import full_state_dict
from textgate.components.inference import Predictor


def fit(dataset: Dataset, training: FineTuning, folder: Path, context: TrainingContext) -> FitResult:
    """See ``Family.fit``.

    Raises:
        InputError: If the base model cannot be loaded, its architecture is not supported, no layer of it matches the
            adapter's targets, or the teacher has other labels.
    """
    base_model, labels = context.base_model, dataset.manifest.labels
    if base_model is None:
        raise InputError(f"the base model {training.base_model} was not fetched")
    teacher = None
    if isinstance(training, TransformerTraining) and training.distillation:
        teacher = teacher_probabilities(dataset, training.distillation, context.bundles)
    set_seed(training.seed)
    classifier = build_classifier(base_model, training, labels)
    model = _prepare(classifier, dataset, training, folder)
    metrics: dict[str, float] = {}
    history: list[dict[str, float]] = []
    if training.epochs:
        metrics["train_loss"], history = train(
            model, classifier.tokenizer, dataset, training, classifier.max_tokens, context, teacher
        )
        if weights := full_state_dict(model):
            model = build_classifier(base_model, training, labels).model
            model.load_state_dict(weights)
            model = to_device(model)
    else:
        model = to_device(model)

    _, texts, classes = dataset.columns("validation")
    predictor = TorchPredictor(model, classifier.tokenizer, dataset.normalizer, classifier.max_tokens)
    metrics |= validation_metrics(classes, predictor.predict_proba(texts))
    if training.epochs and not any("validation_f1" in entry for entry in history):
        history.append({"epoch": training.epochs, "validation_f1": round(metrics["validation_f1"], 6)})
    classifier.tokenizer.save_pretrained(folder)
    runtime = TransformersRuntime(max_tokens=classifier.max_tokens)
    if not training.adapter:
        save_model(model, base_model, training, folder)
        return FitResult(runtime, metrics, history)
    save_adapter(model, training.adapter, folder)
    return FitResult(runtime.model_copy(update={"base_model": training.base_model}), metrics, history)


def _prepare(classifier: Classifier, dataset: Dataset, training: FineTuning, folder: Path) -> Any:
    """Return the model to train: with the prompt, adapter and gradient checkpointing that the recipe asks for."""
    model = classifier.model
    if isinstance(training, PromptedTraining):
        set_prompt_template(classifier.tokenizer, training, dataset, classifier.max_tokens)
    if training.adapter:
        model = add_adapter(
            model, training.adapter, classifier.adapter_targets, classifier.trained_head, training.base_model, folder
        )
    if training.gradient_checkpointing:
        model.enable_input_require_grads()
        model.gradient_checkpointing_enable(gradient_checkpointing_kwargs={"use_reentrant": False})
    return model


def predictor(folder: Path, bundle: ModelBundle, base_model: Path | None) -> Predictor:
    """See ``Family.predictor``. An adapter runs on its base model in the precision and quantization of training."""
    if base_model is None:
        # The dtype of the stored weights is the one that the model is served in.
        model, tokenizer = open_classifier(folder, bundle, dtype="auto")
        model = to_device(model)
    else:
        model = load_adapter(build_classifier(base_model, training_settings(bundle), bundle.labels).model, folder)
        tokenizer = open_tokenizer(folder)
    return TorchPredictor(model, tokenizer, bundle.normalizer, transformer_max_tokens(bundle))


def merge(
    folder: Path, bundle: ModelBundle, base_model: Path | None, output: Path
) -> tuple[TransformersRuntime, str] | None:
    """See ``Family.merge``. An adapter is merged into its base model in the dtype of the base model."""
    if base_model is None:
        return None
    training = training_settings(bundle)
    classifier = build_classifier(base_model, training, bundle.labels)
    write_merged(load_adapter(classifier.model, folder), classifier.dtype, output)
    copy_remote_code(base_model, training, output)
    open_tokenizer(folder).save_pretrained(output)
    return (
        TransformersRuntime(max_tokens=classifier.max_tokens),
        f"the base was dequantized where it was quantized, and merged with its adapter in {classifier.dtype}",
    )


def export_onnx(folder: Path, bundle: ModelBundle, output: Path) -> tuple[OnnxRuntime, list[str]]:
    """See ``ExportableFamily.export_onnx``."""
    max_tokens = transformer_max_tokens(bundle)
    model_type = read_config(folder, training_settings(bundle))["model_type"]
    model, tokenizer = open_classifier(folder, bundle, **export_options(model_type))
    if architecture_of(model_type).first_token and not isinstance(model, PooledClassifier):
        compute_first_token_only(model)
    return export_classifier(model, tokenizer, max_tokens, output)


def export_hf(folder: Path, bundle: ModelBundle, output: Path, quantize: bool) -> TransformersRuntime:
    """See ``ExportableFamily.export_hf``."""
    return write_hf_folder(folder, bundle, output, quantize)
