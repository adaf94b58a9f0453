"""Evaluation: one model's answers on one split, as evaluate hands them to the gates.

<folder>/evaluation.json          what was judged on what, with its metrics (EvaluationManifest)
<folder>/predictions.parquet      id, text, label, predicted, probabilities (list<float64>, one a class)
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq
from pydantic import BaseModel, ConfigDict

from textgate.components.contracts.bundle import Calibration
from textgate.components.contracts.files import new_folder
from textgate.components.step import InputError

MANIFEST = "evaluation.json"
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


class Estimate(BaseModel):
    """A number with its 95 % bootstrap interval."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    value: float
    low: float
    high: float

    def __str__(self) -> str:
        return f"{self.value:.4f} [{self.low:.4f}, {self.high:.4f}]"


class EvaluationManifest(BaseModel):
    """``evaluation.json``."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    format_version: Literal[1] = 1
    bundle: str
    """Fingerprint of the bundle that answered."""
    runtime: str
    dataset: str
    """Fingerprint of the dataset."""
    split: str
    labels: list[str]
    f1: Estimate
    """Of the last label where there are two, macro over the labels where there are more."""
    accuracy: Estimate
    per_class_f1: dict[str, float]
    confusion: list[list[int]]
    """Rows are true labels, columns predicted ones."""
    calibration: Calibration = Calibration()
    """The bundle's, which is in the probabilities and decides the predicted labels."""
    calibration_error: float
    """Expected calibration error of the probabilities as they are answered."""
    calibration_error_before: float
    """The same without the bundle's temperature."""
    rows_per_second: float


@dataclass(frozen=True)
class Evaluation:
    """The manifest and the answers: ``classes`` (n,) int64 is the truth, ``probabilities`` (n, classes) float64."""

    manifest: EvaluationManifest
    ids: list[str]
    texts: list[str]
    classes: npt.NDArray[np.int64]
    probabilities: npt.NDArray[np.float64]

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
            table = pq.read_table(folder / PREDICTIONS, schema=SCHEMA)
            if any(column.null_count for column in table.columns):
                raise ValueError("a column is missing or has empty cells")
            rows = table.to_pydict()
            classes = [manifest.labels.index(label) for label in rows["label"]]
            probabilities = np.array(rows["probabilities"], dtype=np.float64).reshape(len(table), len(manifest.labels))
        except (OSError, ValueError, pa.ArrowException) as error:
            raise InputError(f"{folder} is not a readable evaluation ({error})") from error
        return cls(manifest, rows["id"], rows["text"], np.array(classes, dtype=np.int64), probabilities)
