"""One embedded store for the whole session, a fresh bucket for each test that asks for one."""

import os
import random
import shutil
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from families.tiny import write_tiny
from words import linear_bundle

from textgate.components.contracts import Dataset, Row, TextNormalizer, dataset_writer
from textgate.components.storage import EmbeddedStore, Store

if TYPE_CHECKING:
    from playwright.sync_api import Browser


@pytest.fixture(autouse=True)
def no_inherited_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    """Tests never see the store, bucket or workspace of whoever runs them."""
    for name in list(os.environ):
        if name.startswith(("AWS_", "TEXTGATE_")) and name != "AWS_CA_BUNDLE":
            monkeypatch.delenv(name)


@pytest.fixture(scope="session")
def store_environment(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str]]:
    """The variables of one running embedded store."""
    embedded = EmbeddedStore(tmp_path_factory.mktemp("store"))
    embedded.start()
    yield embedded.environment()
    embedded.stop()


@pytest.fixture
def environment(store_environment: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    """The store's variables, set for this test."""
    for name, value in store_environment.items():
        monkeypatch.setenv(name, value)
    return store_environment


@pytest.fixture
def store(environment: dict[str, str]) -> Store:
    """A fresh bucket."""
    fresh = Store.from_environment(f"test-{uuid.uuid4().hex[:12]}")
    fresh.ensure_bucket()
    return fresh


@pytest.fixture(scope="module")
def browser() -> Iterator["Browser"]:
    """A real Chromium; it ends with the module, for until then no event loop but playwright's can run."""
    from playwright.sync_api import sync_playwright

    chromium = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
    if chromium is None:
        pytest.fail("there is no Chromium for the tests in a browser: install the package chromium", pytrace=False)
    with sync_playwright() as playwright:
        started = playwright.chromium.launch(executable_path=chromium)
        yield started
        started.close()


WORDS = [f"word{number}" for number in range(40)]


@pytest.fixture(scope="session")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    """A preprocessed dataset of easy texts."""
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


WriteBundle = Callable[[Path, bytes], Path]


@pytest.fixture(scope="session")
def write_bundle() -> WriteBundle:
    """Makes a small whole bundle whose one file has the given content; other content, other fingerprint."""

    def write(folder: Path, content: bytes) -> Path:
        folder.mkdir()
        (folder / "weights.bin").write_bytes(content)
        linear_bundle("small", ["no", "yes"]).write(folder)
        return folder

    return write


@pytest.fixture
def bundle_folder(tmp_path: Path, write_bundle: WriteBundle) -> Path:
    """A small whole bundle."""
    return write_bundle(tmp_path / "bundle", b"weights")


@pytest.fixture(scope="session")
def tiny_encoder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A randomly initialised BERT of two layers with a WordPiece tokenizer of a small vocabulary, as a checkpoint."""
    import torch
    from transformers import BertConfig, BertForSequenceClassification, BertTokenizerFast

    folder = tmp_path_factory.mktemp("tiny") / "encoder"
    folder.mkdir()
    words = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "good", "bad", *(f"word{number}" for number in range(200))]
    pieces = [*map(chr, range(33, 127)), *(f"##{chr(code)}" for code in range(33, 127))]
    vocabulary = list(dict.fromkeys([*words, *pieces]))
    (folder / "vocab.txt").write_text("\n".join(vocabulary))
    torch.manual_seed(0)
    config = BertConfig(
        vocab_size=len(vocabulary),
        hidden_size=32,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=64,
        max_position_embeddings=64,
    )
    BertForSequenceClassification(config).save_pretrained(folder)
    BertTokenizerFast(vocab=str(folder / "vocab.txt"), do_lower_case=True).save_pretrained(folder)
    return folder


@pytest.fixture(scope="session")
def tiny_stella(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A checkpoint of stella's architecture and code, tiny and randomly initialised."""
    from families.stella import write_stella

    return write_stella(tmp_path_factory.mktemp("tiny") / "stella")


@pytest.fixture(scope="session")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """A tiny random checkpoint of the named architecture, written once."""
    folder = tmp_path_factory.mktemp("checkpoints")

    def checkpoint(model_type: str) -> Path:
        path = folder / model_type
        return path if path.exists() else write_tiny(path, model_type)

    return checkpoint
