"""Training texts whose label looks wrong: planted errors are found, copies are held out together, nothing is random."""

import random
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import pytest

from textgate.components.check_labels.label_check import check_dataset
from textgate.components.contracts import InputError, Row, TextNormalizer, dataset_writer
from textgate.components.contracts.label_issues import LabelIssue, LabelIssues
from textgate.components.contracts.text_keys import text_key

VOCABULARY = [f"word{index}" for index in range(400)]


def sentences(label: str, count: int, rng: random.Random, clarity: float = 0.45) -> list[str]:
    """Return sentences of 12 words, a share of which is typical of the label."""
    typical = random.Random(label).sample(VOCABULARY, 120)
    return [
        " ".join(rng.choice(typical if rng.random() < clarity else VOCABULARY) for _ in range(12)) for _ in range(count)
    ]


def write(folder: Path, rows: Sequence[tuple[str, str]]) -> Path:
    """Write (text, label) pairs as a preprocessed training split; the id of a row is its index."""
    with dataset_writer(folder, ["train"], keyed=True) as writer:
        for index, (text, label) in enumerate(rows):
            writer.add("train", Row(str(index), text, label, key=text_key(text)))
        writer.finish("data.csv", sorted({label for _, label in rows}), normalizer=TextNormalizer())
    return folder


def planted(counts: Mapping[str, int], share: float, seed: int = 13) -> tuple[list[tuple[str, str]], dict[int, str]]:
    """Return labelled texts with a share of wrong labels, and the true label of these by their index."""
    rng = random.Random(seed)
    rows = [(text, label) for label, count in counts.items() for text in sentences(label, count, rng)]
    rng.shuffle(rows)
    truth = {index: rows[index][1] for index in rng.sample(range(len(rows)), int(share * len(rows)))}
    for index, label in truth.items():
        rows[index] = (rows[index][0], rng.choice([other for other in counts if other != label]))
    return rows, truth


def check(folder: Path, rows: Sequence[tuple[str, str]], texts: int = 50_000, seed: int = 13) -> list[LabelIssue]:
    check_dataset(write(folder / "dataset", rows), texts, seed, folder / "issues")
    return list(LabelIssues.open(folder / "issues").rows())


@pytest.mark.parametrize("share", [0.05, 0.1, 0.2])
@pytest.mark.parametrize("counts", [{"a": 900, "b": 900}, {"a": 900, "b": 500, "c": 500}], ids=["two", "three"])
def test_planted_label_errors_come_first(counts: dict[str, int], share: float, tmp_path: Path) -> None:
    rows, truth = planted(counts, share)
    issues = check(tmp_path, rows)
    first = issues[: len(truth)]
    right = [issue for issue in first if int(issue.id) in truth]
    assert len(right) >= 0.7 * len(truth)
    assert 0.7 * len(truth) <= len(issues) <= 1.5 * len(truth)
    assert sum(issue.suggested == truth[int(issue.id)] for issue in right) >= 0.8 * len(right)
    assert [issue.score for issue in issues] == sorted(issue.score for issue in issues)


def test_the_counts_are_those_of_the_listed_texts(tmp_path: Path) -> None:
    rows, _ = planted({"a": 400, "b": 300, "c": 300}, 0.1)
    issues = check(tmp_path, rows)
    manifest = LabelIssues.open(tmp_path / "issues").manifest
    assert manifest.issues == len(issues) > 0
    assert {label: count.issues for label, count in manifest.labels.items()} == Counter(issue.label for issue in issues)
    assert {label: count.checked for label, count in manifest.labels.items()} == Counter(label for _, label in rows)
    pairs = {(pair.label, pair.suggested): pair.issues for pair in manifest.pairs}
    assert pairs == Counter((issue.label, issue.suggested) for issue in issues)
    assert [pair.issues for pair in manifest.pairs] == sorted(pairs.values(), reverse=True)
    assert (manifest.texts, manifest.checked) == (1000, 1000)
    assert manifest.message == f"TF-IDF doubts {len(issues)} of 1,000 training labels, the most doubtful first"


def test_labels_without_errors_are_hardly_suspected(tmp_path: Path) -> None:
    rows, _ = planted({"a": 900, "b": 900}, 0.0)
    assert len(check(tmp_path, rows)) < 0.05 * len(rows)


def test_the_same_dataset_gives_the_same_bytes(tmp_path: Path) -> None:
    rows, _ = planted({"a": 300, "b": 300}, 0.1)
    for name in ("1", "2"):
        check(tmp_path / name, rows, texts=400)
    for name in ("label_issues.csv", "label_issues.json"):
        assert (tmp_path / "1/issues" / name).read_bytes() == (tmp_path / "2/issues" / name).read_bytes()


def test_copies_of_a_wrong_label_do_not_confirm_each_other(tmp_path: Path) -> None:
    """The copies differ in case and punctuation, so that cleaning may keep them all; they share a key."""
    rows, _ = planted({"a": 300, "b": 300}, 0.0)
    rng = random.Random(14)
    copied = sentences("a", 10, rng, clarity=0.9)
    rows += [(text.upper() + "!" * copy, "b") for text in copied for copy in range(8)]
    found = {rows[int(issue.id)][0].rstrip("!").lower() for issue in check(tmp_path, rows)}
    assert len(found & set(copied)) >= 9


def test_a_label_with_too_few_texts_is_not_suspected(tmp_path: Path) -> None:
    rows, _ = planted({"a": 200, "b": 200}, 0.0)
    rows += [(f"{text}{'!' * copy}", "rare") for text in sentences("rare", 9, random.Random(1)) for copy in range(3)]
    issues = check(tmp_path, rows)
    manifest = LabelIssues.open(tmp_path / "issues").manifest
    assert manifest.unchecked == {"rare": 27}
    assert list(manifest.labels) == ["a", "b"]
    assert "rare" not in {label for issue in issues for label in (issue.label, issue.suggested)}


@pytest.mark.parametrize("text", ["good film {}", "... {}"], ids=["few texts", "no words"])
def test_nothing_is_suspected_where_nothing_can_be_learnt(text: str, tmp_path: Path) -> None:
    rows = [(text.format("!" * (index + 1)), "ab"[index % 2]) for index in range(40)]
    assert check(tmp_path, rows) == []


def test_a_large_dataset_is_sampled(tmp_path: Path) -> None:
    rows, truth = planted({"a": 900, "b": 900}, 0.1)
    issues = check(tmp_path / "1", rows, texts=600)
    manifest = LabelIssues.open(tmp_path / "1/issues").manifest
    assert (manifest.texts, manifest.checked) == (1800, 600)
    assert manifest.message.endswith("of 600 training labels, the most doubtful first")
    assert np.mean([int(issue.id) in truth for issue in issues]) > 0.5
    ids = [{issue.id for issue in check(tmp_path / str(seed), rows, texts=600, seed=seed)} for seed in (13, 14)]
    assert ids[0] == {issue.id for issue in issues}
    assert ids[1] != ids[0]


def test_an_ingested_dataset_is_refused(tmp_path: Path) -> None:
    with dataset_writer(tmp_path / "raw", ["train"]) as writer:
        writer.add("train", Row("1", "text", "a"))
        writer.finish("data.csv", ["a", "b"])
    with pytest.raises(InputError, match="has not been preprocessed"):
        check_dataset(tmp_path / "raw", 100, 13, tmp_path / "issues")
