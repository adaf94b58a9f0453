"""Measurements: what each way of serving a model costs and keeps, as export_onnx hands them to the gate and the report.

One JSON file, ``Measurements``.
"""

from pathlib import Path

from pydantic import BaseModel, ConfigDict

from textgate.components.contracts.evaluation import Estimate
from textgate.components.contracts.parse import parse_json


class _Frozen(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Speed(_Frozen):
    """Answers of one batch of equal texts, on every core, tokenization included."""

    batch: int
    tokens: int
    """Of each text."""
    milliseconds: float
    """Median of a batch."""

    @property
    def texts_per_second(self) -> float:
        """Throughput at this batch and length."""
        return self.batch / self.milliseconds * 1_000


class Measurement(_Frozen):
    """One target, made and asked about every text of the test split."""

    target: str
    bytes: int
    """Of the files it needs to answer."""
    parity: float
    """Mean absolute difference of its probabilities from the trained model's."""
    agreement: float
    """Share of texts with the trained model's most probable class."""
    f1: Estimate
    f1_difference: Estimate
    """To the trained model's, paired bootstrap."""
    speeds: list[Speed]
    peak_memory: int
    """Bytes resident at most in a process that loads it and answers the batches above."""
    refused: str | None = None
    """Why it should not be served, as a sentence; None where it may be."""

    @property
    def texts_per_second(self) -> float:
        """Throughput of the largest batch of the middle length that was measured."""
        lengths = sorted({speed.tokens for speed in self.speeds})
        middle = lengths[len(lengths) // 2]
        return max((speed for speed in self.speeds if speed.tokens == middle), key=lambda s: s.batch).texts_per_second


class Measurements(_Frozen):
    """Every target that was made, and the one that is served."""

    served: str
    max_f1_loss: float
    """Below the trained model's F1, that was allowed."""
    targets: list[Measurement]

    def write(self, path: Path) -> None:
        """Write the file."""
        path.write_text(self.model_dump_json(indent=2) + "\n", "utf-8")

    @classmethod
    def open(cls, path: Path) -> "Measurements":
        """Read a file that ``write`` made.

        Raises:
            InputError: it is none.
        """
        return parse_json(cls, path.read_bytes(), str(path), "a list of measurements")
