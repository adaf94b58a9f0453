"""What the benchmarks of the endpoint serve: MiniLM trained on headlines, as an int8 graph and as a checkpoint."""

import json
from dataclasses import dataclass
from pathlib import Path

from export import checkpoint_of
from learning import read, write

from textgate.components.contracts import Export, ModelBundle, OnnxRuntime, TransformerTraining, new_folder
from textgate.components.contracts.files import link_file
from textgate.components.evaluate.evaluate import evaluate_bundle
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
"""Headlines that are asked about; the model has not been trained on them."""
_SPLITS = {"train": 4_000, "validation": 500, "test": 1_000}
_SURE = 0.95
"""A text that the model is less sure of may fall the other way on torch, which does not round to 8 bits."""


@dataclass(frozen=True)
class HeadlineModel:
    """What lies in the working folder."""

    work: Path
    bundle: ModelBundle
    texts: list[str]

    @property
    def folder(self) -> Path:
        """Of the bundle."""
        return self.work / "bundle"

    @property
    def workspace(self) -> Path:
        """The workspace whose registry has the bundle as champion of ``NAME``."""
        return self.work / "workspace"

    @property
    def environment(self) -> dict[str, str]:
        """Variables that tell a server of ``peers`` what to load."""
        runtime = self.bundle.runtime
        assert isinstance(runtime, OnnxRuntime)
        return {
            "BENCHMARK_GRAPH": str(self.folder / runtime.graph),
            "BENCHMARK_TOKENIZER": str(self.folder / "tokenizer.json"),
            "BENCHMARK_CHECKPOINT": str(self.folder / "hf"),
            "BENCHMARK_MAX_TOKENS": str(runtime.max_tokens),
            "BENCHMARK_LABELS": json.dumps(self.bundle.labels),
        }

    def sure(self, count: int) -> dict[str, str]:
        """``count`` texts with the labels that every way of serving must answer."""
        rows = load_bundle(self.folder).predict_proba(self.texts)
        answers = [
            (text, self.bundle.labels[row.argmax()])
            for text, row in zip(self.texts, rows, strict=True)
            if row.max() > _SURE
        ]
        return dict(answers[:count])


def prepare(work: Path, headlines: Path) -> HeadlineModel:
    """Train, export and publish the model, or find it in ``work`` from the time before."""
    rows = read(headlines)
    if not (work / "bundle").exists():
        _make(rows, work)
    bundle = ModelBundle.load(work / "bundle")
    assert isinstance(bundle.runtime, OnnxRuntime)
    if not (work / "onnx-checkpoint").exists():
        _write_onnx_checkpoint(work / "bundle", bundle.runtime, work / "onnx-checkpoint")
    model = HeadlineModel(work.absolute(), bundle, [row["text"] for row in rows[-TEXTS:]])
    registry = Registry(open_store(model.workspace, DEFAULT_BUCKET))
    version, champion = registry.publish(NAME, model.folder), registry.channel(NAME)
    if champion is None or champion.version != version:
        registry.update_channel(
            NAME, version, run="benchmark", reason="benchmark", expected=champion and champion.version
        )
    return model


def _make(rows: list[dict[str, str]], work: Path) -> None:
    training = TransformerTraining.model_validate(
        {
            "family": "transformer",
            "base_model": checkpoint_of("quickstart"),
            "max_tokens": 64,
            "epochs": 1,
            "batch_size": 16,
            "learning_rate": 1e-4,
        }
    )
    write(rows, _SPLITS, work / "dataset")
    checkpoint = fetch(training.base_model, default_downloads())
    train_bundle(work / "dataset", NAME, training, work / "trained", TrainingContext(checkpoint))
    evaluate_bundle(work / "dataset", work / "trained", work / "judged")
    merge_bundle(work / "trained", work / "merged")
    targets = Export(targets=["onnx-int8", "hf"])
    export_bundle(work / "merged", work / "dataset", work / "judged", targets, work / "bundle")


def _write_onnx_checkpoint(bundle: Path, runtime: OnnxRuntime, output: Path) -> None:
    """The graph with the checkpoint's settings beside it, as servers want it that read ONNX by Hugging Face's names."""
    with new_folder(output) as folder:
        for settings in (bundle / "hf").glob("*.json"):
            link_file(settings, folder / settings.name)
        link_file(bundle / runtime.graph, folder / "model_quantized.onnx")
