"""Measure what distillation gains: the same student on the same few texts, with and without a teacher, over seeds.

    python tests/benchmarks/distillation.py --seeds 8 --texts 200

The student is the quickstart's MiniLM, trained on a few of its training texts that each seed draws. The teacher is the
quickstart trained on all of them: here, or the bundle that ``--teacher`` names. Prints the F1 of both students on the
test split for each seed, a paired t-test and Wilcoxon's signed-rank test of the difference.
"""

import argparse
import json
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from scipy.stats import ttest_rel, wilcoxon

from textgate.components.contracts import Dataset, Distillation, ModelBundle, TransformerTraining, dataset_writer
from textgate.components.families import TrainingContext, open_predictor
from textgate.components.ingest.ingest import ingest_source
from textgate.components.metrics import f1
from textgate.components.preprocess.preprocess import preprocess_dataset
from textgate.components.sources import default_downloads, fetch
from textgate.components.train.train import train_bundle
from textgate.pipelines import recipes

VALIDATION = 50
"""Texts of the validation split that are kept; no student is selected by them."""
FEW_TEXTS = {"epochs": 5, "evaluate_every": 5, "batch_size": 8}
"""With so few texts, more epochs of smaller batches than the quickstart: 125 updates for 200 texts."""
DISTILLATION = Distillation(teacher="quickstart", weight=0.9, temperature=2)


class Scores(NamedTuple):
    """F1 on the test split of both students, one value per seed."""

    plain: list[float]
    distilled: list[float]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=8)
    parser.add_argument("--first-seed", type=int, default=1)
    parser.add_argument("--texts", type=int, default=200)
    parser.add_argument("--teacher", type=Path)
    settings = parser.parse_args()
    seeds = range(settings.first_seed, settings.first_seed + settings.seeds)
    with tempfile.TemporaryDirectory() as scratch:
        scores = compare(Path(scratch), seeds, settings.texts, settings.teacher)
    report(scores)


def compare(scratch: Path, seeds: Sequence[int], texts: int, teacher: Path | None = None) -> Scores:
    """Train both students for each seed on ``texts`` texts of the quickstart's training split."""
    recipe = recipes.load("quickstart")
    assert isinstance(recipe.train, TransformerTraining)
    downloads = default_downloads()
    base_model = fetch(recipe.train.base_model, downloads)
    ingest_source(recipe.source, scratch / "raw", downloads)
    preprocess_dataset(scratch / "raw", recipe.preprocess, scratch / "full")
    if teacher is None:
        teacher = scratch / "teacher"
        train_bundle(scratch / "full", "teacher", recipe.train, teacher, TrainingContext(base_model))
    full = Dataset.open(scratch / "full")
    print(f"the teacher's F1 is {measure(teacher, full):.4f}", flush=True)
    scores = Scores([], [])
    for seed in seeds:
        few = sample(full, texts, seed, scratch / f"few-{seed}")
        plain = recipe.train.model_copy(update={"seed": seed, **FEW_TEXTS})
        distilled = plain.model_copy(update={"distillation": DISTILLATION})
        for training, values in ((plain, scores.plain), (distilled, scores.distilled)):
            student = scratch / f"student-{seed}-{'plain' if training.distillation is None else 'distilled'}"
            train_bundle(
                few, "student", training, student, TrainingContext(base_model, bundles={"quickstart": teacher})
            )
            values.append(measure(student, full))
        print(json.dumps({"seed": seed, "plain": scores.plain[-1], "distilled": scores.distilled[-1]}), flush=True)
    return scores


def sample(full: Dataset, texts: int, seed: int, path: Path) -> Path:
    """Write a dataset with ``texts`` training texts drawn by ``seed``."""
    rows = list(full.rows("train"))
    indices = np.random.default_rng(seed).permutation(len(rows))[:texts]
    with dataset_writer(path, ["train", "validation", "test"]) as writer:
        for index in indices:
            writer.add("train", rows[index])
        for index, row in enumerate(full.rows("validation")):
            if index < VALIDATION:
                writer.add("validation", row)
        for row in full.rows("test"):
            writer.add("test", row)
        writer.finish("few of the quickstart's texts", full.manifest.labels, normalizer=full.normalizer)
    return path


def measure(folder: Path, dataset: Dataset) -> float:
    """Return the F1 on the test split."""
    _, texts, classes = dataset.columns("test")
    probabilities = open_predictor(folder, ModelBundle.load(folder)).predict_proba(texts)
    return f1(classes, probabilities.argmax(axis=1), len(dataset.manifest.labels))


def report(scores: Scores) -> None:
    """Print the table and both tests."""
    plain, distilled = np.array(scores.plain), np.array(scores.distilled)
    gain = distilled - plain
    print(f"\n{'':8}{'plain':>10}{'distilled':>10}{'gain':>10}")
    for index, row in enumerate(zip(plain, distilled, gain, strict=True), 1):
        print(f"{index:<8}{row[0]:>10.4f}{row[1]:>10.4f}{row[2]:>+10.4f}")
    print(f"{'mean':8}{plain.mean():>10.4f}{distilled.mean():>10.4f}{gain.mean():>+10.4f}")
    print(f"paired t-test p = {ttest_rel(distilled, plain).pvalue:.2g}, Wilcoxon p = {wilcoxon(gain).pvalue:.2g}")


if __name__ == "__main__":
    main()
