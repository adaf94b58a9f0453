"""``textgate predict`` and ``textgate explain``: label texts with a registry model, and show the words that count."""

import difflib
import json
import re
import sys
from collections.abc import Sequence
from dataclasses import asdict
from io import TextIOWrapper
from pathlib import Path

import click
from rich.text import Text

from textgate.components.contracts import InputError
from textgate.components.inference import classify
from textgate.components.inference.explain import BUDGET, METHOD, Contribution
from textgate.components.inference.explain import explain as explain_text
from textgate.pipelines.cli.help_text import example
from textgate.pipelines.cli.registry_models import LoadedModel, load_model, model_argument, version_option
from textgate.pipelines.cli.store_options import json_option, store_options
from textgate.pipelines.terminal import Console

_texts_argument = click.argument("texts", metavar="TEXT...", nargs=-1)
_CONTROL_CHARACTERS = re.compile(r"[\x00-\x1f\x7f-\x9f]")


@click.command(
    epilog=example(
        'textgate predict quickstart "a moving, beautifully acted film"',
        "textgate predict quickstart@challenger --json < texts.txt",
    )
)
@model_argument
@_texts_argument
@version_option
@store_options
@json_option
def predict(
    model: str, texts: tuple[str, ...], version: str | None, workspace: Path, bucket: str, as_json: bool
) -> None:
    """Predict the labels of texts.

    The texts are each TEXT, or each line of standard input.
    """
    inputs = _read_texts(texts)
    loaded = load_model(workspace, bucket, f"{model}@{version}" if version else model)
    predictions = classify(loaded.predictor, loaded.bundle, inputs)
    if not as_json:
        for prediction in predictions:
            click.echo(f"{prediction.label}  {prediction.score:.4f}  {prediction.text}")
        return
    rows = [{"text": each.text, "label": each.label, "probabilities": each.probabilities} for each in predictions]
    output = {"model": loaded.model, "version": loaded.version, "predictions": rows}
    click.echo(json.dumps(output, ensure_ascii=False))


@click.command(
    epilog=example(
        'textgate explain quickstart "a moving, beautifully acted film"',
        'textgate explain quickstart "a dull film" --label positive --json',
    )
)
@model_argument
@_texts_argument
@click.option("--label", show_default="the predicted label", help="Label to explain.")
@click.option(
    "--budget",
    type=click.IntRange(min=2),
    default=BUDGET,
    help="Maximum number of model evaluations per text; in longer texts, several words are removed together.",
)
@store_options
@json_option
def explain(
    model: str, texts: tuple[str, ...], label: str | None, budget: int, workspace: Path, bucket: str, as_json: bool
) -> None:
    """Show how much each word contributes to the label of a text.

    The texts are each TEXT, or each line of standard input. Each word is removed in turn. Its contribution is the
    resulting drop of the label's log-odds (Li et al., 2016). The server's explanations use the same method.
    """
    inputs = _read_texts(texts)
    loaded = load_model(workspace, bucket, model)
    labels = loaded.bundle.labels
    if label is not None:
        _require_label(label, loaded)
    rows = loaded.predictor.predict_proba(inputs)
    explanations = []
    for text, row, index in zip(inputs, rows, loaded.bundle.calibration.predict(rows), strict=True):
        explained = label or labels[index]
        words = explain_text(loaded.predictor.predict_proba, text, labels.index(explained), budget)
        score = float(row[labels.index(explained)])
        explanations.append(
            {"text": text, "label": explained, "score": score, "words": [asdict(word) for word in words]}
        )
        if not as_json:
            _print_explanation(text, explained, score, words)
    if as_json:
        output = {
            "model": loaded.model,
            "version": loaded.version,
            "method": METHOD,
            "explanations": explanations,
        }
        click.echo(json.dumps(output, ensure_ascii=False))


def _require_label(label: str, loaded: LoadedModel) -> None:
    labels = loaded.bundle.labels
    if label not in labels:
        nearest = difflib.get_close_matches(label, labels, n=1, cutoff=0.0)[0]
        raise InputError(f"{loaded.model} has no label {label!r}; it has {', '.join(labels)}: did you mean {nearest}?")


def _print_explanation(text: str, label: str, score: float, words: list[Contribution]) -> None:
    """Print the text with its words shaded, then the words with their contributions, the strongest first."""
    console = Console(soft_wrap=True)
    strongest = max((abs(word.contribution) for word in words), default=0.0)
    shaded = Text(_CONTROL_CHARACTERS.sub(" ", text))
    for word in words:
        colour = "green" if word.contribution > 0 else "red"
        if abs(word.contribution) > strongest / 2:
            shaded.stylize(f"black on {colour}", word.start, word.end)
        elif abs(word.contribution) > strongest / 8:
            shaded.stylize(colour, word.start, word.end)
    console.print(Text(f"{label}  {score:.4f}  ") + shaded)
    for word in sorted(words, key=lambda word: -abs(word.contribution)):
        console.print(Text(f"{word.contribution:+9.3f}  ") + shaded[word.start : word.end])


def _read_texts(texts: Sequence[str]) -> list[str]:
    """Return the texts of the command line or else the lines of standard input; invalid UTF-8 is replaced."""
    if texts:
        return [text.encode("utf-8", "replace").decode("utf-8") for text in texts]
    if sys.stdin.isatty():
        raise click.UsageError("give a TEXT, or lines on standard input")
    lines = [line.rstrip("\r\n") for line in TextIOWrapper(sys.stdin.buffer, "utf-8", "replace")]
    if not lines:
        raise click.UsageError("give a TEXT, or lines on standard input: it was empty")
    return lines
