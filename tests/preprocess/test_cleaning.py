"""Cleaning in parts, followed by deduplication and split of all rows."""

import random
from itertools import chain
from pathlib import Path
from typing import Any

import pytest

from textgate.components.contracts import Dataset, InputError, Preprocess, Rejected, Row, dataset_writer
from textgate.components.preprocess.cleaning import clean_part
from textgate.components.preprocess.preprocess import preprocess_dataset

PARTS = 3
TEXTS = [
    "The film was <b>wonderful</b> and I would see it again.",
    "the film was wonderful and i would see it again.",
    "A dull and tedious story that goes nowhere at all.",
    *["<br>"] * 10,
    *(f"Number {number} of the many films that nobody remembers." for number in range(300)),
    *(f"Film Nummer {number}, den man unbedingt gesehen haben muss." for number in range(100)),
]


@pytest.fixture(scope="module")
def raw(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder with an ingested source, complete and in parts."""
    folder = tmp_path_factory.mktemp("raw")
    rng = random.Random(13)

    def row(identity: str) -> tuple[str, Row]:
        number = rng.randrange(len(TEXTS))
        label = "ab"[number % 2] if rng.random() < 0.95 else rng.choice("ab")
        return rng.choice(["all", "all", "test"]), Row(identity, TEXTS[number], label)

    parts = [[row(f"{part}:{number}") for number in range(200)] for part in range(PARTS)]
    for name, rows in {"whole": list(chain(*parts)), **dict(enumerate(parts))}.items():
        with dataset_writer(folder / str(name), ["all", "test"]) as writer:
            for split, each in rows:
                writer.add(split, each)
            writer.reject(Rejected(f"{name}", "missing label", None, "text"))
            writer.finish(f"films part {name}", ["a", "b"])
    return folder


@pytest.mark.parametrize(
    "settings",
    [
        {"normalizer": {"remove_html": True, "lowercase": True}},
        {"normalizer": {"remove_html": True}, "language": "en", "balance": True},
    ],
    ids=str,
)
def test_cleaning_in_parts_gives_the_same_dataset(settings: dict[str, Any], raw: Path, tmp_path: Path) -> None:
    section = Preprocess.model_validate(settings)
    whole = preprocess_dataset(raw / "whole", section, tmp_path / "whole")
    parts = [tmp_path / f"part-{part}" for part in range(PARTS)]
    for part, output in enumerate(parts):
        clean_part(raw / str(part), section, output)
    joined = preprocess_dataset(raw / "whole", section, tmp_path / "joined", parts[::-1])
    assert joined == whole
    assert {"duplicate", "conflicting label", "empty text"} <= set(whole.rejected)
    assert ("another language" in whole.rejected) == (section.language is not None)
    one, other = Dataset.open(tmp_path / "whole"), Dataset.open(tmp_path / "joined")
    for split in whole.counts:
        assert list(other.rows(split)) == list(one.rows(split))
    assert list(other.rejected()) == list(one.rejected())


def test_an_unknown_language_is_an_input_error(raw: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="'xx' cannot be detected"):
        clean_part(raw / "0", Preprocess(language="xx"), tmp_path / "out")
    assert not (tmp_path / "out").exists()
