"""Two text columns as a pair, joined by the separator of the base model's tokenizer."""

from pathlib import Path

import pytest
from families.tiny import write_tiny

from textgate.components.contracts import Dataset, Source
from textgate.components.inference.tokenizer import read_tokenizer
from textgate.components.ingest.ingest import ingest_source

PAIRS = [("good word1", "bad"), ("word2", "yes no"), ("good", "")]


def joined(tmp_path: Path, separator: str) -> list[str]:
    rows = "".join(f"{premise},{hypothesis},{number % 2}\n" for number, (premise, hypothesis) in enumerate(PAIRS))
    (tmp_path / "pairs.csv").write_text(f"premise,hypothesis,label\n{rows}")
    source = Source(uri=str(tmp_path / "pairs.csv"), text=["premise", "hypothesis"], separator=separator)
    ingest_source(source, tmp_path / "out", tmp_path)
    return [row.text for row in Dataset.open(tmp_path / "out").rows("all")]


def test_texts_are_joined_by_a_space_by_default(tmp_path: Path) -> None:
    assert Source(uri="x").separator == " "
    assert joined(tmp_path, " ") == ["good word1 bad", "word2 yes no", "good"]


@pytest.mark.parametrize("model_type", ["bert", "distilbert"])
def test_the_tokenizer_reads_the_separator_as_the_end_of_the_first_text(model_type: str, tmp_path: Path) -> None:
    tokenizer = read_tokenizer(write_tiny(tmp_path / "base", model_type) / "tokenizer.json", 64)
    texts = joined(tmp_path, " [SEP] ")
    assert texts[2] == "good"
    for text, pair in zip(texts[:2], PAIRS, strict=False):
        assert tokenizer.encode(text).ids == tokenizer.encode(*pair).ids
        assert tokenizer.encode(text).ids != tokenizer.encode(" ".join(pair)).ids
