"""Make the compatibility fixture with textgate 0.1.0.

This script ran once, with textgate 0.1.0 (commit 0d57445). It does not run with later versions. To run it again::

    git worktree add /tmp/v010 0d57445 --detach
    mkdir -p /tmp/v010imp/textgate && touch /tmp/v010imp/textgate/__init__.py
    ln -s /tmp/v010/components /tmp/v010/pipelines /tmp/v010/serving /tmp/v010imp/textgate/
    cd /tmp && PYTHONPATH=/tmp/v010imp /path/to/.venv/bin/python /path/to/make.py

The virtual environment holds the packages of that commit's ``requirements.lock``. Without the ``__init__.py``, an
installed textgate would be imported in place of this one. The script reads ``recipes/`` and writes beside itself:

    store/          the objects of the S3 bucket after all runs; the path below store/ is the key
    expected.json   the predictions of version 0.1.0 and the output of its CLI for that bucket

The registry holds three models:

    v010-linear     TF-IDF; two versions, the first is the challenger and the second the champion
    v010-onnx       tiny BERT; one version, served as onnx-int8, with the export target hf as an alternative
    v010-ensemble   mean of the two champions above; one version

On the same machine another run gives the same versions; run names, times and timings differ.
"""

import csv
import io
import json
import os
import platform
import random
import shutil
import subprocess
import sys
import tempfile
from importlib.metadata import version
from pathlib import Path
from typing import Any

import textgate.components
from textgate.components.storage import EmbeddedStore, Registry, Store, Target
from textgate.serving import load

HERE = Path(__file__).resolve().parent
COMMIT = "0d57445"
TEXTGATE = [sys.executable, "-c", "from textgate.pipelines.cli import main; main()"]
LARGEST_FILE = 150_000  # bytes
ARTIFACTS = (
    # Records of a run.
    *("record.json", "promotion.json", "decisions/", "evaluation.json", "README.md"),
    # Artifacts of its steps.
    *("ingest/dataset/", "preprocess/dataset/", "evaluate-2/evaluation/", "export-onnx/measurements"),
    *("merge-quantize/changes", "gate-trained/decision", "gate-served/decision"),
)
"""Beginnings of the keys that are kept below ``runs/<run>/``."""

POSITIVE = ["great", "lovely", "fresh", "friendly", "delicious", "cosy", "warm", "excellent"]
NEGATIVE = ["awful", "stale", "rude", "cold", "bland", "noisy", "dirty", "terrible"]
NEUTRAL = ["coffee", "cake", "soup", "bread", "service", "staff", "table", "window", "street", "lunch", "music", "menu"]
JOINING = ["the", "and", "with", "a", "was", "by", "in", "very"]
CITIES = ["Lyon", "Porto", "Graz"]

TEXTS = [
    "great coffee and friendly staff, lovely cake",
    "terrible service, the soup was cold and the bread stale",
    "<b>Delicious</b> lunch by the window, very cosy",
    "RUDE STAFF, AWFUL MUSIC, DIRTY TABLE",
    "\u00dcbrigens: fresh bread \U0001f600, excellent menu",
    "bland soup " * 20,
    "window street staff",
]
"""They cover upper case, HTML, unknown characters, a text longer than ``max_tokens`` of the transformer, and one to
which v010-linear gives a probability between its threshold and 0.5."""


def main() -> None:
    """Run the pipelines in a temporary workspace, then write ``store/`` and ``expected.json``."""
    require_commit()
    with tempfile.TemporaryDirectory(prefix="v010-") as temporary:
        workspace = Path(temporary)
        embedded = EmbeddedStore(workspace / ".textgate")
        embedded.start()
        try:
            os.environ.update(embedded.environment())
            os.environ["TEXTGATE_DOWNLOADS"] = str(workspace / "downloads")
            store = Store.from_environment()
            store.ensure_bucket()

            store.put("data/reviews.csv", reviews().encode())
            write_checkpoint(workspace / "tiny-encoder")
            store.upload_folder(workspace / "tiny-encoder", "checkpoints/tiny-encoder")

            challenger = run(workspace, "v010-linear", "--set", "train.C=1")
            run(workspace, "v010-linear")
            cli(workspace, "models", "move", "v010-linear", "challenger", challenger["version"])
            run(workspace, "v010-onnx")
            run(workspace, "v010-ensemble")

            save_store(store, HERE / "store")
            expected = expect(workspace, Registry(store))
            (HERE / "expected.json").write_text(json.dumps(expected, indent=1, ensure_ascii=False) + "\n", "utf-8")
        finally:
            embedded.stop()


def require_commit() -> None:
    """Check that the imported textgate is version 0.1.0.

    Raises:
        SystemExit: it is another version.
    """
    folder = Path(textgate.components.__path__[0]).resolve()
    head = subprocess.run(["git", "-C", folder, "rev-parse", "HEAD"], stdout=subprocess.PIPE, text=True, check=True)
    if not head.stdout.startswith(COMMIT):
        sys.exit(f"{folder} is commit {head.stdout.strip()}, not {COMMIT}")


def reviews() -> str:
    """Return 120 made-up reviews as CSV; three are rejected: a duplicate, an empty text and a missing label."""
    rng = random.Random(10)
    rows = []
    for index in range(117):
        label = index % 2
        opinions = NEGATIVE if (label == 0) != (index % 13 == 0) else POSITIVE  # every 13th label is wrong
        words = rng.sample(opinions, 2) + rng.sample(NEUTRAL, 3) + rng.sample(JOINING, 3)
        rng.shuffle(words)
        rows.append((" ".join(words), label, CITIES[index % 3]))
    rows += [rows[0], ("", 1, "Graz"), ("a table by the window", "", "Graz")]
    out = io.StringIO()
    csv.writer(out, lineterminator="\n").writerows([("review", "stars", "city"), *rows])
    return out.getvalue()


def write_checkpoint(folder: Path) -> None:
    """Write a BERT with random weights and a WordPiece vocabulary of the reviews' words and single characters."""
    import torch
    from transformers import BertConfig, BertForSequenceClassification, BertTokenizerFast

    folder.mkdir()
    special = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    characters = [chr(code) for code in range(ord("a"), ord("z") + 1)]
    pieces = [*characters, *(f"##{character}" for character in characters), ",", "."]
    vocabulary = list(dict.fromkeys([*special, *POSITIVE, *NEGATIVE, *NEUTRAL, *JOINING, *pieces]))
    (folder / "vocab.txt").write_text("\n".join(vocabulary))
    torch.manual_seed(0)
    config = BertConfig(
        vocab_size=len(vocabulary),
        hidden_size=16,
        num_hidden_layers=1,
        num_attention_heads=2,
        intermediate_size=32,
        max_position_embeddings=32,
    )
    BertForSequenceClassification(config).save_pretrained(folder)
    BertTokenizerFast(vocab=str(folder / "vocab.txt"), do_lower_case=True).save_pretrained(folder)


def cli(workspace: Path, *arguments: str) -> Any:
    """Run ``textgate ... --json`` in the workspace and return the parsed output."""
    done = subprocess.run(
        [*TEXTGATE, *arguments, "--json"], cwd=workspace, stdout=subprocess.PIPE, text=True, check=True
    )
    return json.loads(done.stdout)


def run(workspace: Path, recipe: str, *arguments: str) -> Any:
    """Run a recipe; the run must promote."""
    result = cli(workspace, "run", str(HERE / "recipes" / f"{recipe}.yaml"), *arguments)
    assert result["version"], result["decision"]
    return result


def save_store(store: Store, folder: Path) -> None:
    """Copy the bucket's objects to files, without large or redundant ones."""
    shutil.rmtree(folder, ignore_errors=True)
    for item in store.objects(""):
        if is_kept(item.key):
            assert item.size <= LARGEST_FILE, item
            store.download_file(item.key, folder / item.key)


def is_kept(key: str) -> bool:
    """Return True for the data, the registry, the run records and the artifacts whose format the test checks."""
    area, _, rest = key.partition("/")
    if area != "runs":
        return area in ("data", "models")
    return rest.partition("/")[2].startswith(ARTIFACTS)


def expect(workspace: Path, registry: Registry) -> dict[str, Any]:
    """Return the predictions for every channel of every model, and the JSON that ``textgate models`` prints."""
    models = {}
    for model, channels in registry.models().items():
        found = {}
        for channel in channels:
            name = registry.version(Target(model, channel))
            folder = workspace / "bundles" / model / channel
            bundle = registry.download(model, name, folder)
            probabilities = load(folder).predict(TEXTS)
            labels = [bundle.labels[index] for index in bundle.calibration.classes(probabilities)]
            found[channel] = {
                "version": name,
                "fingerprint": bundle.fingerprint,
                "predictions": [
                    {"text": text, "label": label, "probabilities": dict(zip(bundle.labels, row.tolist(), strict=True))}
                    for text, label, row in zip(TEXTS, labels, probabilities, strict=True)
                ],
                "show": cli(workspace, "models", "show", model, "--version", name),
            }
        models[model] = {"channels": found, "history": cli(workspace, "models", "history", model)}
    cpuinfo = Path("/proc/cpuinfo")
    return {
        "made_with": {
            "commit": COMMIT,
            "python": platform.python_version(),
            "packages": {package: version(package) for package in ("numpy", "onnxruntime", "tokenizers")},
            "avx512_vnni": cpuinfo.exists() and "avx512_vnni" in cpuinfo.read_text(),
        },
        "list": cli(workspace, "models", "list"),
        "models": models,
    }


if __name__ == "__main__":
    main()
