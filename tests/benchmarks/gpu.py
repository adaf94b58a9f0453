"""Measure fine-tuning and serving on a GPU with the recipes' settings, and check the memory that the recipes promise.

    python tests/benchmarks/gpu.py

The base models have the true shape and random weights, so that nothing is downloaded. They are written to a temporary
folder (up to 17 GB) and trained by the product's own train step. Where a recipe promises to fit a GPU, PyTorch may not
take more than that GPU has. Memory, throughput and MFU are those that the step records (``AcceleratorUse``); the last
figure is the share of the rate of a large bf16 matrix product, measured in the same run. With onnxruntime-gpu, the
trained BERT is exported to fp16 and served on the GPU and the CPU.

Without a CUDA device the script prints "no GPU" and exits with 0; a promise that is not kept ends it with 1.
"""

import argparse
import gc
import random
import sys
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from typing import Any

import torch

from textgate.components.contracts.training_cost import AcceleratorUse

_SMALL_LLAMA = {"model_type": "llama", "vocab_size": 128_256, "num_attention_heads": 32, "num_key_value_heads": 8}
_LLAMA_1B = {"hidden_size": 2_048, "intermediate_size": 8_192, "num_hidden_layers": 16, "tie_word_embeddings": True}
_LLAMA_8B = {"hidden_size": 4_096, "intermediate_size": 14_336, "num_hidden_layers": 32}
_STELLA_1B = {
    "model_type": "llama",
    "vocab_size": 151_646,
    "hidden_size": 1_536,
    "intermediate_size": 8_960,
    "num_hidden_layers": 28,
    "num_attention_heads": 12,
    "num_key_value_heads": 2,
}
"""Sizes of stella_en_1.5B_v5, the larger sibling of the base model of reviews-stella-qlora. It is a Qwen2, which
differs from a Llama in biases only, and whose tokenizer cannot be made up."""
_STELLA_SETTINGS = ["train.trust_remote_code=false", "train.adapter.targets=[q_proj, k_proj, v_proj, o_proj]"]


@dataclass(frozen=True)
class Case:
    """A training to measure."""

    recipe: str
    """Recipe that has the settings."""
    shape: dict[str, Any]
    """Configuration of the base model."""
    tokens: int
    """Tokens per text."""
    texts: int
    """Number of training texts."""
    overrides: list[str] = field(default_factory=list)
    """Changes of the recipe's values."""
    promised: float | None = None
    """Bytes of memory of the GPU that the recipe promises to fit."""


CASES = {
    "bert-base": Case("clickbait-bert-base", {"model_type": "bert"}, 128, 8_192),
    "bert-base, adamw_8bit": Case(
        "clickbait-bert-base", {"model_type": "bert"}, 128, 8_192, ["train.optimizer=adamw_8bit"]
    ),
    "Stella 1.5B QLoRA": Case("reviews-stella-qlora", _STELLA_1B, 512, 256, _STELLA_SETTINGS, promised=8e9),
    "1B QLoRA": Case("clickbait-llama3-8b", _SMALL_LLAMA | _LLAMA_1B, 512, 512),
    "8B QLoRA": Case("clickbait-llama3-8b", _SMALL_LLAMA | _LLAMA_8B, 256, 512, promised=24e9),
    "8B int8, paged_adamw_8bit": Case(
        "clickbait-llama3-8b",
        _SMALL_LLAMA | _LLAMA_8B,
        256,
        256,
        ["train.adapter.quantization=int8", "train.optimizer=paged_adamw_8bit"],
    ),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cases", nargs="*", choices=list(CASES), default=list(CASES))
    arguments = parser.parse_args()
    if not torch.cuda.is_available():
        print("no GPU")
        sys.exit(0)
    rate = matrix_rate()
    print(f"{torch.cuda.get_device_name()}: {rate / 1e12:.0f} TFLOP/s in a bf16 matrix product", flush=True)
    broken = []
    for name in arguments.cases:
        case, started = CASES[name], time.perf_counter()
        with tempfile.TemporaryDirectory() as folder:
            use = measure(case, Path(folder))
            promise = ""
            if case.promised is not None:
                kept = use is not None and use.peak_reserved <= case.promised
                promise = f"; {'fits' if kept else 'DOES NOT FIT'} {case.promised / 1e9:.0f} GB"
                broken += [] if kept else [name]
            if use is None:
                print(f"{name}: out of memory{promise}", flush=True)
                continue
            print(f"{name}: {use.message}, {use.peak_allocated / 1e9:.1f} GB in tensors{promise}", flush=True)
            peak = peak_flops()
            if use.mfu and peak:
                print(f"    {use.mfu * peak / rate:.0%} of the matrix rate", flush=True)
            if name == "bert-base":
                print(f"    {serving_speed(Path(folder))}", flush=True)
        print(f"    took {time.perf_counter() - started:.0f} s", flush=True)
    sys.exit(f"too much memory: {', '.join(broken)}" if broken else 0)


def measure(case: Case, folder: Path) -> AcceleratorUse | None:
    """Train in ``folder``, and return what the GPU did; None if the promised memory was not enough, or without a GPU.

    ``folder`` then has the dataset and the bundle ``trained``.
    """
    from textgate.components.contracts import TransformerTraining
    from textgate.components.families import TrainingContext
    from textgate.components.families.accelerator_meter import AcceleratorMeter
    from textgate.components.train.train import train_bundle
    from textgate.pipelines import recipes

    base_model = write_base_model(folder / "base", case.shape)
    write_dataset(folder / "dataset", case.tokens, case.texts)
    settings = [f"train.max_tokens={case.tokens}", "train.epochs=1", f"train.base_model={base_model}", *case.overrides]
    training = recipes.load(case.recipe, settings).train
    assert isinstance(training, TransformerTraining)
    on_gpu = torch.cuda.is_available()
    if on_gpu and case.promised is not None:
        torch.cuda.set_per_process_memory_fraction(case.promised / torch.cuda.mem_get_info()[1])
    meter = AcceleratorMeter.for_training(training)
    try:
        train_bundle(folder / "dataset", "gpu", training, folder / "trained", TrainingContext(base_model, meter=meter))
        return meter.use() if meter else None
    except torch.cuda.OutOfMemoryError:
        return None
    finally:
        gc.collect()
        if on_gpu:
            torch.cuda.empty_cache()
            torch.cuda.set_per_process_memory_fraction(1.0)


def write_base_model(folder: Path, shape: dict[str, Any]) -> Path:
    """Write a base model with random weights and a tokenizer of 1,000 words; in bf16 unless it is a BERT."""
    from tokenizers import Tokenizer, models, pre_tokenizers
    from transformers import AutoConfig, AutoModel, PreTrainedTokenizerFast

    vocabulary = {"[PAD]": 0, "[BOS]": 1, **{f"w{index}": index for index in range(2, 1_000)}}
    tokenizer = Tokenizer(models.WordLevel(vocabulary, unk_token="[PAD]"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    PreTrainedTokenizerFast(tokenizer_object=tokenizer, pad_token="[PAD]", bos_token="[BOS]").save_pretrained(folder)
    config = AutoConfig.for_model(**shape, pad_token_id=0)
    with torch.device("cuda" if torch.cuda.is_available() else "cpu"):
        dtype = torch.float32 if shape["model_type"] == "bert" else torch.bfloat16
        AutoModel.from_config(config, dtype=dtype).save_pretrained(folder)
    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
    return folder


def write_dataset(folder: Path, tokens: int, texts: int) -> None:
    """Write a dataset of random texts of ``tokens`` tokens each."""
    from textgate.components.contracts import Row, TextNormalizer, dataset_writer

    rng = random.Random(13)
    with dataset_writer(folder, ["train", "validation", "test"]) as writer:
        for index in range(texts + 64):
            text = " ".join(f"w{rng.randrange(2, 1_000)}" for _ in range(tokens))
            split = "train" if index < texts else "validation" if index < texts + 32 else "test"
            writer.add(split, Row(str(index), text, ["no", "yes"][index % 2]))
        writer.finish("random words", ["no", "yes"], normalizer=TextNormalizer())


def serving_speed(folder: Path) -> str:
    """Export the bundle ``trained`` to fp16, serve it on the GPU and the CPU, and return a sentence about it."""
    import numpy as np

    from textgate.components.contracts import Dataset, Export, InputError
    from textgate.components.export_onnx.export_onnx import export_bundle
    from textgate.components.inference import load_bundle
    from textgate.components.inference.device import check_cuda

    try:
        check_cuda()
    except InputError as error:
        return f"serving was not measured: {error}"
    export_bundle(folder / "trained", folder / "dataset", Export(targets=["onnx-fp16"]), folder / "served")
    texts = Dataset.open(folder / "dataset").columns("train")[1][:1_024]
    on_gpu, on_cpu = load_bundle(folder / "served", device="cuda"), load_bundle(folder / "served")
    difference = np.abs(on_gpu.predict_proba(texts[:64]) - on_cpu.predict_proba(texts[:64])).max()
    started = time.perf_counter()
    on_gpu.predict_proba(texts)
    seconds = time.perf_counter() - started
    single = []
    for text in texts[:50]:
        started = time.perf_counter()
        on_gpu.predict_proba([text])
        single.append(time.perf_counter() - started)
    return (
        f"served in fp16 on the GPU: {len(texts) / seconds:,.0f} texts/s, {1e3 * median(single):.1f} ms for one text, "
        f"probabilities within {difference:.4f} of the CPU's"
    )


def peak_flops() -> float | None:
    """Return the peak FLOP/s of this device, by which the step computes MFU."""
    from textgate.components.families.accelerator_meter import PEAK_FLOPS

    return PEAK_FLOPS.get(torch.cuda.get_device_name())


def matrix_rate() -> float:
    """Return the FLOP/s of a large bf16 matrix product."""
    left, right = (torch.randn(8_192, 8_192, device="cuda", dtype=torch.bfloat16) for _ in range(2))
    times = []
    for _ in range(20):
        torch.cuda.synchronize()
        started = time.perf_counter()
        left @ right
        torch.cuda.synchronize()
        times.append(time.perf_counter() - started)
    return 2 * 8_192**3 / median(times)


if __name__ == "__main__":
    main()
