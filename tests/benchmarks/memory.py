"""Measure the peak memory of merging and exporting a large decoder, relative to the bytes of its weights.

    python tests/benchmarks/memory.py [--merge 1.5] [--export 0.1 0.3 0.6]

Writes Llamas with random bf16 weights and a random adapter, of the given billions of parameters, and runs the code of
the pipeline's steps, each in its own process. Prints the peak memory of merging, with the base model in 4 bits as in
QLoRA and in bf16, and of linking the Hugging Face folder. Then prints the peak of the ONNX export and of every target
at each size, and a linear extrapolation to 7 billion parameters. Needs about 10 GB of disk; takes 15 minutes.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

sys.path.insert(0, str(Path(__file__).parents[1]))

TARGETS = ["onnx-fp32", "onnx-fp16", "onnx-int8", "onnx-int8-blocks", "onnx-int4", "hf", "hf-nf4"]
VOCABULARY = 32_000
SHAPES = {0.1: (768, 9), 0.3: (1_024, 21), 0.6: (1_280, 28), 1.5: (2_048, 28), 3.0: (2_560, 36)}
"""Hidden size and number of layers of a Llama, by billions of parameters."""


class Peak(NamedTuple):
    """Peak memory of a process, in bytes."""

    own: int
    """Anonymous memory, which cannot be reclaimed."""
    resident: int
    """Resident memory, including pages of mapped files, which the kernel reclaims when memory is short."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--merge", type=float, default=1.5, choices=SHAPES, help="billions of parameters")
    parser.add_argument("--export", type=float, nargs="*", default=[0.1, 0.3, 0.6], choices=SHAPES)
    parser.add_argument("--stage", nargs="+", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.stage:
        monitor = _MemoryMonitor()
        monitor.start()
        STAGES[arguments.stage[0]](*map(Path, arguments.stage[1:]))
        print(json.dumps(monitor.peaks))
        return
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        weights = prepare(folder, arguments.merge)
        for quantization in ("nf4", "none"):
            run("adapter", folder / "base", folder / quantization, quantization)
            peak = run("merge", folder / quantization, folder / f"{quantization}-merged")
            precision = "4 bits" if quantization == "nf4" else "bf16"
            print(
                f"merge, {weights / 2e9:.2f} B parameters, {weights / 1e9:.2f} GB in bf16, base model in {precision}: "
                f"peak {describe(peak, weights)}",
                flush=True,
            )
        peak = run("hf", folder / "nf4-merged", folder / "hf")
        print(f"hf folder: peak {describe(peak, weights)}", flush=True)
    peaks: dict[str, list[tuple[float, float]]] = {}
    for size in arguments.export:
        with tempfile.TemporaryDirectory() as temporary:
            folder = Path(temporary)
            parameters = prepare(folder, size) / 2
            run("adapter", folder / "base", folder / "trained", "nf4")
            run("merge", folder / "trained", folder / "merged")
            stages = {"export": run("export", folder / "merged", folder / "full")}
            for target in TARGETS:
                stages[target] = run("target", folder / "merged", folder / "full", folder / target)
            for name, peak in stages.items():
                peaks.setdefault(name, []).append((parameters, peak.own))
                print(f"{name}, {parameters / 1e9:.2f} B parameters: peak {describe(peak, 2 * parameters)}", flush=True)
    for name, points in peaks.items():
        counts, sizes = np.array(points).T
        slope, constant = np.polyfit(counts, sizes, 1)
        at_7b = (7e9 * slope + constant) / 1e9
        print(
            f"{name}: {slope:.1f} bytes per parameter plus {constant / 1e9:.1f} GB; {at_7b:.0f} GB for 7 B parameters"
        )


def describe(peak: Peak, weights: float) -> str:
    """Return the peak in GB and relative to the bytes of the bf16 weights."""
    return f"{peak.own / 1e9:.2f} GB ({peak.own / weights:.2f}x), {peak.resident / 1e9:.2f} GB with mapped files"


def prepare(folder: Path, size: float) -> int:
    """Write the base model and return the bytes of its bf16 weights."""
    hidden, layers = SHAPES[size]
    run("base", folder / "base", str(hidden), str(layers))
    return sum(path.stat().st_size for path in (folder / "base").glob("*.safetensors"))


def run(stage: str, *arguments: Path | str) -> Peak:
    """Run a stage in its own process and return its peak memory."""
    command = [sys.executable, __file__, "--stage", stage, *map(str, arguments)]
    process = subprocess.run(command, capture_output=True, text=True, env={**os.environ, "OMP_NUM_THREADS": "2"})
    if process.returncode:
        raise SystemExit(f"{stage} failed: {process.stderr[-2_000:]}")
    peaks = json.loads(process.stdout.strip().splitlines()[-1])
    return Peak(peaks["RssAnon"], peaks["VmHWM"])


class _MemoryMonitor(threading.Thread):
    """Thread that samples the memory of this process every 10 ms."""

    def __init__(self) -> None:
        super().__init__(daemon=True)
        self.peaks = {"RssAnon": 0, "VmHWM": 0}

    def run(self) -> None:
        while True:
            for line in Path("/proc/self/status").read_text().splitlines():
                name, _, value = line.partition(":")
                if name in self.peaks:
                    self.peaks[name] = max(self.peaks[name], int(value.split()[0]) * 1024)
            time.sleep(0.01)


def _training(base: Path, quantization: str) -> dict[str, Any]:
    adapter = {"r": 8, "alpha": 16, "targets": ["q_proj", "k_proj", "v_proj", "o_proj"], "quantization": quantization}
    return {"family": "transformer", "base_model": str(base), "adapter": adapter, "precision": "bf16"}


def _compute_in_bf16() -> None:
    """Resolve every precision to bf16, as on a machine that supports it; otherwise the base model is loaded in fp32."""
    from textgate.components.families.transformer.model import precision

    precision.resolve_precision = lambda precision: "bf16"


def base(folder: Path, hidden: Path, layers: Path) -> None:
    import torch
    from families.tiny import write_tiny
    from transformers import LlamaConfig, LlamaForCausalLM

    write_tiny(folder, "llama")
    (folder / "model.safetensors").unlink()
    config = LlamaConfig(
        vocab_size=VOCABULARY,
        hidden_size=int(str(hidden)),
        num_hidden_layers=int(str(layers)),
        num_attention_heads=int(str(hidden)) // 64,
        num_key_value_heads=int(str(hidden)) // 64,
        intermediate_size=int(str(hidden)) * 11 // 4 // 64 * 64,
        tie_word_embeddings=True,
        bos_token_id=0,
        eos_token_id=1,
    )
    torch.manual_seed(0)
    torch.set_default_dtype(torch.bfloat16)
    LlamaForCausalLM(config).save_pretrained(folder, max_shard_size="1GB")


def adapter(base: Path, folder: Path, quantization: Path) -> None:
    """Write a bundle like that of the train step, with an untrained adapter."""
    from textgate.components.contracts import ModelBundle, TextNormalizer, TransformersRuntime, TransformerTraining
    from textgate.components.families.transformer.model.adapters import add_adapter, save_adapter
    from textgate.components.families.transformer.model.classifier import build_classifier

    _compute_in_bf16()
    training = TransformerTraining.model_validate(_training(base, str(quantization)))
    classifier = build_classifier(base, training, ["no", "yes"])
    assert training.adapter
    folder.mkdir()
    adapted = add_adapter(
        classifier.model, training.adapter, classifier.adapter_targets, classifier.trained_head, "", folder
    )
    save_adapter(adapted, training.adapter, folder)
    classifier.tokenizer.save_pretrained(folder)
    ModelBundle(
        name="random",
        family="transformer",
        runtime=TransformersRuntime(max_tokens=128, base_model=str(base)),
        labels=["no", "yes"],
        normalizer=TextNormalizer(),
        recipe={"train": training.model_dump(mode="json")},
        metrics={},
        dataset="0" * 64,
        versions={},
    ).write(folder)


def merge(trained: Path, merged: Path) -> None:
    from textgate.components.merge_quantize.merge_quantize import merge_bundle

    _compute_in_bf16()
    merge_bundle(trained, merged)


def hf(merged: Path, output: Path) -> None:
    from textgate.components.contracts import ModelBundle
    from textgate.components.families.transformer.export.hf_folder import write_hf_folder

    output.mkdir()
    write_hf_folder(merged, ModelBundle.load(merged), output, quantize=False)


def export(merged: Path, full: Path) -> None:
    from textgate.components.contracts import ModelBundle
    from textgate.components.families import EXPORTABLE_FAMILIES

    full.mkdir()
    EXPORTABLE_FAMILIES["transformer"]().export_onnx(merged, ModelBundle.load(merged), full)


def export_target(merged: Path, full: Path, output: Path) -> None:
    from textgate.components.contracts.export_target import EXPORT_TARGETS

    target = EXPORT_TARGETS[output.name.removesuffix("-blocks")]
    if target.needs_torch:
        from textgate.components.contracts import ModelBundle
        from textgate.components.families.transformer.export.hf_folder import write_hf_folder

        output.mkdir()
        write_hf_folder(merged, ModelBundle.load(merged), output, quantize=target.precision == "nf4")
        return
    from textgate.components.export_onnx.activations import activation_ranges
    from textgate.components.export_onnx.onnx_graphs import write_graph

    graph = full / "model.onnx"
    ones = np.ones((1, 16), dtype=np.int64)
    static = output.name == "onnx-int8"
    ranges = activation_ranges(graph, [{"input_ids": ones, "attention_mask": ones}]) if static else None
    write_graph(target, graph, output / "model.onnx", (), ranges)


STAGES: dict[str, Any] = {
    "base": base,
    "adapter": adapter,
    "merge": merge,
    "hf": hf,
    "export": export,
    "target": export_target,
}

if __name__ == "__main__":
    main()
