"""Ask a bundle about every text of the test split, measure its answers, and find out what they rest on."""

import time
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from textgate.components.contracts import (
    Dataset,
    EvaluateSettings,
    Evaluation,
    EvaluationManifest,
    InputError,
    Insight,
    ModelBundle,
    OutOfDomainSet,
    TrainingCost,
)
from textgate.components.contracts.evaluation import Point
from textgate.components.contracts.probabilities import apply_temperature
from textgate.components.contracts.recipe.evaluate_settings import SCORES_ONLY
from textgate.components.evaluate.embedding_map import embedding_map
from textgate.components.evaluate.explanations import explain_errors, top_words
from textgate.components.evaluate.robustness import robustness
from textgate.components.evaluate.sample import draw
from textgate.components.evaluate.slices import length_bias, slices
from textgate.components.families import open_predictor
from textgate.components.families.text_vectors import embeddings
from textgate.components.inference import Predictor
from textgate.components.metrics import (
    accuracy_estimate,
    calibration_error,
    class_scores,
    confusion,
    estimates,
    f1_estimate,
)
from textgate.components.sources import default_downloads, fetch

SPLIT = "test"


def evaluate_bundle(
    dataset_folder: Path,
    bundle_folder: Path,
    output: Path,
    settings: EvaluateSettings = SCORES_ONLY,
    cost: TrainingCost | None = None,
    elsewhere: Mapping[str, Path] | None = None,
) -> Evaluation:
    """Judge the bundle on the test split with the very runtime that answers for it.

    ``cost`` is what its training took; ``elsewhere`` are other data sets by name, as ingest made them.

    Raises:
        InputError: the bundle is damaged, its base model cannot be fetched, or its labels are not a dataset's.
    """
    dataset = Dataset.open(dataset_folder)
    bundle = ModelBundle.load(bundle_folder)
    labels = dataset.manifest.labels
    if bundle.labels != labels:
        raise InputError(f"the bundle answers {bundle.labels} but the dataset has the labels {labels}")
    ids, texts, classes = dataset.columns(SPLIT)
    base_model = fetch(bundle.base_model, default_downloads()) if bundle.base_model else None
    predictor = open_predictor(bundle_folder, bundle, base_model)
    started = time.perf_counter()
    probabilities = np.asarray(predictor.predict_proba(texts))
    seconds = time.perf_counter() - started
    predicted = bundle.calibration.classes(probabilities)
    count = len(labels)
    manifest = EvaluationManifest(
        bundle=bundle.fingerprint,
        runtime=bundle.runtime.name,
        dataset=dataset.manifest.fingerprint,
        split=SPLIT,
        labels=labels,
        metrics=estimates(classes, predicted, probabilities),
        per_class=dict(zip(labels, class_scores(classes, predicted, count), strict=True)),
        confusion=confusion(classes, predicted, count).tolist(),
        calibration=bundle.calibration,
        calibration_error_before=calibration_error(
            classes, apply_temperature(probabilities, 1 / bundle.calibration.temperature)
        ),
        rows_per_second=len(texts) / seconds,
        slices=slices(texts, ids, dataset.metadata(SPLIT), classes, predicted, count),
        length_bias=length_bias(texts, classes == predicted),
        robustness=robustness(predictor, texts, classes, bundle.calibration, settings, count),
        domains=[_domain(name, path, bundle, predictor) for name, path in (elsewhere or {}).items()],
        history=bundle.history,
        training_cost=cost,
        versions=bundle.versions,
    )
    some = [texts[row] for row in draw(len(texts), settings.top_word_texts, settings.seed)]
    insight = Insight(
        errors=explain_errors(predictor, texts, probabilities, predicted, classes, settings.explained_errors),
        top_words=top_words(predictor, some, labels),
        map=_map(predictor, texts, settings),
    )
    evaluation = Evaluation(manifest, ids, texts, classes, probabilities, insight)
    evaluation.write(output)
    return evaluation


def _map(predictor: Predictor, texts: Sequence[str], settings: EvaluateSettings) -> list[Point]:
    rows = draw(len(texts), settings.map_texts, settings.seed)
    found = embeddings(predictor, [texts[row] for row in rows]) if len(rows) else None
    if found is None:
        return []
    places = embedding_map(found, settings.seed)
    return [Point(row=int(row), x=float(x), y=float(y)) for row, (x, y) in zip(rows, places, strict=True)]


def _domain(name: str, path: Path, bundle: ModelBundle, predictor: Predictor) -> OutOfDomainSet:
    """What the bundle answers to every text of another data set."""
    dataset = Dataset.open(path)
    strangers = set(dataset.manifest.labels) - set(bundle.labels)
    if strangers:
        raise InputError(
            f"evaluate.out_of_domain.{name} has the labels {', '.join(sorted(strangers))}, which the model does not "
            f"answer: map them to {', '.join(bundle.labels)} with evaluate.out_of_domain.{name}.labels"
        )
    rows = [row for split in dataset.manifest.counts for row in dataset.rows(split)]
    classes = np.array([bundle.labels.index(row.label) for row in rows], dtype=np.int64)
    predicted = bundle.calibration.classes(predictor.predict_proba([row.text for row in rows]))
    print(f"{name}: asked about {len(rows):,} texts of another data set", flush=True)
    return OutOfDomainSet(
        name=name,
        dataset=dataset.manifest.fingerprint,
        rows=len(rows),
        f1=f1_estimate(classes, predicted, len(bundle.labels)),
        accuracy=accuracy_estimate(classes, predicted),
    )
