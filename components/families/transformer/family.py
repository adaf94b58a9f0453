"""An encoder, encoder-decoder or decoder with a classification head: fully fine-tuned, or by adapters on a frozen base.

Devlin et al., BERT (NAACL 2019), section 4: the state of one token under a linear layer.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

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
from textgate.components.families import FitResult, TrainingContext, longest_text
from textgate.components.inference import Predictor

# torch and transformers take seconds to import, so each function imports what it needs.
if TYPE_CHECKING:
    import torch


def fit(dataset: Dataset, training: FineTuning, folder: Path, context: TrainingContext) -> FitResult:
    """See ``Family.fit``.

    Raises:
        InputError: the base model cannot be loaded, its architecture is not known, an adapter finds no place in it, or
            the teacher cannot teach these labels.
    """
    from transformers import set_seed

    from textgate.components.families.transformer.model.adapters import add_adapter, save_adapter
    from textgate.components.families.transformer.model.pretrained import save_model
    from textgate.components.families.transformer.model.prompt import put_prompt_around_texts
    from textgate.components.families.transformer.torch_predictor import TorchPredictor
    from textgate.components.families.transformer.training.distillation import ask_teacher
    from textgate.components.families.transformer.training.loop import train
    from textgate.components.families.transformer.training.sharding import whole_weights
    from textgate.components.metrics import accuracy, f1

    base_model, labels = context.base_model, dataset.manifest.labels
    if base_model is None:
        raise InputError(f"the base model {training.base_model} was not fetched")
    teacher = None
    if isinstance(training, TransformerTraining) and training.distillation:
        teacher = ask_teacher(dataset, training.distillation, context.bundles)
    set_seed(training.seed)
    classifier = _build(base_model, training, labels)
    model = classifier.model
    if isinstance(training, PromptedTraining):
        put_prompt_around_texts(classifier.tokenizer, training, dataset, classifier.max_tokens)
    if training.adapter:
        model = add_adapter(
            model, training.adapter, classifier.targets, classifier.trained_head, training.base_model, folder
        )
    if training.gradient_checkpointing:
        model.enable_input_require_grads()
        model.gradient_checkpointing_enable(gradient_checkpointing_kwargs={"use_reentrant": False})

    metrics: dict[str, float] = {}
    history: list[dict[str, float]] = []
    if training.epochs:
        metrics["train_loss"], history = train(
            model, classifier.tokenizer, dataset, training, classifier.max_tokens, context, teacher
        )
        if weights := whole_weights(model):
            model = _build(base_model, training, labels).model
            model.load_state_dict(weights)
            model = _on_device(model)
    else:
        model = _on_device(model)

    _, texts, classes = dataset.columns("validation")
    predicted = TorchPredictor(model, classifier.tokenizer, dataset.normalizer, classifier.max_tokens).predict_proba(texts)
    metrics["validation_f1"] = f1(classes, predicted.argmax(axis=1), len(labels))
    metrics["validation_accuracy"] = accuracy(classes, predicted.argmax(axis=1))
    if training.epochs and not any("validation_f1" in entry for entry in history):
        history.append({"epoch": training.epochs, "validation_f1": round(metrics["validation_f1"], 6)})
    classifier.tokenizer.save_pretrained(folder)
    runtime = TransformersRuntime(max_tokens=classifier.max_tokens)
    if not training.adapter:
        save_model(model, base_model, training, folder)
        return FitResult(runtime, metrics, history)
    save_adapter(model, training.adapter, folder)
    return FitResult(runtime.model_copy(update={"base_model": training.base_model}), metrics, history)


def predictor(folder: Path, bundle: ModelBundle, base_model: Path | None) -> Predictor:
    """See ``Family.predictor``: on torch, an adapter on the base as it was while it trained."""
    from textgate.components.families.transformer.model.adapters import load_adapter
    from textgate.components.families.transformer.torch_predictor import TorchPredictor

    if base_model is None:
        # In the precision it is stored in, which is the one it would be served in.
        model, tokenizer = _open(folder, bundle, dtype="auto")
        model = _on_device(model)
    else:
        model = load_adapter(_build(base_model, training_of(bundle), bundle.labels).model, folder)
        tokenizer = _open_tokenizer(folder)
    return TorchPredictor(model, tokenizer, bundle.normalizer, longest_text(bundle))


def merge(
    folder: Path, bundle: ModelBundle, base_model: Path | None, output: Path
) -> tuple[TransformersRuntime, str] | None:
    """See ``Family.merge``: an adapter is merged into its base at the base's own precision."""
    if base_model is None:
        return None
    from textgate.components.families.transformer.export.merging import write_merged
    from textgate.components.families.transformer.model.adapters import load_adapter
    from textgate.components.families.transformer.model.pretrained import save_code

    training = training_of(bundle)
    classifier = _build(base_model, training, bundle.labels)
    write_merged(load_adapter(classifier.model, folder), classifier.dtype, output)
    save_code(base_model, training, output)
    _open_tokenizer(folder).save_pretrained(output)
    return (
        TransformersRuntime(max_tokens=classifier.max_tokens),
        f"the base was dequantized where it was quantized, and merged with its adapter in {classifier.dtype}",
    )


def export_onnx(folder: Path, bundle: ModelBundle, output: Path) -> tuple[OnnxRuntime, list[str]]:
    """See ``ExportableFamily.export_onnx``."""
    from textgate.components.families.transformer.export.first_token import read_first_token
    from textgate.components.families.transformer.export.onnx_graph import export_classifier
    from textgate.components.families.transformer.model.architectures import architecture_of, export_options
    from textgate.components.families.transformer.model.pooled_classifier import PooledClassifier
    from textgate.components.families.transformer.model.pretrained import read_config

    max_tokens = longest_text(bundle)
    model_type = read_config(folder, training_of(bundle))["model_type"]
    model, tokenizer = _open(folder, bundle, **export_options(model_type))
    if architecture_of(model_type).first_token and not isinstance(model, PooledClassifier):
        read_first_token(model)
    return export_classifier(model, tokenizer, max_tokens, output)


def export_hf(folder: Path, bundle: ModelBundle, output: Path, quantize: bool) -> TransformersRuntime:
    """See ``ExportableFamily.export_hf``."""
    from textgate.components.families.transformer.export.hf_folder import write_hf_folder

    return write_hf_folder(folder, bundle, output, quantize)


@dataclass(frozen=True)
class _Classifier:
    """A base model with a head of its own, before it is trained."""

    model: Any
    tokenizer: Any
    max_tokens: int
    dtype: "torch.dtype"
    """Of the base's weights, quantized or not."""
    targets: tuple[str, ...]
    trained_head: tuple[str, ...]
    """Modules that are trained whole beside an adapter."""


def _build(base_model: Path, training: FineTuning, labels: list[str]) -> _Classifier:
    import torch

    from textgate.components.families.transformer.model.adapters import quantization_options
    from textgate.components.families.transformer.model.architectures import architecture_of, read_last_token
    from textgate.components.families.transformer.model.pooled_classifier import HEAD, PooledClassifier
    from textgate.components.families.transformer.model.precision import weights_dtype
    from textgate.components.families.transformer.model.pretrained import (
        load_backbone,
        load_classifier,
        load_tokenizer,
        read_config,
        token_limit,
    )
    from textgate.components.families.transformer.model.prompt import read_label_words

    architecture = architecture_of(read_config(base_model, training)["model_type"])
    tokenizer = load_tokenizer(base_model, training)
    options: dict[str, Any] = {**architecture.options, "dtype": torch.float32}
    if training.adapter or not training.epochs:
        options["dtype"] = weights_dtype(training.precision)
    if training.adapter:
        options |= quantization_options(training.adapter, architecture.head, options["dtype"])
    trained_head = architecture.head
    if isinstance(training, TransformerTraining) and training.pooling == "attention":
        trained_head = HEAD
        model: Any = PooledClassifier(load_backbone(base_model, training, **options), labels)
    else:
        # A base model may have a head for other labels, which is left out.
        model = load_classifier(base_model, training, labels, ignore_mismatched_sizes=True, **options)
        model.config.pad_token_id = tokenizer.pad_token_id
        if architecture.last_token:
            read_last_token(model)
    if isinstance(training, PromptedTraining):
        trained_head = ()
        if architecture.head != ("score",):
            raise InputError(f"the base model {training.base_model} is no decoder, so that no prompt can ask it")
        read_label_words(model, tokenizer, base_model, training, labels)
    max_tokens = token_limit(model, tokenizer, training)
    return _Classifier(model, tokenizer, max_tokens, options["dtype"], architecture.targets, trained_head)


def _open(folder: Path, bundle: ModelBundle, **options: Any) -> tuple[Any, Any]:
    """Model and tokenizer of a bundle that is whole."""
    from textgate.components.families.transformer.model.architectures import architecture_of, read_last_token
    from textgate.components.families.transformer.model.pooled_classifier import HEAD_FILE, PooledClassifier
    from textgate.components.families.transformer.model.pretrained import load_backbone, load_classifier, read_config

    training, labels = training_of(bundle), bundle.labels
    if (folder / HEAD_FILE).exists():
        model: Any = PooledClassifier(load_backbone(folder, training, **options), labels)
        model.load_head(folder)
    else:
        model = load_classifier(folder, training, labels, **options)
        if architecture_of(read_config(folder, training)["model_type"]).last_token:
            read_last_token(model)
    return model, _open_tokenizer(folder)


def _open_tokenizer(folder: Path) -> Any:
    from transformers import PreTrainedTokenizerFast

    # By its file alone, as it is served: a class of its own might write other tokens around a text.
    return PreTrainedTokenizerFast.from_pretrained(folder)


def _on_device(model: Any) -> Any:
    """On the GPU where there is one; a quantized model is there already."""
    import torch

    return model.to("cuda") if torch.cuda.is_available() and not getattr(model, "is_quantized", False) else model


def training_of(bundle: ModelBundle) -> FineTuning:
    """The section of the recipe that shaped a bundle of this family."""
    section = bundle.recipe["train"]
    return PromptedTraining(**section) if bundle.family == "prompted" else TransformerTraining(**section)
