"""Measure quality and cost of every export target of MiniLM (an encoder) and SmolLM2 (a decoder), on headlines.

    python tests/benchmarks/export.py --headlines clickbait_headlines.jsonl.gz [--only minilm|smollm2]

Fine-tunes MiniLM fully and SmolLM2 with QLoRA, merges, and exports every target with the pipeline's export step. Prints
for each target its size, the paired F1 difference to the trained model on the test texts, the agreement, and texts per
CPU-second of one thread, tokenization included, compared with torch in fp32. All targets are timed in one process, in
turns; the median of five is printed. Takes 20 minutes on two idle cores.
"""

import argparse
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from statistics import median
from typing import Any

import torch
from learning import read, write

from textgate.components.contracts import (
    Adapter,
    Dataset,
    Export,
    ModelBundle,
    OnnxRuntime,
    TransformerTraining,
)
from textgate.components.contracts.measurement import Measurements
from textgate.components.evaluate.evaluate import evaluate_bundle
from textgate.components.export_onnx.export_onnx import export_bundle
from textgate.components.families import EXPORTABLE_FAMILIES, TrainingContext
from textgate.components.inference import Predictor
from textgate.components.inference.onnx import OnnxPredictor
from textgate.components.merge_quantize.merge_quantize import compare_merged, merge_bundle
from textgate.components.sources import default_downloads, fetch
from textgate.components.train.train import train_bundle
from textgate.pipelines import recipes

SPLITS = {
    "minilm": {"train": 6_000, "validation": 1_000, "test": 4_000},
    "smollm2": {"train": 900, "validation": 300, "test": 1_000},
}
TARGETS = ["onnx-fp32", "onnx-fp16", "onnx-int8", "onnx-int4", "hf", "hf-nf4"]
TIMED_TEXTS = {"minilm": 400, "smollm2": 60}
"""Number of test texts that the rates are measured on."""
REPEATS = 5


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--headlines", type=Path, required=True)
    parser.add_argument("--only", choices=SPLITS)
    arguments = parser.parse_args()
    shared: dict[str, Any] = {"family": "transformer", "max_tokens": 64, "epochs": 1, "batch_size": 16}
    minilm, smollm2 = base_model_of("quickstart"), base_model_of("quickstart-llm")
    trainings = {
        "minilm": TransformerTraining(**shared, base_model=minilm, learning_rate=1e-4),
        "smollm2": TransformerTraining(
            **shared, base_model=smollm2, learning_rate=1e-3, adapter=Adapter(r=8, alpha=16)
        ),
    }
    for name in [arguments.only] if arguments.only else SPLITS:
        with tempfile.TemporaryDirectory() as scratch:
            folder = Path(scratch)
            write(read(arguments.headlines), SPLITS[name], folder / "dataset")
            report(name, trainings[name], folder)


def base_model_of(recipe: str) -> str:
    """Return the URI of a recipe's base model."""
    training = recipes.load(recipe).train
    assert isinstance(training, TransformerTraining)
    return training.base_model


def report(name: str, training: TransformerTraining, folder: Path) -> None:
    base_model = fetch(training.base_model, default_downloads())
    train_bundle(folder / "dataset", name, training, folder / "trained", TrainingContext(base_model))
    trained = evaluate_bundle(folder / "dataset", folder / "trained", folder / "evaluated")
    merged = merge_bundle(folder / "trained", folder / "merged")
    compare_merged(folder / "merged", merged, folder / "evaluated")
    settings = Export.model_validate({"targets": TARGETS, "max_f1_loss": 0.005})
    bundle, measurements = export_bundle(folder / "merged", folder / "dataset", settings, folder / "exported")
    dataset = Dataset.open(folder / "dataset")
    rates = texts_per_cpu_second(folder, bundle, measurements, dataset.columns("test")[1][: TIMED_TEXTS[name]])
    fp32 = next(target for target in measurements.targets if target.target == "onnx-fp32")
    print(f"\n{name}: F1 {trained.manifest.f1} as trained on torch, {rates['torch fp32']:,.0f} texts per CPU-second")
    print("| target | MB | of fp32 | F1 difference | agreement | texts per CPU-second | of torch fp32 | peak MB | |")
    print("| --- | --- | --- | --- | --- | --- | --- | --- | --- |")
    for target in measurements.targets:
        rate = rates.get(target.target)
        difference = target.f1_difference
        print(
            f"| {target.target} | {target.bytes / 1e6:.1f} | {target.bytes / fp32.bytes:.0%} | {difference.value:+.4f} "
            f"[{difference.low:+.4f}, {difference.high:+.4f}] | {target.agreement:.4f} | "
            + (f"{rate:,.0f} | {rate / rates['torch fp32']:.2f}x" if rate else " | ")
            + f" | {target.peak_memory / 1e6:,.0f} | {'served' if target.target == measurements.served else ''} |",
            flush=True,
        )


def texts_per_cpu_second(
    folder: Path, bundle: ModelBundle, measurements: Measurements, texts: list[str]
) -> Mapping[str, float]:
    """Return the rate of each ONNX target and of torch, measured on one thread, in turns."""
    torch.set_num_threads(1)
    merged = ModelBundle.load(folder / "merged")
    predictors: dict[str, Predictor] = {
        "torch fp32": EXPORTABLE_FAMILIES["transformer"]().predictor(folder / "merged", merged, None)
    }
    for target, runtime in {measurements.served: bundle.runtime, **bundle.alternatives}.items():
        if isinstance(runtime, OnnxRuntime):
            predictors[target] = OnnxPredictor(folder / "exported", bundle.normalizer, runtime, threads=1)
    seconds: dict[str, list[float]] = {target: [] for target in predictors}
    for _ in range(REPEATS):
        for target, predictor in predictors.items():
            started = time.process_time()
            predictor.predict_proba(texts)
            seconds[target].append(time.process_time() - started)
    return {target: len(texts) / median(durations) for target, durations in seconds.items()}


if __name__ == "__main__":
    main()
