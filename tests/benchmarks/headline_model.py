"""The model of the server benchmarks: MiniLM trained on headlines, as int8 ONNX graph and Hugging Face folder."""

import json
from dataclasses import dataclass
from pathlib import Path

from export import base_model_of
from learning import read, write

from textgate.components.contracts import Export, ModelBundle, OnnxRuntime, TransformerTraining, new_folder
from textgate.components.contracts.files import link_file
from textgate.components.export_onnx.export_onnx import export_bundle
from textgate.components.families import TrainingContext
from textgate.components.inference import load_bundle
from textgate.components.merge_quantize.merge_quantize import merge_bundle
from textgate.components.sources import default_downloads, fetch
from textgate.components.storage import DEFAULT_BUCKET, Registry
from textgate.components.train.train import train_bundle
from textgate.pipelines.workspace import open_store

NAME = "headlines"
TEXTS = 4_096
"""Number of headlines in requests; the model is not trained on them."""
_SPLITS = {"train": 4_000, "validation": 500, "test": 1_000}
_MIN_CONFIDENCE = 0.95
"""Below this, torch, which does not round to 8 bits, may predict another label."""


@dataclass(frozen=True)
class HeadlineModel:
    """The model in a working folder."""

    work: Path
    bundle: ModelBundle
    texts: list[str]

    @property
    def folder(self) -> Path:
        """Folder of the bundle."""
        return self.work / "bundle"

    @property
    def workspace(self) -> Path:
        """Workspace whose registry has the bundle as champion of ``NAME``."""
        return self.work / "workspace"

    @property
    def environment(self) -> dict[str, str]:
        """Environment variables with which a server of ``peers`` finds its model."""
        runtime = self.bundle.runtime
        assert isinstance(runtime, OnnxRuntime)
        return {
            "BENCHMARK_GRAPH": str(self.folder / runtime.graph),
            "BENCHMARK_TOKENIZER": str(self.folder / "tokenizer.json"),
            "BENCHMARK_CHECKPOINT": str(self.folder / "hf"),
            "BENCHMARK_MAX_TOKENS": str(runtime.max_tokens),
            "BENCHMARK_LABELS": json.dumps(self.bundle.labels),
        }

    def confident(self, count: int) -> dict[str, str]:
        """Return ``count`` texts whose label is clear, with the label that every server must return."""
        rows = load_bundle(self.folder).predict_proba(self.texts)
        labels = [
            (text, self.bundle.labels[row.argmax()])
            for text, row in zip(self.texts, rows, strict=True)
            if row.max() > _MIN_CONFIDENCE
        ]
        return dict(labels[:count])


def prepare(work: Path, headlines: Path) -> HeadlineModel:
    """Train, export and publish the model, or reuse the one of an earlier call in ``work``."""
    rows = read(headlines)
    if not (work / "bundle").exists():
        _train(rows, work)
    bundle = ModelBundle.load(work / "bundle")
    assert isinstance(bundle.runtime, OnnxRuntime)
    if not (work / "onnx-folder").exists():
        _write_onnx_folder(work / "bundle", bundle.runtime, work / "onnx-folder")
    model = HeadlineModel(work.absolute(), bundle, [row["text"] for row in rows[-TEXTS:]])
    registry = Registry(open_store(model.workspace, DEFAULT_BUCKET))
    version, champion = registry.publish(NAME, model.folder), registry.channel(NAME)
    if champion is None or champion.version != version:
        registry.update_channel(
            NAME, version, run="benchmark", reason="benchmark", expected=champion.version if champion else None
        )
    return model


def _train(rows: list[dict[str, str]], work: Path) -> None:
    training = TransformerTraining.model_validate(
        {
            "family": "transformer",
            "base_model": base_model_of("quickstart"),
            "max_tokens": 64,
            "epochs": 1,
            "batch_size": 16,
            "learning_rate": 1e-4,
        }
    )
    write(rows, _SPLITS, work / "dataset")
    base_model = fetch(training.base_model, default_downloads())
    train_bundle(work / "dataset", NAME, training, work / "trained", TrainingContext(base_model))
    merge_bundle(work / "trained", work / "merged")
    targets = Export(targets=["onnx-int8", "hf"])
    export_bundle(work / "merged", work / "dataset", targets, work / "bundle")


def _write_onnx_folder(bundle: Path, runtime: OnnxRuntime, output: Path) -> None:
    """Write the graph and the Hugging Face settings under the names that other servers expect."""
    with new_folder(output) as folder:
        for settings in (bundle / "hf").glob("*.json"):
            link_file(settings, folder / settings.name)
        link_file(bundle / runtime.graph, folder / "model_quantized.onnx")
