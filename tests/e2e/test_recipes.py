"""Every shipped recipe, from a corpus in its original format to predictions, with a tiny model of its architecture."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from e2e.corpora import CORPORA

from textgate.components.contracts import (
    FineTuning,
    FromBaseModel,
    LinearTraining,
    PromptedTraining,
    Recipe,
    Word2VecTraining,
    bundle_references,
)
from textgate.components.contracts.probabilities import apply_temperature
from textgate.components.evaluate.evaluate import evaluate_bundle
from textgate.components.export_onnx.export_onnx import export_bundle
from textgate.components.families import TrainingContext
from textgate.components.inference import load_bundle
from textgate.components.ingest.ingest import ingest_source
from textgate.components.merge_quantize.merge_quantize import merge_bundle
from textgate.components.preprocess.preprocess import preprocess_dataset
from textgate.components.train.train import train_bundle
from textgate.pipelines import recipes

PUBLISHED = {
    "clickbait-bert-base",
    "clickbait-bert-large",
    "clickbait-mistral-7b",
    "clickbait-llama2-7b",
    "clickbait-llama3-8b",
    "reviews-stella-qlora",
    "reviews-flan-t5-large",
    "reviews-stella-mlp",
    "reviews-stella-logreg",
    "reviews-stella-svm",
    "toxic-lsa",
    "toxic-word2vec",
    "toxic-bert",
    "toxic-llama-1b-prompt",
    "agnews-distilbert",
    "imdb-distilbert",
    "imdb-tfidf",
}
QUICKSTARTS = {
    *("quickstart", "quickstart-distilled", "quickstart-ensemble", "quickstart-few-shot", "quickstart-llm"),
    *("quickstart-best", "quickstart-tfidf", "quickstart-zero-shot"),
}
# Architecture by a part of the base model's name.
MODEL_TYPES = {
    "distilbert": "distilbert",
    "bert-base": "bert",
    "bert-large": "bert",
    "minilm": "bert",
    "mistral": "mistral",
    "llama": "llama",
    "smollm": "llama",
    "flan-t5": "t5",
}
ODD_TEXTS = ["", "wonderful", "é 漢字 😀", "word " * 300, "a\x00b"]


def test_every_published_system_has_a_recipe() -> None:
    assert set(recipes.names()) == PUBLISHED | QUICKSTARTS


def small_recipe(name: str, source: Path, tiny: Callable[[str], Path], tiny_stella: Path) -> Recipe:
    """Return the recipe with the small corpus and a tiny base model of the same architecture."""
    training = recipes.load(name).train
    overrides = [f"source.uri={source}"]
    if isinstance(training, FromBaseModel):
        lowered = training.base_model.lower()
        stand_in = tiny_stella if "stella" in lowered else None
        kind = next((kind for part, kind in MODEL_TYPES.items() if part in lowered), "")
        overrides += [f"train.base_model={stand_in or tiny(kind)}", "train.max_tokens=100"]
    if isinstance(training, FineTuning):
        overrides += ["train.batch_size=4", "train.micro_batch_size=2", "train.learning_rate=1e-3", "train.warmup=0"]
        overrides.append(f"train.epochs={1 if training.epochs else 0}")
    if isinstance(training, PromptedTraining):
        # Tiny tokenizers know few words, so examples have many tokens.
        overrides.append(f"train.shots={min(training.shots, 2)}")
    if isinstance(training, LinearTraining) and training.components:
        overrides.append("train.components=8")
    if isinstance(training, Word2VecTraining):
        overrides += ["train.dimensions=8", "train.epochs=2"]
    return recipes.load(name, overrides)


def train_bundles(recipe: Recipe, dataset: Path, folder: Path) -> dict[str, Path]:
    """Train a linear bundle for each reference of the recipe; return their folders."""
    bundles = {reference: folder / str(index) for index, reference in enumerate(bundle_references(recipe.train))}
    for index, path in enumerate(bundles.values(), 1):
        train_bundle(dataset, "member", LinearTraining(family="linear", ngrams=(1, index)), path, TrainingContext())
    return bundles


@pytest.mark.slow
@pytest.mark.parametrize("name", sorted(PUBLISHED | QUICKSTARTS))
def test_a_recipe_trains_evaluates_merges_exports_and_predicts(
    name: str, tiny: Callable[[str], Path], tiny_stella: Path, tmp_path: Path
) -> None:
    recipe = small_recipe(name, CORPORA[name.split("-")[0]](tmp_path / "source"), tiny, tiny_stella)
    ingest_source(recipe.source, tmp_path / "raw", tmp_path / "downloads")
    manifest = preprocess_dataset(tmp_path / "raw", recipe.preprocess, tmp_path / "dataset")
    assert manifest.rows_in == manifest.rows_out + sum(manifest.rejected.values())
    assert manifest.rows_out >= 80

    base_model = Path(recipe.train.base_model) if isinstance(recipe.train, FromBaseModel) else None
    bundles = train_bundles(recipe, tmp_path / "dataset", tmp_path / "members")
    context = TrainingContext(base_model, bundles=bundles)
    train_bundle(tmp_path / "dataset", recipe.name, recipe.train, tmp_path / "trained", context)
    trained = evaluate_bundle(tmp_path / "dataset", tmp_path / "trained", tmp_path / "before")
    merge_bundle(tmp_path / "trained", tmp_path / "merged")
    export_bundle(tmp_path / "merged", tmp_path / "dataset", recipe.export, tmp_path / "exported")
    served = evaluate_bundle(tmp_path / "dataset", tmp_path / "exported", tmp_path / "after")

    temperature = served.manifest.calibration.temperature
    difference = np.abs(apply_temperature(served.probabilities, 1 / temperature) - trained.probabilities).max()
    assert difference < 0.1
    loaded = load_bundle(tmp_path / "exported")
    loaded.warm_up(ODD_TEXTS)
    answers = loaded.predict_proba(ODD_TEXTS)
    np.testing.assert_allclose(answers.sum(axis=1), 1, atol=1e-6)
