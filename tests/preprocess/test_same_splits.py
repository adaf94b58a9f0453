"""Without near duplicates and groups, preprocess writes the dataset that earlier versions wrote.

The digests are those of commit 135c9c0, which split by dictionaries and knew no near duplicates.
"""

import hashlib
import json
import random
from pathlib import Path
from typing import Any

import pytest

from textgate.components.contracts import Dataset, Preprocess, Rejected, Row, dataset_writer
from textgate.components.preprocess.preprocess import preprocess_dataset

LETTERS = "abcdefghijklmnopqrstuvwxyz"
FOREIGN = ["Das ist ein deutscher Satz, den hier niemand lesen sollte", "Je ne comprends pas pourquoi cet article a"]


def texts(rng: random.Random, count: int) -> list[str]:
    """Return texts of random words, of which no two are near duplicates, with copies and duplicates of some."""

    def word() -> str:
        return "".join(rng.choices(LETTERS, k=rng.randrange(2, 9)))

    own = [" ".join(word() for _ in range(rng.randrange(1, 14))) for _ in range(count)]
    copies = [rng.choice([str.upper, str.title, "@user {}!".format])(text) for text in rng.choices(own, k=count // 5)]
    return own + copies + rng.choices(own, k=count // 5) + [" ", "<br>", "!!", "Ａｂｃ", "abc"]


def write_raw(folder: Path, splits: list[str], english: bool = False) -> None:
    rng = random.Random(13)
    pool = texts(rng, 700)
    if english:
        pool = [f"This is what she wrote to them: {text}" for text in pool if len(text) > 40] + FOREIGN
    rows = rng.choices(pool, k=100 if english else 2_000) + pool
    with dataset_writer(folder, splits, ["date", "genre"]) as writer:
        for number, text in enumerate(rows):
            label = "abc"[len(text) % 3] if rng.random() < 0.97 else rng.choice("abc")
            metadata = {"date": f"2026-{rng.randrange(1, 13):02}-{rng.randrange(1, 29):02}", "genre": rng.choice("xyz")}
            writer.add(rng.choice(splits), Row(f"f.csv:{number}", text, label, metadata))
        writer.reject(Rejected("f.csv:0", "missing label", None, "text"))
        writer.finish("f.csv", ["a", "b", "c"])


CASES: dict[str, tuple[list[str], dict[str, Any], str]] = {
    "plain": (["all"], {}, "fbbe8aea2a437d17"),
    "seed": (["all"], {"seed": 5, "validation": 0.3, "test": 0.4}, "0bb83f77b92fd61c"),
    "cleaned": (["all"], {"normalizer": {"remove_html": True, "lowercase": True}, "balance": True}, "6f6e4c2e5f817c18"),
    "share": (["all"], {"train_share": 0.3, "balance": True, "normalizer": {"lowercase": True}}, "46876e1332b4623a"),
    "test": (["all", "all", "test"], {"normalizer": {"lowercase": True, "remove_html": True}}, "30a429a1b400d9dd"),
    "balanced test": (["all", "all", "test"], {"balance": True, "train_share": 0.5}, "8a40e2442cace431"),
    "time": (["all"], {"test_latest_by": "date", "normalizer": {"lowercase": True}}, "a85d1775ac9037b7"),
    "balanced time": (["all"], {"test_latest_by": "date", "test": 0.4, "balance": True}, "a63d787524ea8ac5"),
    "language": (["all"], {"language": "en"}, "e7ec398646b18020"),
    "language and test": (
        ["all", "all", "test"],
        {"language": "en", "normalizer": {"lowercase": True}},
        "8d5df3a407721787",
    ),
}


@pytest.mark.parametrize("name", CASES)
def test_data_without_near_duplicates_give_the_dataset_of_earlier_versions(name: str, tmp_path: Path) -> None:
    splits, settings, expected = CASES[name]
    assert digest(tmp_path, splits, settings) == expected


def digest(folder: Path, splits: list[str], settings: dict[str, Any]) -> str:
    """Return a digest of the fingerprint, the counts, the rejected rows in order and the choice of the test split."""
    write_raw(folder / "raw", list(dict.fromkeys(splits)), english="language" in settings)
    manifest = preprocess_dataset(folder / "raw", Preprocess.model_validate(settings), folder / "out")
    rejected = [[row.id, row.reason, row.label, row.text] for row in Dataset.open(folder / "out").rejected()]
    choice = None if manifest.test_split is None else [manifest.test_split.by, manifest.test_split.since]
    content = [manifest.fingerprint, manifest.counts, manifest.rejected, manifest.near_duplicates, choice, rejected]
    return hashlib.sha256(json.dumps(content).encode()).hexdigest()[:16]
