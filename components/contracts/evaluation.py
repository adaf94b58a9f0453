"""Evaluation: predictions and scores of one model on one split, the output of the step evaluate.

<folder>/evaluation.json          bundle, dataset and metrics (EvaluationManifest)
<folder>/predictions.parquet      id, text, label, predicted, probabilities (list<float64>, one per class)
<folder>/insight.json             explained errors, top words and the map of embeddings (Insight)
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
from textgate.components.contracts.insight import Insight
from textgate.components.contracts.training_cost import TrainingCost
from textgate.components.step import InputError

MANIFEST = "evaluation.json"
INSIGHT = "insight.json"
PREDICTIONS = "predictions.parquet"
FEW_ROWS = 20
"""A value that rests on fewer rows is marked."""
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
    """Value with its 95 % interval, from ``low`` to ``high``."""

    value: float
    """Value on the split."""
    low: float
    """Lower end of the interval."""
    high: float
    """Upper end of the interval."""
    rows: int | None = Field(default=None, exclude_if=lambda rows: rows is None)
    """Rows that the value rests on: those of the class or, for precision, those predicted as it; for means over
    classes, the fewest of any class. None if it is not known."""
    withheld: str | None = Field(default=None, exclude_if=lambda withheld: withheld is None)
    """Why no interval covers the true value here; ``low`` and ``high`` are then the ends of the metric's range. None if
    the interval covers."""

    @property
    def few_rows(self) -> bool:
        """Whether the value rests on fewer than 20 rows."""
        return self.rows is not None and self.rows < FEW_ROWS

    @property
    def mark(self) -> str:
        """Addition to the text of an interval that rests on few rows, such as ``; 5 texts``; else empty."""
        return f"; {self.rows} {'text' if self.rows == 1 else 'texts'}" if self.few_rows else ""

    def __str__(self) -> str:
        if self.withheld:
            return f"{self.value:.4f} [no interval: {self.withheld}]"
        return f"{self.value:.4f} [{self.low:.4f}, {self.high:.4f}{self.mark}]"


class ClassScores(FrozenModel):
    """Scores of one class against the others."""

    rows: int
    """Support: rows of the split with this label."""
    precision: Estimate
    """Share of the rows predicted as this class that belong to it."""
    recall: Estimate
    """Share of the rows of this class that are predicted as it."""
    f1: Estimate
    """Harmonic mean of precision and recall."""


class Slice(FrozenModel):
    """Scores of the rows that share one value of a column."""

    column: str
    """``length`` (in words), ``source`` (file of the row) or a column of ``source.metadata``."""
    value: str
    """Value of the column, or its range such as ``1 to 9``."""
    rows: int
    """Number of rows in the slice."""
    f1: Estimate | None
    """F1 on these rows, over the labels that occur in them; None if they all have the same label."""
    accuracy: Estimate
    """Accuracy on these rows; if they all have the same label, it is the recall of this label."""
    p_worse: float | None = None
    """p-value of an accuracy as low by chance: Fisher's exact test against the other rows, one-sided, corrected for the
    number of slices (Holm). None if it was not tested."""

    @property
    def is_worse(self) -> bool:
        """Whether the accuracy is lower than on the other rows by more than chance (5 % over all slices)."""
        return self.p_worse is not None and self.p_worse <= 0.05


class RobustnessResult(FrozenModel):
    """Scores on perturbed texts whose meaning is unchanged."""

    perturbation: str
    """Name of the perturbation, such as ``typos``."""
    rows: int
    """Sampled rows of the test split that the perturbation changes."""
    changed: float
    """Share of these rows with another prediction after the perturbation."""
    f1_before: Estimate
    """F1 on the original texts, over the labels that occur in these rows."""
    f1: Estimate
    """F1 on the perturbed texts, over the same labels."""
    f1_difference: Estimate
    """F1 after minus F1 before, paired."""


class OutOfDomainSet(FrozenModel):
    """Scores on another data set with the same labels, which training does not read."""

    name: str
    """Name in ``evaluate.out_of_domain`` of the recipe."""
    dataset: str
    """Fingerprint of the dataset."""
    rows: int
    """Number of rows."""
    f1: Estimate
    """F1 on the data set."""
    accuracy: Estimate
    """Accuracy on the data set."""


class TfidfBaseline(FrozenModel):
    """Scores of TF-IDF and logistic regression on the same split, as a scale for those of the model."""

    train_rows: int
    """Number of training texts that it was fitted on."""
    metrics: dict[str, Estimate]
    """Metric name to value, as in ``EvaluationManifest.metrics``."""


class EvaluationManifest(FrozenModel):
    """Content of ``evaluation.json``."""

    format_version: Literal[2] = 2
    """Version of the format."""
    bundle: str
    """Fingerprint of the evaluated bundle."""
    runtime: str
    """Runtime that computed the predictions, such as ``onnx``."""
    dataset: str
    """Fingerprint of the dataset."""
    split: str
    """Split of the dataset, such as ``test``."""
    labels: list[str]
    """Label names in the order of the probabilities."""
    metrics: dict[str, Estimate]
    """Metric name to value, as in ``textgate.components.metrics.METRICS``; ``f1`` and ``accuracy`` are always
    present."""
    per_class: dict[str, ClassScores]
    """Label name to scores."""
    confusion: list[list[int]]
    """Confusion matrix: rows are true labels, columns predicted labels."""
    calibration: Calibration = Calibration()
    """Calibration of the bundle; the stored probabilities are calibrated."""
    calibration_error_before: float
    """Expected calibration error without the bundle's temperature."""
    rows_per_second: float
    """Throughput of the evaluation."""
    slices: list[Slice] = []
    """Scores by text length, source file and metadata."""
    length_bias: Estimate | None = None
    """Accuracy on the longest quarter of the texts minus that on the shortest; None if most have the same length."""
    robustness: list[RobustnessResult] = []
    """One result per perturbation."""
    out_of_domain: list[OutOfDomainSet] = Field(default=[], alias="domains")
    """Scores on further data sets."""
    history: list[dict[str, float]] = []
    """Training history of the bundle, see ``ModelBundle.history``."""
    training_cost: TrainingCost | None = None
    """Cost of the training; None if it is not known."""
    versions: dict[str, str] = {}
    """Library versions at training."""
    baseline: TfidfBaseline | None = None
    """TF-IDF baseline; None if it was not computed."""
    validation: dict[str, float] = {}
    """Metric name to value on the validation split, such as ``f1``, as measured after training by the most probable
    label."""
    validation_rows: int | None = None
    """Number of texts of that validation split; None if the bundle was trained on another dataset, or before 0.2."""

    @property
    def f1(self) -> Estimate:
        """F1 of the last label for two labels, macro F1 for more."""
        return self.metrics["f1"]

    @property
    def accuracy(self) -> Estimate:
        """Share of correct predictions."""
        return self.metrics["accuracy"]


@dataclass(frozen=True)
class Evaluation:
    """Manifest, predictions and analyses of one model on a split of n rows."""

    manifest: EvaluationManifest
    """Bundle, dataset and metrics."""
    ids: list[str]
    """Identifiers of the rows."""
    texts: list[str]
    """Cleaned texts of the rows."""
    truth: npt.NDArray[np.int64]
    """Index of the true class per row, (n,) int64."""
    probabilities: npt.NDArray[np.float64]
    """Calibrated probabilities, (n, classes) float64."""
    insight: Insight = field(default_factory=Insight)
    """Explained errors, top words and the map of embeddings."""

    @property
    def predicted(self) -> npt.NDArray[np.int64]:
        """Index of the predicted class per row, (n,) int64."""
        return self.manifest.calibration.predict(self.probabilities)

    def write(self, path: Path) -> None:
        """Write the folder atomically."""
        labels = self.manifest.labels
        with new_folder(path) as folder:
            table = pa.Table.from_pydict(
                {
                    "id": self.ids,
                    "text": self.texts,
                    "label": [labels[index] for index in self.truth],
                    "predicted": [labels[index] for index in self.predicted],
                    "probabilities": list(self.probabilities),
                },
                schema=SCHEMA,
            )
            pq.write_table(table, folder / PREDICTIONS, compression="zstd")
            (folder / INSIGHT).write_text(self.insight.model_dump_json() + "\n", "utf-8")
            (folder / MANIFEST).write_text(self.manifest.model_dump_json(indent=2) + "\n", "utf-8")

    @classmethod
    def open(cls, path: str | Path) -> "Evaluation":
        """Read a folder written by ``write``.

        Raises:
            InputError: The folder is not a readable evaluation.
        """
        folder = Path(path)
        try:
            manifest = EvaluationManifest.model_validate_json((folder / MANIFEST).read_text("utf-8"))
            insight = Insight.model_validate_json((folder / INSIGHT).read_text("utf-8"))
            table = pq.read_table(folder / PREDICTIONS, schema=SCHEMA)
            if any(column.null_count for column in table.columns):
                raise ValueError("a column is missing or has empty cells")
            rows = table.to_pydict()
            truth = [manifest.labels.index(label) for label in rows["label"]]
            probabilities = np.array(rows["probabilities"], dtype=np.float64).reshape(len(table), len(manifest.labels))
        except (OSError, ValueError, pa.ArrowException) as error:
            raise InputError(f"{folder} is not a readable evaluation ({error})") from error
        return cls(manifest, rows["id"], rows["text"], np.array(truth, dtype=np.int64), probabilities, insight)
