"""Measurements (output of export_onnx) and MergeResult (output of merge_quantize): accuracy and cost of export targets.

Each is one JSON file.
"""

from collections.abc import Sequence
from pathlib import Path

from textgate.components.contracts.evaluation import Estimate
from textgate.components.contracts.files import write_file
from textgate.components.contracts.frozen_model import FrozenModel
from textgate.components.contracts.parse import parse_json

LATENCY_TOKENS = 64
"""Length of a text, in tokens, by which ``gate.max_latency_ms`` judges."""


class Speed(FrozenModel):
    """Prediction time of one batch size and text length, on all CPU cores, tokenization included."""

    batch: int
    """Texts per batch."""
    tokens: int
    """Length of each text in tokens."""
    milliseconds: float
    """Median time of a batch."""

    @property
    def texts_per_second(self) -> float:
        """Throughput at this batch size and text length."""
        return self.batch / self.milliseconds * 1_000


def throughput(speeds: Sequence[Speed]) -> float:
    """Return the texts per second in the largest batch of the median text length among ``speeds``."""
    lengths = sorted({speed.tokens for speed in speeds})
    middle = lengths[len(lengths) // 2]
    return max((speed for speed in speeds if speed.tokens == middle), key=lambda s: s.batch).texts_per_second


class Measurement(FrozenModel):
    """Accuracy and cost of one export target."""

    target: str
    """Name of the export target, such as ``onnx-int8``."""
    bytes: int
    """Size of the files that prediction needs."""
    split: str = "test"
    """Split on which accuracy was measured: ``validation``, or ``test`` before 0.2."""
    parity: float
    """Mean absolute difference between its probabilities and those of the model before export."""
    agreement: float
    """Share of texts with the same most probable class as the model before export."""
    f1: Estimate
    """F1 on the split, by the most probable class."""
    f1_difference: Estimate
    """F1 minus F1 of the model before export, paired."""
    speeds: list[Speed]
    """Prediction times by batch size and text length."""
    peak_memory: int
    """Peak resident memory, in bytes, of a process that loads it and predicts the batches of ``speeds``."""
    machine: str | None = None
    """Processor on which ``speeds`` were measured, such as ``AMD EPYC 7B12, 8 cores``; None if it is not known."""
    refused: str | None = None
    """Reason why it must not be served, as a sentence; None if it may be served."""

    @property
    def texts_per_second(self) -> float:
        """Throughput, see ``throughput``."""
        return throughput(self.speeds)

    @property
    def latency(self) -> Speed | None:
        """Time of one text of 64 tokens, or of the longest text below that was measured; None without a measurement."""
        single = [speed for speed in self.speeds if speed.batch == 1 and speed.tokens <= LATENCY_TOKENS]
        return max(single, key=lambda speed: speed.tokens, default=None)


class MergeResult(FrozenModel):
    """Changes on the test split from merging an adapter into its base model."""

    agreement: float
    """Share of texts with the same most probable class."""
    logit_difference: float
    """Mean absolute difference of the logits, centred per text: probabilities determine logits up to a constant."""
    f1_before: Estimate
    """F1 with the separate adapter."""
    f1_after: Estimate
    """F1 of the merged model."""
    f1_difference: Estimate
    """F1 after minus F1 before, paired."""

    @classmethod
    def open(cls, path: Path) -> "MergeResult | None":
        """Read the file of the step; return None if there was no adapter to merge.

        Raises:
            InputError: The file is not a merge result.
        """
        content = path.read_bytes()
        return None if content.strip() == b"null" else parse_json(cls, content, str(path), "a merge result")


class Measurements(FrozenModel):
    """Measurements of all export targets, and the choice of the served one."""

    served: str
    """Name of the target that is served."""
    max_f1_loss: float
    """Allowed loss of F1, from the recipe."""
    min_agreement: float
    """Required agreement with the model before export, from the recipe."""
    targets: list[Measurement]
    """Measurements of every export target."""

    @property
    def served_target(self) -> Measurement | None:
        """Measurement of the served target; None if it is not among the targets."""
        return next((target for target in self.targets if target.target == self.served), None)

    def write(self, path: Path) -> None:
        """Write the measurements as JSON."""
        write_file(path, self.model_dump_json(indent=2) + "\n")

    @classmethod
    def open(cls, path: Path) -> "Measurements":
        """Read a file written by ``write``.

        Raises:
            InputError: The file is not a list of measurements.
        """
        return parse_json(cls, path.read_bytes(), str(path), "a list of measurements")
