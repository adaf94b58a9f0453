"""A preprocessed dataset of easy texts, and a tiny encoder with a tokenizer of its own."""

import random

import pytest

from textgate.components.contracts import Dataset, Row, TextNormalizer, dataset_writer

WORDS = [f"word{number}" for number in range(40)]


@pytest.fixture(scope="session")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    rng = random.Random(13)
    path = tmp_path_factory.mktemp("data") / "dataset"
    with dataset_writer(path, ["train", "validation", "test"]) as writer:
        for number in range(240):
            label = ["bad", "good"][number % 2]
            text = " ".join([*rng.sample(WORDS, rng.randint(2, 12)), label])
            split = "test" if number % 10 < 2 else "validation" if number % 10 < 4 else "train"
            writer.add(split, Row(str(number), text, label))
        writer.finish("made up", ["bad", "good"], normalizer=TextNormalizer(lowercase=True))
    return Dataset.open(path)


@pytest.fixture(scope="session", autouse=True)
def one_thread() -> None:
    """A tiny model spends its time on handing work to a second thread."""
    import torch

    torch.set_num_threads(1)
