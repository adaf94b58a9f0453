"""The card's YAML header, as the hub reads it (huggingface.co/docs/hub/model-cards, "Model card metadata")."""

from pathlib import PurePosixPath
from urllib.parse import urlsplit

from huggingface_hub import EvalResult, ModelCardData

from textgate.components.card.energy import Energy
from textgate.components.card.public import public_address
from textgate.components.contracts import (
    Estimate,
    EvaluationManifest,
    FromBaseModel,
    ModelBundle,
    OnnxRuntime,
    Recipe,
    TransformersRuntime,
)
from textgate.components.metrics import METRICS

_TASK = "text-classification"
# Names in the hub's library of metrics (huggingface.co/evaluate-metric), where they differ.
_HUB_METRICS = {"mcc": "matthews_correlation", "macro_f1": "f1", "weighted_f1": "f1", "pr_auc": "average_precision"}


def metadata(bundle: ModelBundle, recipe: Recipe, evaluation: EvaluationManifest, energy: Energy | None) -> str:
    """Return the metadata as YAML, without a licence, which is not known."""
    on_hub = [found[0] for source in recipe.source.sources.values() if (found := _on_hub(source.uri))]
    name, subset, revision = _on_hub(recipe.source.uri) or (_file_name(recipe.source.uri), None, None)
    results = [
        EvalResult(
            task_type=_TASK,
            dataset_type=name,
            dataset_name=name,
            dataset_config=subset,
            dataset_split=evaluation.split,
            dataset_revision=revision,
            metric_type=_HUB_METRICS.get(metric, metric),
            metric_name=f"{METRICS.get(metric, metric)}, {_interval(estimate)}",
            metric_value=round(estimate.value, 4),
        )
        for metric, estimate in evaluation.metrics.items()
    ]
    base = _on_hub(recipe.train.base_model) if isinstance(recipe.train, FromBaseModel) else None
    emissions = (
        {"emissions": round(energy.grams, 4), "source": "estimated from the training time, see below"}
        if energy
        else None
    )
    return ModelCardData(
        model_name=bundle.name,
        language=recipe.preprocess.language,
        library_name=_library(bundle),
        pipeline_tag=_TASK,
        tags=["textgate", _TASK, *(["onnx"] if isinstance(bundle.runtime, OnnxRuntime) else [])],
        base_model=base[0] if base else None,
        datasets=list(dict.fromkeys(on_hub)) or None,
        metrics=sorted({result.metric_type for result in results}),
        eval_results=results,
        co2_eq_emissions=emissions,
    ).to_yaml()


def _interval(estimate: Estimate) -> str:
    return "no interval" if estimate.withheld else f"95 % interval {estimate.low:.4f} to {estimate.high:.4f}"


def _on_hub(uri: str) -> tuple[str, str | None, str | None] | None:
    """Return name, subset and revision of ``hf://org/name[/subset][@revision]``; None for other URIs."""
    if not uri.startswith("hf://"):
        return None
    path, _, revision = uri.removeprefix("hf://").partition("@")
    organization, _, name = path.partition("/")
    name, _, subset = name.partition("/")
    return "/".join(filter(None, [organization, name])), subset or None, revision or None


def _file_name(uri: str) -> str:
    address = public_address(uri)
    return PurePosixPath(urlsplit(address).path).name or address


def _library(bundle: ModelBundle) -> str:
    match bundle.runtime:
        case OnnxRuntime():
            return "onnxruntime"
        case TransformersRuntime():
            return "transformers"
    return "textgate"
