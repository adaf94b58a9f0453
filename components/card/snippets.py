"""Python that answers from what was published, to be copied and run."""

import json

from textgate.components.card.markdown import Markdown, fenced
from textgate.components.contracts import ModelBundle, OnnxRuntime

REPOSITORY = "ORG/NAME"
"""Stands for the repository of the hub, which is known when the card is pushed to it."""


def with_textgate(bundle: ModelBundle) -> Markdown:
    """With this package, from a repository of the hub."""
    return fenced(
        f"""\
import shutil

from huggingface_hub import snapshot_download
from textgate.components.inference import load_bundle

# The hub's cache holds links, which a checked bundle may not; its own files are in no manifest.
snapshot = snapshot_download("{REPOSITORY}", ignore_patterns=["README.md", ".gitattributes"])
shutil.copytree(snapshot, "{bundle.name}")
model = load_bundle("{bundle.name}")
probabilities = model.predict_proba(["a text of yours"])
print([model.bundle.labels[number] for number in model.bundle.calibration.predict(probabilities)], probabilities)
""",
        "python",
    )


def with_onnxruntime(bundle: ModelBundle, runtime: OnnxRuntime) -> Markdown:
    """From the files alone, for a text that is clean: ``textgate.components.inference.onnx`` does the same, faster."""
    calibration = bundle.calibration
    columns = {"input_ids": "ids", "attention_mask": "attention_mask", "token_type_ids": "type_ids"}
    feeds = ", ".join(f'"{name}": [encoding.{columns[name]}]' for name in runtime.inputs)
    answer = (
        "probabilities.argmax()"
        if calibration.threshold is None
        else f"int(probabilities[1] >= {calibration.threshold!r})"
    )
    return fenced(
        f"""\
import numpy as np
import onnxruntime
from tokenizers import Tokenizer

labels = {json.dumps(bundle.labels, ensure_ascii=False)}
tokenizer = Tokenizer.from_file("tokenizer.json")
tokenizer.no_padding()
tokenizer.enable_truncation({runtime.max_tokens})
session = onnxruntime.InferenceSession({json.dumps(runtime.graph)}, providers=["CPUExecutionProvider"])

encoding = tokenizer.encode("a text of yours")
inputs = {{{feeds}}}
(logits,) = session.run(None, {{name: np.array(rows, dtype=np.int64) for name, rows in inputs.items()}})
scores = logits[0].astype(np.float64) / {calibration.temperature!r}
probabilities = np.exp(scores - scores.max()) / np.exp(scores - scores.max()).sum()
print(labels[{answer}], dict(zip(labels, probabilities.tolist())))
""",
        "python",
    )
