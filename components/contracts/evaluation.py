"""Evaluation: one model's answers on one split, as evaluate hands them to the gates.

<folder>/evaluation.json          what was judged on what, with its metrics (EvaluationManifest)
<folder>/predictions.parquet      id, text, label, predicted, probabilities (list<float64>, one a class)
<folder>/insight.json             why it answers so, and where the texts lie (Insight)
"""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq
from pydantic import Field

from textgate.components.contracts.bundle import Calibration
from textgate.components.contracts.files import new_folder
from textgate.components.contracts.frozen_model import FrozenModel
from textgate.components.step import InputError

MANIFEST = "evaluation.json"
INSIGHT = "insight.json"
PREDICTIONS = "predictions.parquet"
SCHEMA = pa.schema(
    [
        ("id", pa.string()),
        ("text", pa.string()),
        ("label", pa.string()),
        ("predicted", pa.string()),
        ("probabilities", pa.list_(pa.float64())),
    ]
)


class Estimate(FrozenModel):
    """A number with its 95 % bootstrap interval."""

    value: float
    low: float
    high: float

    def __str__(self) -> str:
        return f"{self.value:.4f} [{self.low:.4f}, {self.high:.4f}]"


class ClassScores(FrozenModel):
    """How well one class is told from the others."""

    rows: int
    """Of the test split that are of this class."""
    precision: Estimate
    recall: Estimate
    f1: Estimate


class Slice(FrozenModel):
    """The rows that have one value of a column, judged by themselves."""

    column: str
    """``length`` (in words), ``source`` (the file a row comes from) or a column of ``source.metadata``."""
    value: str
    rows: int
    f1: Estimate
    accuracy: Estimate


class RobustnessResult(FrozenModel):
    """What is left when the texts are written otherwise but mean the same."""

    perturbation: str
    rows: int
    """Drawn from the test split, that the perturbation changes anything of."""
    changed: float
    """Share of them that get another answer."""
    f1_before: Estimate
    f1: Estimate
    f1_difference: Estimate
    """Paired bootstrap."""


class OutOfDomainSet(FrozenModel):
    """Another data set, on which nothing was trained."""

    name: str
    dataset: str
    """Fingerprint."""
    rows: int
    f1: Estimate
    accuracy: Estimate


class TrainingCost(FrozenModel):
    """What training took, on the machine it ran on."""

    seconds: float
    peak_memory: int
    """Bytes resident at most."""


class EvaluationManifest(FrozenModel):
    """``evaluation.json``."""

    format_version: Literal[2] = 2
    bundle: str
    """Fingerprint of the bundle that answered."""
    runtime: str
    dataset: str
    """Fingerprint of the dataset."""
    split: str
    labels: list[str]
    metrics: dict[str, Estimate]
    """By name, those of ``textgate.components.metrics.METRICS``; ``f1`` and ``accuracy`` are always among them."""
    per_class: dict[str, ClassScores]
    confusion: list[list[int]]
    """Rows are true labels, columns predicted ones."""
    calibration: Calibration = Calibration()
    """The bundle's, which is in the probabilities and decides the predicted labels."""
    calibration_error_before: float
    """Expected calibration error without the bundle's temperature."""
    rows_per_second: float
    slices: list[Slice] = []
    length_bias: Estimate | None = None
    """Accuracy on the longest quarter of the texts less that on the shortest; None where most are equally long."""
    robustness: list[RobustnessResult] = []
    domains: list[OutOfDomainSet] = []
    history: list[dict[str, float]] = []
    """The bundle's, see there."""
    training_cost: TrainingCost | None = None
    versions: dict[str, str] = {}
    """Library versions at training."""

    @property
    def f1(self) -> Estimate:
        """Of the last label where there are two, macro over the labels where there are more."""
        return self.metrics["f1"]

    @property
    def accuracy(self) -> Estimate:
        """Share of right answers."""
        return self.metrics["accuracy"]


class WordContribution(FrozenModel):
    """What some words of a text do for the answer; offsets in code points."""

    start: int
    end: int
    contribution: float
    """See ``textgate.components.inference.explain``: above 0 they speak for the label."""


class ExplainedError(FrozenModel):
    """A wrong answer, with what speaks for it."""

    row: int
    """Number in the predictions."""
    contributions: list[WordContribution]
    """For the label that was answered."""


class TopWord(FrozenModel):
    """A word that speaks for a class wherever it stands."""

    word: str
    contribution: float
    """Mean over the texts it stands in."""
    texts: int


class Point(FrozenModel):
    """A text on the map: near others that the model takes for alike."""

    row: int
    """Number in the predictions."""
    x: float
    y: float


class Insight(FrozenModel):
    """``insight.json``: empty where nobody asked."""

    errors: list[ExplainedError] = []
    """The wrong answers given with the highest probability, most confident first."""
    top_words: dict[str, list[TopWord]] = Field(default={}, alias="telling_words")
    """By label, the most telling first."""
    map: list[Point] = []


@dataclass(frozen=True)
class Evaluation:
    """The manifest and the answers: ``classes`` (n,) int64 is the truth, ``probabilities`` (n, classes) float64."""

    manifest: EvaluationManifest
    ids: list[str]
    texts: list[str]
    classes: npt.NDArray[np.int64]
    probabilities: npt.NDArray[np.float64]
    insight: Insight = field(default_factory=Insight)

    @property
    def predicted(self) -> npt.NDArray[np.int64]:
        """The class answered for each row, (n,) int64."""
        return self.manifest.calibration.classes(self.probabilities)

    def write(self, path: Path) -> None:
        """Write the folder, whole or not at all."""
        labels = self.manifest.labels
        with new_folder(path) as folder:
            table = pa.Table.from_pydict(
                {
                    "id": self.ids,
                    "text": self.texts,
                    "label": [labels[number] for number in self.classes],
                    "predicted": [labels[number] for number in self.predicted],
                    "probabilities": list(self.probabilities),
                },
                schema=SCHEMA,
            )
            pq.write_table(table, folder / PREDICTIONS, compression="zstd")
            (folder / INSIGHT).write_text(self.insight.model_dump_json() + "\n", "utf-8")
            (folder / MANIFEST).write_text(self.manifest.model_dump_json(indent=2) + "\n", "utf-8")

    @classmethod
    def open(cls, path: str | Path) -> "Evaluation":
        """Read a folder that ``write`` made.

        Raises:
            InputError: the folder is not a readable evaluation.
        """
        folder = Path(path)
        try:
            manifest = EvaluationManifest.model_validate_json((folder / MANIFEST).read_text("utf-8"))
            insight = Insight.model_validate_json((folder / INSIGHT).read_text("utf-8"))
            table = pq.read_table(folder / PREDICTIONS, schema=SCHEMA)
            if any(column.null_count for column in table.columns):
                raise ValueError("a column is missing or has empty cells")
            rows = table.to_pydict()
            classes = [manifest.labels.index(label) for label in rows["label"]]
            probabilities = np.array(rows["probabilities"], dtype=np.float64).reshape(len(table), len(manifest.labels))
        except (OSError, ValueError, pa.ArrowException) as error:
            raise InputError(f"{folder} is not a readable evaluation ({error})") from error
        return cls(manifest, rows["id"], rows["text"], np.array(classes, dtype=np.int64), probabilities, insight)
