"""Measurements: what each way of serving a model costs and keeps, as export_onnx hands them to the gate and the report.

One JSON file, ``Measurements``; and ``Merge``, what merging an adapter changed before.
"""

from collections.abc import Sequence
from pathlib import Path

from textgate.components.contracts.evaluation import Estimate
from textgate.components.contracts.frozen_model import FrozenModel
from textgate.components.contracts.parse import parse_json


class Speed(FrozenModel):
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


def throughput(speeds: Sequence[Speed]) -> float:
    """Texts per second in the largest batch of the middle length that was measured."""
    lengths = sorted({speed.tokens for speed in speeds})
    middle = lengths[len(lengths) // 2]
    return max((speed for speed in speeds if speed.tokens == middle), key=lambda s: s.batch).texts_per_second


class Measurement(FrozenModel):
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
        """See ``throughput``."""
        return throughput(self.speeds)


class Merge(FrozenModel):
    """What merging an adapter into its base changed, on the test split."""

    agreement: float
    """Share of texts with the same most probable class."""
    logit_difference: float
    """Mean absolute; of logits centred on their mean in each text, which is what probabilities tell of them."""
    f1_before: Estimate
    f1_after: Estimate
    f1_difference: Estimate
    """Paired bootstrap."""

    @classmethod
    def open(cls, path: Path) -> "Merge | None":
        """Read the file of the step; None where there was nothing to merge.

        Raises:
            InputError: it is none.
        """
        content = path.read_bytes()
        return None if content.strip() == b"null" else parse_json(cls, content, str(path), "what a merge changed")


class Measurements(FrozenModel):
    """Every target that was made, and the one that is served."""

    served: str
    max_f1_loss: float
    """Below the trained model's F1, that was allowed."""
    min_agreement: float
    """With the trained model, that was asked for."""
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
