"""Models to serve, and a server."""

import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest
from serving.server_process import ServerProcess, promote, promote_in_new_bucket, start_server

from textgate.components.contracts import Dataset, Export, LinearTraining, ModelBundle, OnnxRuntime, TransformerTraining
from textgate.components.contracts.export_target import EXPORT_TARGETS
from textgate.components.export_onnx.target_exporter import TargetExporter
from textgate.components.families import TrainingContext
from textgate.components.storage import Registry, Store
from textgate.components.train.train import train_bundle


@pytest.fixture(scope="session")
def served_bundle(dataset: Dataset, tiny_encoder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny BERT, trained and exported to int8 as it would be served."""
    folder = tmp_path_factory.mktemp("served")
    training = TransformerTraining(family="transformer", base_model="tiny", max_tokens=32, epochs=8, learning_rate=5e-3)
    train_bundle(dataset.path, "small", training, folder / "trained", TrainingContext(tiny_encoder))
    # As in the export step, without the measurements, which take longer than the rest.
    trained = ModelBundle.load(folder / "trained")
    exporter = TargetExporter(folder / "trained", folder, trained, dataset, Export(targets=["onnx-int8"]))
    bundle = exporter.export(EXPORT_TARGETS["onnx-int8"])
    assert isinstance(bundle.runtime, OnnxRuntime)
    assert (bundle.runtime.precision, bundle.runtime.blocks) == ("int8", False)
    return folder / "onnx-int8"


@pytest.fixture(scope="session")
def other_bundle(dataset: Dataset, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Another version: a linear model trained on the same data."""
    folder = tmp_path_factory.mktemp("other") / "bundle"
    train_bundle(dataset.path, "small", LinearTraining(family="linear"), folder, TrainingContext())
    return folder


@pytest.fixture(scope="session")
def server(
    store_environment: dict[str, str], served_bundle: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[ServerProcess]:
    """A server of the model ``small`` with default options, shared by tests that do not change it."""
    bucket = f"served-{uuid.uuid4().hex[:12]}"
    promote_in_new_bucket(store_environment, bucket, served_bundle)
    with start_server(store_environment, bucket, tmp_path_factory.mktemp("workspace"), served_bundle) as server:
        yield server


@pytest.fixture
def registry(store: Store, served_bundle: Path) -> Registry:
    """A registry in which the champion of ``small`` is ``served_bundle``."""
    promote(Registry(store), served_bundle)
    return Registry(store)
