"""One embedded store for the whole session, a fresh bucket for each test that asks for one."""

import os
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from textgate.components.contracts import LinearRuntime, ModelBundle, TextNormalizer
from textgate.components.storage import EmbeddedStore, Store


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


WriteBundle = Callable[[Path, bytes], Path]


@pytest.fixture(scope="session")
def write_bundle() -> WriteBundle:
    """Makes a small whole bundle whose one file has the given content; other content, other fingerprint."""

    def write(folder: Path, content: bytes) -> Path:
        folder.mkdir()
        (folder / "weights.bin").write_bytes(content)
        ModelBundle(
            name="small",
            family="linear",
            runtime=LinearRuntime(ngrams=(1, 1), sublinear=True),
            labels=["no", "yes"],
            normalizer=TextNormalizer(),
            recipe={},
            metrics={},
            dataset="0" * 64,
            versions={},
        ).write(folder)
        return folder

    return write


@pytest.fixture
def bundle_folder(tmp_path: Path, write_bundle: WriteBundle) -> Path:
    """A small whole bundle."""
    return write_bundle(tmp_path / "bundle", b"weights")
