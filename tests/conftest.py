"""Fixtures of all tests: an embedded store per session, a new bucket per test, small datasets and models."""

import os
import random
import shutil
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from families.tiny import write_tiny
from faults.s3_proxy import FaultyStore
from words import linear_bundle

from textgate.components.contracts import Dataset, Row, TextNormalizer, dataset_writer
from textgate.components.storage import EmbeddedStore, Store

if TYPE_CHECKING:
    from playwright.sync_api import Browser


@pytest.fixture(autouse=True)
def no_inherited_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    """Remove the settings of the user who runs the tests: store, bucket, workspace and tracking services."""
    for name in list(os.environ):
        if name.startswith(("AWS_", "MLFLOW_", "TEXTGATE_", "WANDB_")) and name != "AWS_CA_BUNDLE":
            monkeypatch.delenv(name)


@pytest.fixture(autouse=True)
def no_wait_for_a_connection(monkeypatch: pytest.MonkeyPatch) -> None:
    """Give a store that cannot be reached up at once."""
    monkeypatch.setattr("textgate.components.storage.retries._UNREACHABLE_SECONDS", 0.2)


@pytest.fixture(scope="session")
def store_environment(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str]]:
    """Return the environment variables of a running embedded store."""
    embedded = EmbeddedStore(tmp_path_factory.mktemp("store"))
    embedded.start()
    yield embedded.environment()
    embedded.stop()


@pytest.fixture
def environment(store_environment: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    """Set the store's environment variables for a test, and return them."""
    for name, value in store_environment.items():
        monkeypatch.setenv(name, value)
    return store_environment


@pytest.fixture
def store(environment: dict[str, str]) -> Store:
    """Return a store with a new bucket."""
    store = Store.from_environment(f"test-{uuid.uuid4().hex[:12]}")
    store.ensure_bucket()
    return store


@pytest.fixture
def faulty_store(environment: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> Iterator[FaultyStore]:
    """Return a proxy of the store that injects faults; it is the endpoint of the test's environment."""
    with FaultyStore(environment["AWS_ENDPOINT_URL_S3"]) as proxy:
        monkeypatch.setenv("AWS_ENDPOINT_URL_S3", proxy.endpoint)
        yield proxy


@pytest.fixture(scope="module")
def browser() -> Iterator["Browser"]:
    """Return a Chromium browser. It ends with the module, because no other event loop runs beside playwright's."""
    from playwright.sync_api import sync_playwright

    chromium = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
    if chromium is None:
        pytest.fail("the browser tests need Chromium: install the package chromium", pytrace=False)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium)
        yield browser
        browser.close()


WORDS = [f"word{index}" for index in range(40)]


@pytest.fixture(scope="session")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    """Return a preprocessed dataset of texts whose last word is the label."""
    rng = random.Random(13)
    path = tmp_path_factory.mktemp("data") / "dataset"
    with dataset_writer(path, ["train", "validation", "test"]) as writer:
        for index in range(240):
            label = ["bad", "good"][index % 2]
            text = " ".join([*rng.sample(WORDS, rng.randint(2, 12)), label])
            split = "test" if index % 10 < 2 else "validation" if index % 10 < 4 else "train"
            writer.add(split, Row(str(index), text, label))
        writer.finish("made up", ["bad", "good"], normalizer=TextNormalizer(lowercase=True))
    return Dataset.open(path)


WriteBundle = Callable[[Path, bytes], Path]


@pytest.fixture(scope="session")
def write_bundle() -> WriteBundle:
    """Return a function that writes a bundle with one file of the given content, which decides its fingerprint."""

    def write(folder: Path, content: bytes) -> Path:
        folder.mkdir()
        (folder / "weights.bin").write_bytes(content)
        linear_bundle("small", ["no", "yes"]).write(folder)
        return folder

    return write


@pytest.fixture
def bundle_folder(tmp_path: Path, write_bundle: WriteBundle) -> Path:
    """Return the folder of a small, complete bundle."""
    return write_bundle(tmp_path / "bundle", b"weights")


@pytest.fixture(scope="session")
def tiny_encoder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the folder of a randomly initialised BERT with two layers and a small WordPiece vocabulary."""
    import torch
    from transformers import BertConfig, BertForSequenceClassification, BertTokenizerFast

    folder = tmp_path_factory.mktemp("tiny") / "encoder"
    folder.mkdir()
    words = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "good", "bad", *(f"word{index}" for index in range(200))]
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
    """Return the folder of a tiny, randomly initialised model with stella's architecture and code."""
    from families.stella import write_stella

    return write_stella(tmp_path_factory.mktemp("tiny") / "stella")


@pytest.fixture(scope="session")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """Return a function that gives the folder of a tiny random model of an architecture; each is written once."""
    folder = tmp_path_factory.mktemp("base-models")

    def base_model(model_type: str) -> Path:
        path = folder / model_type
        return path if path.exists() else write_tiny(path, model_type)

    return base_model
