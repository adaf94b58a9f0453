"""Python snippets of the model card that predict with the published files."""

import json

from textgate.components.card.markdown import Markdown, fenced
from textgate.components.contracts import ModelBundle, OnnxRuntime

REPOSITORY = "ORG/NAME"
"""Placeholder for the repository on the hub; ``pipelines/hub_upload.py`` replaces it when it pushes the card."""


def textgate_snippet() -> Markdown:
    """Return a snippet that predicts with textgate from a repository on the hub."""
    return fenced(
        f"""\
import textgate

model = textgate.load("hf://{REPOSITORY}")
print(model.predict(["a text of yours"]))
""",
        "python",
    )


def onnxruntime_snippet(bundle: ModelBundle, runtime: OnnxRuntime) -> Markdown:
    """Return a snippet that predicts for a clean text with the files alone, without textgate."""
    calibration = bundle.calibration
    columns = {"input_ids": "ids", "attention_mask": "attention_mask", "token_type_ids": "type_ids"}
    feeds = ", ".join(f'"{name}": [encoding.{columns[name]}]' for name in runtime.inputs)
    prediction = (
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
print(labels[{prediction}], dict(zip(labels, probabilities.tolist())))
""",
        "python",
    )
