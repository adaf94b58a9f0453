"""Does a teacher help? The same student on the same few texts, with a teacher and without, over seeds.

    python tests/benchmarks/distillation.py --seeds 8 --texts 200

The student is the quickstart's MiniLM on a few of its training texts, others for each seed. The teacher is the
quickstart itself, on all of them: trained here, or the bundle that ``--teacher`` names. Prints the F1 of both students
on the test split for each seed, and whether they differ: by a paired t-test and by Wilcoxon's signed ranks.
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
"""Texts of the validation split that are kept: no student is chosen by them."""
FEW = {"epochs": 5, "evaluate_every": 5, "batch_size": 8}
"""With so few texts, more epochs of smaller batches than the quickstart: 125 updates for 200 texts."""
TEACHING = Distillation(teacher="quickstart", weight=0.9, temperature=2)


class Scores(NamedTuple):
    """F1 on the test split of the two students of each seed."""

    alone: list[float]
    taught: list[float]


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
    """Train both students for each seed on so many ``texts`` of the quickstart's training split."""
    recipe = recipes.load("quickstart")
    assert isinstance(recipe.train, TransformerTraining)
    downloads = default_downloads()
    checkpoint = fetch(recipe.train.base_model, downloads)
    ingest_source(recipe.source, scratch / "raw", downloads)
    preprocess_dataset(scratch / "raw", recipe.preprocess, scratch / "whole")
    if teacher is None:
        teacher = scratch / "teacher"
        train_bundle(scratch / "whole", "teacher", recipe.train, teacher, TrainingContext(checkpoint))
    whole = Dataset.open(scratch / "whole")
    print(f"the teacher's F1 is {measure(teacher, whole):.4f}", flush=True)
    scores = Scores([], [])
    for seed in seeds:
        few = take(whole, texts, seed, scratch / f"few-{seed}")
        plain = recipe.train.model_copy(update={"seed": seed, **FEW})
        taught = plain.model_copy(update={"distillation": TEACHING})
        for training, found in ((plain, scores.alone), (taught, scores.taught)):
            student = scratch / f"student-{seed}-{len(found)}-{training.distillation is not None}"
            train_bundle(
                few, "student", training, student, TrainingContext(checkpoint, bundles={"quickstart": teacher})
            )
            found.append(measure(student, whole))
        print(json.dumps({"seed": seed, "alone": scores.alone[-1], "taught": scores.taught[-1]}), flush=True)
    return scores


def take(whole: Dataset, texts: int, seed: int, path: Path) -> Path:
    """A dataset of some training texts, drawn by ``seed``."""
    rows = list(whole.rows("train"))
    drawn = np.random.default_rng(seed).permutation(len(rows))[:texts]
    with dataset_writer(path, ["train", "validation", "test"]) as writer:
        for number in drawn:
            writer.add("train", rows[number])
        for number, row in enumerate(whole.rows("validation")):
            if number < VALIDATION:
                writer.add("validation", row)
        for row in whole.rows("test"):
            writer.add("test", row)
        writer.finish("few of the quickstart's texts", whole.manifest.labels, normalizer=whole.normalizer)
    return path


def measure(folder: Path, dataset: Dataset) -> float:
    """F1 on the test split."""
    _, texts, classes = dataset.columns("test")
    answers = open_predictor(folder, ModelBundle.load(folder)).predict_proba(texts)
    return f1(classes, answers.argmax(axis=1), len(dataset.manifest.labels))


def report(scores: Scores) -> None:
    """Print the table and both tests."""
    alone, taught = np.array(scores.alone), np.array(scores.taught)
    gain = taught - alone
    print(f"\n{'':8}{'alone':>10}{'taught':>10}{'gain':>10}")
    for number, row in enumerate(zip(alone, taught, gain, strict=True), 1):
        print(f"{number:<8}{row[0]:>10.4f}{row[1]:>10.4f}{row[2]:>+10.4f}")
    print(f"{'mean':8}{alone.mean():>10.4f}{taught.mean():>10.4f}{gain.mean():>+10.4f}")
    print(f"paired t-test p = {ttest_rel(taught, alone).pvalue:.2g}, Wilcoxon p = {wilcoxon(gain).pvalue:.2g}")


if __name__ == "__main__":
    main()
