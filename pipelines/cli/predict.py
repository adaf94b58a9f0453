"""``textgate predict`` and ``textgate explain``: what a model of the registry answers, and which words make it."""

import difflib
import json
import re
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from io import TextIOWrapper
from pathlib import Path

import click

from textgate.components.contracts import InputError, ModelBundle
from textgate.components.inference import Predictor
from textgate.components.inference.explain import BUDGET, METHOD, Contribution
from textgate.components.inference.explain import explain as explain_text
from textgate.components.sources import default_downloads, fetch
from textgate.components.storage import ModelRef, Registry
from textgate.pipelines.cli.workspace import json_option, open_store, store_options

_model_argument = click.argument("model", metavar="MODEL[@CHANNEL|@VERSION]")
_texts_argument = click.argument("texts", metavar="TEXT...", nargs=-1)
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f]")


@dataclass(frozen=True)
class Opened:
    """A version of a model, ready to answer."""

    model: str
    version: str
    bundle: ModelBundle
    predictor: Predictor


def local_bundle(home: Path, registry: Registry, target: ModelRef) -> tuple[str, Path, ModelBundle]:
    """The version that a target stands for, brought into the workspace once, and checked.

    Raises:
        InputError: no such model or version, its channel points at nothing, or the bundle has been changed.
    """
    version = registry.resolve(target)
    folder = home / "models" / target.model / version
    bundle = ModelBundle.load(folder) if folder.exists() else registry.download(target.model, version, folder)
    return version, folder, bundle


def opened(home: Path, bucket: str, model: str) -> Opened:
    """``MODEL``, ``MODEL@CHANNEL`` or ``MODEL@VERSION``, answering as it is served; a Hugging Face folder on torch.

    Raises:
        InputError: as ``local_bundle``.
    """
    target = ModelRef.parse(model)
    version, folder, bundle = local_bundle(home, Registry(open_store(home, bucket)), target)

    from textgate.components.families import open_predictor

    base_model = fetch(bundle.base_model, default_downloads()) if bundle.base_model else None
    return Opened(target.model, version, bundle, open_predictor(folder, bundle, base_model))


@click.command(epilog='Example: textgate predict quickstart "a moving, beautifully acted film"')
@_model_argument
@_texts_argument
@click.option("--version", help="A version other than the champion.")
@store_options
@json_option
def predict(model: str, texts: tuple[str, ...], version: str | None, home: Path, bucket: str, as_json: bool) -> None:
    """Answer each TEXT (or each line of standard input) with the champion of MODEL."""
    given = _given(texts)
    asked = opened(home, bucket, f"{model}@{version}" if version else model)
    labels, rows = asked.bundle.labels, asked.predictor.predict_proba(given)
    answers = []
    for text, row, number in zip(given, rows, asked.bundle.calibration.classes(rows), strict=True):
        probabilities = dict(zip(labels, map(float, row), strict=True))
        label = labels[number]
        answers.append({"text": text, "label": label, "probabilities": probabilities})
        if not as_json:
            click.echo(f"{label}  {probabilities[label]:.4f}  {text}")
    if as_json:
        click.echo(
            json.dumps({"model": asked.model, "version": asked.version, "predictions": answers}, ensure_ascii=False)
        )


@click.command(epilog='Example: textgate explain quickstart "a moving, beautifully acted film"')
@_model_argument
@_texts_argument
@click.option("--label", help="The label to explain.  [default: the one that is answered]")
@click.option(
    "--budget",
    type=click.IntRange(min=2),
    default=BUDGET,
    show_default=True,
    help="Texts the model may be asked about for each; of longer ones several words are left out together.",
)
@store_options
@json_option
def explain(
    model: str, texts: tuple[str, ...], label: str | None, budget: int, home: Path, bucket: str, as_json: bool
) -> None:
    """Show which words of each TEXT (or each line of standard input) speak for the answer of MODEL.

    Each word is left out in turn; its contribution is what the label's log-odds lose by it (Li et al. 2016), as the
    endpoint says it too.
    """
    given = _given(texts)
    asked = opened(home, bucket, model)
    labels = asked.bundle.labels
    if label is not None and label not in labels:
        nearest = difflib.get_close_matches(label, labels, n=1, cutoff=0.0)[0]
        raise InputError(f"{asked.model} has no label {label!r}; it has {', '.join(labels)}: did you mean {nearest}?")
    rows = asked.predictor.predict_proba(given)
    explanations = []
    for text, row, number in zip(given, rows, asked.bundle.calibration.classes(rows), strict=True):
        told = label or labels[number]
        words = explain_text(asked.predictor.predict_proba, text, labels.index(told), budget)
        score = float(row[labels.index(told)])
        explanations.append({"text": text, "label": told, "score": score, "words": [asdict(word) for word in words]})
        if not as_json:
            _show(text, told, score, words)
    if as_json:
        said = {"model": asked.model, "version": asked.version, "method": METHOD, "explanations": explanations}
        click.echo(json.dumps(said, ensure_ascii=False))


def _show(text: str, label: str, score: float, words: list[Contribution]) -> None:
    """The text with its words shaded, then the words by what they contribute, each with its figure."""
    from rich.console import Console
    from rich.text import Text

    console = Console(highlight=False, soft_wrap=True)
    strongest = max((abs(word.contribution) for word in words), default=0.0)
    shaded = Text(_CONTROL.sub(" ", text))
    for word in words:
        colour = "green" if word.contribution > 0 else "red"
        if abs(word.contribution) > strongest / 2:
            shaded.stylize(f"black on {colour}", word.start, word.end)
        elif abs(word.contribution) > strongest / 8:
            shaded.stylize(colour, word.start, word.end)
    console.print(Text(f"{label}  {score:.4f}  ") + shaded)
    for word in sorted(words, key=lambda word: -abs(word.contribution)):
        console.print(Text(f"{word.contribution:+9.3f}  ") + shaded[word.start : word.end])


def _given(texts: Sequence[str]) -> list[str]:
    """The texts of the command line or, without any, the lines of standard input; what is no UTF-8 becomes ``?``."""
    if texts:
        return [text.encode("utf-8", "replace").decode("utf-8") for text in texts]
    if sys.stdin.isatty():
        raise click.UsageError("give a TEXT, or lines on standard input")
    lines = [line.rstrip("\r\n") for line in TextIOWrapper(sys.stdin.buffer, "utf-8", "replace")]
    if not lines:
        raise click.UsageError("give a TEXT, or lines on standard input: it was empty")
    return lines
