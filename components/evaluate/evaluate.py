"""Evaluation step: predict the test split with a bundle, score the predictions and analyse them."""

import time
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from textgate.components.contracts import (
    Calibration,
    Dataset,
    EvaluateSettings,
    Evaluation,
    EvaluationManifest,
    Export,
    InputError,
    Insight,
    ModelBundle,
    OutOfDomainSet,
)
from textgate.components.contracts.evaluation import TfidfBaseline
from textgate.components.contracts.insight import MapPoint
from textgate.components.contracts.probabilities import apply_temperature
from textgate.components.contracts.recipe.evaluate_settings import SCORES_ONLY
from textgate.components.contracts.sampling import sample_rows
from textgate.components.contracts.training_cost import read_training_cost
from textgate.components.evaluate.baselines import tfidf_baseline
from textgate.components.evaluate.embedding_map import map_embeddings
from textgate.components.evaluate.explanations import explain_errors, top_words
from textgate.components.evaluate.predictions import Predictions
from textgate.components.evaluate.robustness import measure_robustness
from textgate.components.evaluate.slices import length_bias, score_slices
from textgate.components.families import open_predictor
from textgate.components.families.text_vectors import embed_texts
from textgate.components.inference import Predictor
from textgate.components.metrics import (
    accuracy_estimate,
    calibration_error,
    class_scores,
    confusion,
    estimates,
    f1_estimate,
)
from textgate.components.metrics.decision_threshold import fit_threshold
from textgate.components.sources import default_downloads, fetch

SPLIT = "test"


def evaluate_bundle(
    dataset_folder: Path,
    bundle_folder: Path,
    output: Path,
    settings: EvaluateSettings = SCORES_ONLY,
    out_of_domain: Mapping[str, Path] | None = None,
    export: Export | None = None,
    split: str = SPLIT,
) -> Evaluation:
    """Evaluate a bundle on a split, with the runtime that would serve it.

    Args:
        dataset_folder: Dataset to evaluate on.
        bundle_folder: The bundle, trained or exported.
        output: Folder to write the evaluation to.
        settings: Analyses to run beyond the scores.
        out_of_domain: Folders of further datasets by name, as ingest writes them.
        export: The recipe's section ``export`` for a trained bundle: it is scored with the decision threshold that this
            asks for, fitted on the validation split, as the served bundle will be. None for an exported bundle, which
            carries its threshold.
        split: Split to evaluate on.

    Raises:
        InputError: The bundle is damaged, its base model cannot be fetched, its labels are not those of a dataset, or
            a threshold is asked for more than two labels.
    """
    dataset, bundle = Dataset.open(dataset_folder), ModelBundle.load(bundle_folder)
    labels = dataset.manifest.labels
    if bundle.labels != labels:
        raise InputError(f"the bundle answers {bundle.labels} but the dataset has the labels {labels}")
    ids, texts, truth = dataset.columns(split)
    base_model = fetch(bundle.base_model, default_downloads()) if bundle.base_model else None
    predictor = open_predictor(bundle_folder, bundle, base_model)
    started = time.perf_counter()
    probabilities = np.asarray(predictor.predict_proba(texts))
    seconds = time.perf_counter() - started
    calibration = _with_threshold(bundle.calibration, predictor, dataset, export) if export else bundle.calibration
    predictions = Predictions(texts, truth, probabilities, calibration.predict(probabilities))
    predicted, temperature = predictions.predicted, calibration.temperature
    manifest = EvaluationManifest(
        bundle=bundle.fingerprint,
        runtime=bundle.runtime.name,
        dataset=dataset.manifest.fingerprint,
        split=split,
        labels=labels,
        metrics=estimates(truth, predicted, probabilities),
        per_class=dict(zip(labels, class_scores(truth, predicted, len(labels)), strict=True)),
        confusion=confusion(truth, predicted, len(labels)).tolist(),
        calibration=calibration,
        calibration_error_before=calibration_error(truth, apply_temperature(probabilities, 1 / temperature)),
        rows_per_second=len(texts) / seconds,
        slices=score_slices(predictions, ids, dataset.metadata(split)),
        length_bias=length_bias(texts, predicted == truth),
        robustness=measure_robustness(predictor, texts, truth, calibration, settings),
        out_of_domain=[_score_dataset(name, path, bundle, predictor) for name, path in (out_of_domain or {}).items()],
        history=bundle.history,
        training_cost=read_training_cost(bundle_folder),
        versions=bundle.versions,
        baseline=_baseline(dataset, predictions, settings),
        validation={
            name.removeprefix("validation_"): value
            for name, value in bundle.metrics.items()
            if name.startswith("validation_")
        },
        validation_rows=_validation_rows(dataset, bundle),
    )
    insight = _analyse(predictor, predictions, labels, settings)
    evaluation = Evaluation(manifest, ids, texts, truth, probabilities, insight)
    evaluation.write(output)
    return evaluation


def _with_threshold(calibration: Calibration, predictor: Predictor, dataset: Dataset, export: Export) -> Calibration:
    if export.threshold is None:
        return calibration
    _, texts, truth = dataset.columns("validation")
    threshold = fit_threshold(truth, np.asarray(predictor.predict_proba(texts)), dataset.manifest.labels, export)
    return calibration.model_copy(update={"threshold": threshold})


def _baseline(dataset: Dataset, predictions: Predictions, settings: EvaluateSettings) -> TfidfBaseline | None:
    if not settings.baseline_texts:
        return None
    return tfidf_baseline(dataset, predictions.texts, predictions.truth, settings.baseline_texts, settings.seed)


def _validation_rows(dataset: Dataset, bundle: ModelBundle) -> int | None:
    if bundle.dataset != dataset.manifest.fingerprint:
        return None
    return sum(dataset.manifest.counts.get("validation", {}).values()) or None


def _analyse(
    predictor: Predictor, predictions: Predictions, labels: Sequence[str], settings: EvaluateSettings
) -> Insight:
    texts = predictions.texts
    sample = [texts[row] for row in sample_rows(len(texts), settings.top_word_texts, settings.seed)]
    return Insight(
        errors=explain_errors(predictor, predictions, settings.explained_errors),
        top_words=top_words(predictor, sample, labels),
        map=_map(predictor, texts, settings),
    )


def _map(predictor: Predictor, texts: Sequence[str], settings: EvaluateSettings) -> list[MapPoint]:
    """Return the positions of a sample of the texts; none if the model has no embeddings."""
    rows = sample_rows(len(texts), settings.map_texts, settings.seed)
    embeddings = embed_texts(predictor, [texts[row] for row in rows]) if len(rows) else None
    if embeddings is None:
        return []
    positions = map_embeddings(embeddings, settings.seed)
    return [MapPoint(row=int(row), x=float(x), y=float(y)) for row, (x, y) in zip(rows, positions, strict=True)]


def _score_dataset(name: str, path: Path, bundle: ModelBundle, predictor: Predictor) -> OutOfDomainSet:
    """Score the bundle on all rows of another dataset, which may have fewer labels than the bundle."""
    dataset = Dataset.open(path)
    unknown = set(dataset.manifest.labels) - set(bundle.labels)
    if unknown:
        raise InputError(
            f"evaluate.out_of_domain.{name} has the labels {', '.join(sorted(unknown))}, which the model does not "
            f"answer: map them to {', '.join(bundle.labels)} with evaluate.out_of_domain.{name}.labels"
        )
    rows = [row for split in dataset.manifest.counts for row in dataset.rows(split)]
    truth = np.array([bundle.labels.index(row.label) for row in rows], dtype=np.int64)
    predicted = bundle.calibration.predict(predictor.predict_proba([row.text for row in rows]))
    print(f"{name}: predicted {len(rows):,} texts of another data set", flush=True)
    return OutOfDomainSet(
        name=name,
        dataset=dataset.manifest.fingerprint,
        rows=len(rows),
        f1=f1_estimate(truth, predicted, len(bundle.labels)),
        accuracy=accuracy_estimate(truth, predicted),
    )
