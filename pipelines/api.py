"""The functions of the public Python API; ``import textgate`` exports them."""

import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Union

import yaml

from textgate.components.contracts import Estimate, Evaluation, InputError, Recipe, Source
from textgate.components.contracts.recipe.training import bundle_references, replace_bundle_references
from textgate.components.inference import LoadedBundle, load_bundle
from textgate.components.sources import default_downloads, fetch, fetch_bundle, fetch_hub_bundle, is_path, resolve_ref
from textgate.components.storage import DEFAULT_BUCKET, ModelRef, Registry
from textgate.pipelines import recipes
from textgate.pipelines.in_memory_data import ArrowTable, write_source
from textgate.pipelines.workspace import DEFAULT_WORKSPACE, download_bundle, open_store

if TYPE_CHECKING:
    import datasets

    from textgate.pipelines.runners.local import LocalRun

Table = Union["datasets.Dataset", ArrowTable]
Data = str | Path | Table | Mapping[Any, Table]
"""Path or URI of labelled texts (see the recipe's ``source.uri``), a table with a row per text, or a mapping of split
names to tables. A table is a pandas or polars DataFrame, an Arrow table, or a ``datasets.Dataset``."""


@dataclass(frozen=True)
class TrainingResult:
    """Result of ``train``."""

    model: LoadedBundle
    """Model as it would be served."""
    evaluation: Evaluation
    """Predictions and metrics of ``model`` on the test split."""
    folder: Path
    """Folder with the dataset, the trained and the served bundle, and the evaluations."""


def open_recipe(recipe: str | Path, settings: Mapping[str, object] | None = None) -> Recipe:
    """Open a shipped recipe by its name, or a recipe file by its path.

    Args:
        recipe: Name (``textgate recipes`` lists them) or path of a YAML file.
        settings: Values to replace, by dotted key, such as ``{"train.learning_rate": 3e-5}``.

    Raises:
        InputError: If the recipe does not exist or is not valid; the message names the key.

    Example:
        >>> textgate.open_recipe("quickstart-tfidf", {"train.C": 1}).train.C
        1.0
    """
    overrides = [f"{key}={yaml.safe_dump(value, default_flow_style=True)}" for key, value in (settings or {}).items()]
    return recipes.load(str(recipe), overrides)


def run(
    recipe: Recipe | str,
    data: Data | None = None,
    *,
    text: str = "text",
    label: str = "label",
    workspace: str | Path = DEFAULT_WORKSPACE,
    bucket: str = DEFAULT_BUCKET,
) -> "LocalRun":
    """Run the pipeline of a recipe on this machine, as ``textgate run`` does: train, judge, promote what passes.

    Args:
        recipe: Recipe, or the name or path of one.
        data: Labelled texts to use instead of the recipe's source: a path or URI, a DataFrame, an Arrow table, a
            ``datasets.Dataset`` or ``DatasetDict``. The splits ``test`` and ``validation`` of a ``DatasetDict`` remain
            the test and the validation split.
        text: Column of the texts in ``data``.
        label: Column of the labels in ``data``.
        workspace: Folder of the embedded store, the runs and the caches.
        bucket: S3 bucket of the models and the runs.

    Returns:
        The completed run: ``record.decisions`` are the gates' decisions, ``record.promotion`` is the new champion or
        None, ``report`` is the path of the HTML report.

    Raises:
        InputError: If the recipe or the data cannot be used.
        RunFailedError: If a step failed.
    """
    from textgate.pipelines.runners.display import Display
    from textgate.pipelines.runners.local import LocalSettings, run_pipeline

    workspace = Path(workspace)
    opened = _with_data(_opened(recipe), data, text, label, workspace / "data")
    return run_pipeline(opened, LocalSettings(workspace, open_store(workspace, bucket), Display(sys.stderr)))


def train(
    recipe: Recipe | str,
    data: Data | None = None,
    *,
    text: str = "text",
    label: str = "label",
    output: str | Path | None = None,
    workspace: str | Path = DEFAULT_WORKSPACE,
    bucket: str = DEFAULT_BUCKET,
) -> TrainingResult:
    """Train a recipe in this process: read, split, train, merge, export and evaluate, without gates and registry.

    Use it to explore; ``run`` judges the model and promotes it.

    Args:
        recipe: See ``run``.
        data: See ``run``.
        text: See ``run``.
        label: See ``run``.
        output: New or empty folder for the results; a temporary folder if None.
        workspace: Workspace of the registry, for recipes that build on finished models.
        bucket: See ``run``.

    Raises:
        InputError: If the recipe or the data cannot be used, or ``output`` is not empty.
    """
    from textgate.components.evaluate.evaluate import evaluate_bundle
    from textgate.components.export_onnx.export_onnx import export_bundle
    from textgate.components.families import TrainingContext
    from textgate.components.families.accelerator_meter import AcceleratorMeter
    from textgate.components.ingest.ingest import ingest_source
    from textgate.components.merge_quantize.merge_quantize import merge_bundle
    from textgate.components.preprocess.preprocess import preprocess_dataset
    from textgate.components.train.cost_meter import CostMeter
    from textgate.components.train.launch import record_cost
    from textgate.components.train.train import train_bundle

    folder = Path(output) if output else Path(tempfile.mkdtemp(prefix="textgate-"))
    if folder.is_dir() and any(folder.iterdir()):
        raise InputError(f"the output folder {folder} is not empty: name a new one")
    opened = recipes.with_feedback_of(_with_data(_opened(recipe), data, text, label, folder), bucket)
    if any(source.uri.startswith("feedback://") for source in opened.source.sources.values()):
        open_store(Path(workspace), bucket)
    ingest_source(opened.source, folder / "ingested", default_downloads())
    preprocess_dataset(folder / "ingested", opened.preprocess, folder / "dataset")
    training, bundles = opened.train, dict[str, Path]()
    if bundle_references(training):
        registry = Registry(open_store(Path(workspace), bucket))
        training = replace_bundle_references(training, lambda reference: resolve_ref(reference, registry))
        bundles = {name: fetch_bundle(name, registry, folder)[0] for name in bundle_references(training)}
    base_model = getattr(training, "base_model", None)
    accelerator = AcceleratorMeter.for_training(training)
    context = TrainingContext(
        base_model=fetch(base_model, default_downloads()) if base_model else None, bundles=bundles, meter=accelerator
    )
    meter = CostMeter()
    train_bundle(folder / "dataset", opened.name, training, folder / "trained", context)
    record_cost(meter, training, bundles, folder / "trained", accelerator.use() if accelerator else None)
    evaluate_bundle(folder / "dataset", folder / "trained", folder / "trained-evaluation", export=opened.export)
    merge_bundle(folder / "trained", folder / "merged")
    export_bundle(folder / "merged", folder / "dataset", opened.export, folder / "served")
    evaluation = evaluate_bundle(folder / "dataset", folder / "served", folder / "evaluation")
    return TrainingResult(load_bundle(folder / "served"), evaluation, folder)


def evaluate(model: LoadedBundle, texts: Sequence[str], labels: Sequence[str]) -> dict[str, Estimate]:
    """Evaluate a model on labelled texts.

    Args:
        model: Model, such as ``load`` returns.
        texts: Raw texts, (n,).
        labels: True label of each text, (n,).

    Returns:
        Metric name (``f1``, ``accuracy``, ``mcc``, …) to its value with a 95 % interval.

    Raises:
        InputError: If there are no texts, not as many labels as texts, or a label that the model does not know.
    """
    import numpy as np

    from textgate.components.metrics import estimates

    if not len(texts) or len(texts) != len(labels):
        raise InputError(f"evaluate takes a label for each text, not {len(texts)} texts and {len(labels)} labels")
    known = model.bundle.labels
    unknown = sorted(set(labels) - set(known))
    if unknown:
        raise InputError(f"the label {unknown[0]!r} is none of the model's labels: {', '.join(known)}")
    truth = np.array([known.index(label) for label in labels], dtype=np.int64)
    probabilities = model.predict_proba(texts)
    return estimates(truth, model.bundle.calibration.predict(probabilities), probabilities)


def load(model: str | Path, *, workspace: str | Path = DEFAULT_WORKSPACE, bucket: str = DEFAULT_BUCKET) -> LoadedBundle:
    """Load a model for prediction, without torch.

    Args:
        model: ``model`` (its champion), ``model@channel`` or ``model@version`` in the registry, the folder of a bundle,
            or ``hf://org/name[@revision]``.
        workspace: Workspace of the registry; the S3 variables of the environment take precedence.
        bucket: S3 bucket of the registry.

    Raises:
        InputError: If the model does not exist, does not match its manifest, or has to be exported first.

    Example:
        >>> model = textgate.load("quickstart@champion")
        >>> model.predict(["a moving, beautifully acted film"])[0].label
        'positive'
    """
    reference = str(model)
    if reference.startswith("hf://"):
        return load_bundle(fetch_hub_bundle(reference, default_downloads()))
    if isinstance(model, Path) or is_path(reference):
        return load_bundle(reference)
    workspace = Path(workspace)
    ref = ModelRef.parse(reference)
    _, folder = download_bundle(workspace, Registry(open_store(workspace, bucket)), ref)
    return load_bundle(folder)


def _opened(recipe: Recipe | str) -> Recipe:
    return open_recipe(recipe) if isinstance(recipe, str) else recipe


def _with_data(recipe: Recipe, data: Data | None, text: str, label: str, folder: Path) -> Recipe:
    """Return the recipe with ``data`` as its source; data in memory are written to ``folder``."""
    if data is not None:
        is_address = isinstance(data, str | Path)
        source = (
            Source(uri=str(data), text=text, label=label) if is_address else write_source(data, text, label, folder)
        )
        recipe = recipe.model_copy(update={"source": source})
    return recipes.with_absolute_paths(recipe)
