"""Measure fine-tuning on a GPU with the recipes' settings: tokens per second, peak memory, share of the matrix rate.

    python tests/benchmarks/gpu.py

The models have the true shape and random weights, so that nothing is downloaded: bert-base, fully fine-tuned, and
Llamas of 1 and 8 billion parameters with the adapter, batch size and gradient checkpointing of a recipe. They are
trained by the product's own training loop. Without a CUDA device the script prints "no GPU" and exits with 0.

Model FLOPs per token are 6 N if all weights are trained and 4 N with an adapter, because frozen weights need no
gradient; N counts the weights outside the embeddings. Recomputation by gradient checkpointing does not count (Chowdhery
et al., PaLM, 2022, appendix B). The limit is the rate of a large bf16 matrix product, measured in the same run.
"""

import argparse
import sys
import tempfile
import time
from pathlib import Path
from statistics import median
from typing import Any

import torch

MODELS: dict[str, tuple[str, dict[str, Any], int, int]] = {
    "bert-base": ("clickbait-bert-base", {"model_type": "bert"}, 128, 4_096),
    "1B QLoRA": (
        "clickbait-llama3-8b",
        {
            "model_type": "llama",
            "vocab_size": 128_256,
            "hidden_size": 2_048,
            "intermediate_size": 8_192,
            "num_hidden_layers": 16,
            "num_attention_heads": 32,
            "num_key_value_heads": 8,
            "tie_word_embeddings": True,
        },
        512,
        512,
    ),
    "8B QLoRA": (
        "clickbait-llama3-8b",
        {
            "model_type": "llama",
            "vocab_size": 128_256,
            "hidden_size": 4_096,
            "intermediate_size": 14_336,
            "num_hidden_layers": 32,
            "num_attention_heads": 32,
            "num_key_value_heads": 8,
        },
        512,
        256,
    ),
}
"""By name: recipe that has the settings, model configuration, tokens per text, number of texts."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--models", nargs="*", choices=list(MODELS), default=list(MODELS))
    arguments = parser.parse_args()
    if not torch.cuda.is_available():
        print("no GPU")
        sys.exit(0)
    limit = matrix_rate()
    print(f"{torch.cuda.get_device_name()}: {limit / 1e12:.0f} TFLOP/s in a bf16 matrix product", flush=True)
    for name in arguments.models:
        recipe, shape, tokens, texts = MODELS[name]
        seconds, flops, peak = measure(recipe, shape, tokens, texts)
        print(
            f"{name}: {texts * tokens / seconds:,.0f} tokens/s at {tokens} tokens per text, peak memory "
            f"{peak / 2**30:.1f} GiB, {flops * texts * tokens / seconds / limit:.0%} of the matrix rate",
            flush=True,
        )


def measure(recipe: str, shape: dict[str, Any], tokens: int, texts: int) -> tuple[float, float, int]:
    """Return the seconds of one epoch, the model FLOPs per token and the peak bytes of GPU memory."""
    from transformers import AutoConfig, AutoModelForSequenceClassification

    from textgate.components.contracts import TransformerTraining
    from textgate.components.families import TrainingContext
    from textgate.components.families.transformer.model.adapters import add_adapter
    from textgate.components.families.transformer.model.architectures import architecture_of
    from textgate.components.families.transformer.model.last_token import pool_last_token
    from textgate.components.families.transformer.training.loop import train
    from textgate.pipelines import recipes

    training = recipes.load(recipe, [f"train.max_tokens={tokens}", "train.epochs=1"]).train
    assert isinstance(training, TransformerTraining)
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    architecture = architecture_of(shape["model_type"])
    config = AutoConfig.for_model(**shape, **architecture.config_overrides, num_labels=2, pad_token_id=0)
    dtype = torch.bfloat16 if training.adapter else torch.float32
    with device:
        model = AutoModelForSequenceClassification.from_config(config, dtype=dtype)
    weights = sum(weight.numel() for name, weight in model.named_parameters() if "embed" not in name)
    if architecture.last_token:
        pool_last_token(model)
    if training.adapter:
        quantize(model, architecture.head_modules, device)
        with tempfile.TemporaryDirectory() as scratch:
            targets, head = architecture.adapter_targets, architecture.head_modules
            model = add_adapter(model, training.adapter, targets, head, recipe, Path(scratch))
    if training.gradient_checkpointing:
        model.enable_input_require_grads()
        model.gradient_checkpointing_enable(gradient_checkpointing_kwargs={"use_reentrant": False})
    with tempfile.TemporaryDirectory() as scratch:
        dataset, tokenizer = random_dataset(Path(scratch) / "dataset", tokens, texts)
        warm_up, _ = random_dataset(Path(scratch) / "warm", tokens, training.batch_size)
        train(model, tokenizer, warm_up, training, tokens, TrainingContext())
        if torch.cuda.is_available():
            torch.cuda.reset_peak_memory_stats()
        started = time.perf_counter()
        train(model, tokenizer, dataset, training, tokens, TrainingContext())
        seconds = time.perf_counter() - started
    peak = torch.cuda.max_memory_allocated() if torch.cuda.is_available() else 0
    return seconds, (4.0 if training.adapter else 6.0) * weights, peak


def quantize(model: Any, head: tuple[str, ...], device: torch.device) -> None:
    """Replace the linear layers outside the head by 4-bit ones, as loading a base model for QLoRA does."""
    import bitsandbytes as bnb
    from transformers import BitsAndBytesConfig
    from transformers.quantizers import AutoHfQuantizer

    for name, module in list(model.named_modules()):
        if not isinstance(module, torch.nn.Linear) or name.split(".")[-1] in head:
            continue
        parent = model.get_submodule(name.rpartition(".")[0])
        layer = bnb.nn.Linear4bit(
            module.in_features,
            module.out_features,
            bias=module.bias is not None,
            compute_dtype=torch.bfloat16,
            compress_statistics=True,
            quant_type="nf4",
        )
        layer.weight = bnb.nn.Params4bit(
            module.weight.data.cpu(), requires_grad=False, compress_statistics=True, quant_type="nf4"
        )
        if module.bias is not None:
            layer.bias = module.bias
        setattr(parent, name.rpartition(".")[2], layer.to(device))
    model.is_loaded_in_4bit = model.is_quantized = True
    model.hf_quantizer = AutoHfQuantizer.from_config(BitsAndBytesConfig(load_in_4bit=True), pre_quantized=False)


def random_dataset(folder: Path, tokens: int, texts: int) -> tuple[Any, Any]:
    """Write a dataset of random texts of ``tokens`` tokens each; return it with its tokenizer."""
    import random

    from tokenizers import Tokenizer, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    from textgate.components.contracts import Dataset, Row, TextNormalizer, dataset_writer

    vocabulary = {"[PAD]": 0, **{f"w{index}": index for index in range(1, 1_000)}}
    tokenizer = Tokenizer(models.WordLevel(vocabulary, unk_token="[PAD]"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    rng = random.Random(13)
    with dataset_writer(folder, ["train", "validation", "test"]) as writer:
        for index in range(texts + 4):
            text = " ".join(f"w{rng.randrange(1, 1_000)}" for _ in range(tokens))
            split = "train" if index < texts else "validation"
            writer.add(split, Row(str(index), text, ["no", "yes"][index % 2]))
        writer.finish("random words", ["no", "yes"], normalizer=TextNormalizer())
    return Dataset.open(folder), PreTrainedTokenizerFast(tokenizer_object=tokenizer, pad_token="[PAD]")


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
