"""Protocol of a model family, and the input and output of a training."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple, Protocol

from textgate.components.contracts import Dataset, InputError, ModelBundle, OnnxRuntime, TransformersRuntime
from textgate.components.contracts.bundle import Runtime
from textgate.components.families.accelerator_meter import AcceleratorMeter
from textgate.components.inference import Predictor

_DEFAULT_BENCHMARK_TOKENS = 512


class Checkpoints(Protocol):
    """Storage of one training's checkpoints that outlives the process, so that a killed training can resume."""

    def restore(self, folder: Path) -> bool:
        """Download the last complete checkpoint into ``folder``; return False if there is none."""
        ...

    def save(self, folder: Path) -> None:
        """Store the checkpoint in ``folder`` in place of the previous one, and remove the folder."""
        ...


@dataclass(frozen=True)
class TrainingContext:
    """Local inputs and side outputs of a training; none of them changes its result."""

    base_model: Path | None = None
    """Local folder or file of the pretrained weights that the recipe names."""
    checkpoints: Checkpoints | None = None
    """Storage of checkpoints; None trains without them."""
    logs: Path | None = None
    """Folder for TensorBoard files; None writes none."""
    bundles: Mapping[str, Path] = field(default_factory=dict)
    """Local folders of the finished bundles that the recipe names (ensemble members, a teacher), by reference."""
    track: Callable[[dict[str, float], int], None] | None = None
    """Function that logs values of an update, and its number, to the tracking services; None logs nothing."""
    meter: AcceleratorMeter | None = None
    """Receives the speed of the training; None without a GPU."""


class FitResult(NamedTuple):
    """Result of a training."""

    runtime: Runtime
    """Runtime for the files that the training wrote."""
    metrics: dict[str, float]
    """Metrics on the validation split, those of ``validation_metrics`` among them."""
    history: list[dict[str, float]] = []
    """See ``ModelBundle.history``; empty for a family that does not train in epochs."""


class Family(Protocol):
    """Functions that the module of a family defines."""

    def fit(self, dataset: Dataset, training: Any, folder: Path, context: TrainingContext) -> FitResult:
        """Train on the split ``train``, and write the model's files to ``folder``.

        Args:
            dataset: Preprocessed dataset with the splits ``train`` and ``validation``.
            training: Recipe section ``train`` of this family.
            folder: Empty folder for the files of the bundle, without its manifest.
            context: Local copies of what the recipe names, and where to keep checkpoints and logs.
        """
        ...

    def predictor(self, folder: Path, bundle: ModelBundle, base_model: Path | None) -> Predictor:
        """Return an uncalibrated predictor of a trained bundle, on the library that trained it.

        Args:
            folder: Folder of the bundle.
            bundle: Its manifest.
            base_model: Local folder or file of ``bundle.base_model``; None if the bundle has none.
        """
        ...

    def merge(
        self, folder: Path, bundle: ModelBundle, base_model: Path | None, output: Path
    ) -> tuple[TransformersRuntime, str] | None:
        """Merge a trained bundle and its base model into one model in ``output``.

        Args:
            folder: Folder of the bundle.
            bundle: Its manifest.
            base_model: See ``predictor``.
            output: Empty folder for the merged files.

        Returns:
            The runtime of the merged files and a sentence that says how they were merged; None if there is nothing to
            merge.
        """
        ...


class ExportableFamily(Family, Protocol):
    """Family whose merged bundle is exported before it is served.

    Families that are served from plain arrays do not need an export.
    """

    def export_hf(self, folder: Path, bundle: ModelBundle, output: Path, quantize: bool) -> TransformersRuntime:
        """Write a Hugging Face folder that vLLM, TEI or KServe's Hugging Face runtime can serve.

        Args:
            folder: Folder of the merged bundle.
            bundle: Its manifest.
            output: Empty folder to write to.
            quantize: Whether to store the weights in 4-bit NormalFloat.

        Raises:
            InputError: The model has a custom head, which transformers cannot load.
        """
        ...

    def export_onnx(self, folder: Path, bundle: ModelBundle, output: Path) -> tuple[OnnxRuntime, list[str]]:
        """Write ``model.onnx`` in full precision and ``tokenizer.json`` to ``output``.

        Args:
            folder: Folder of the merged bundle.
            bundle: Its manifest.
            output: Empty folder to write to.

        Returns:
            The runtime of the graph, and the names of the nodes that must not be quantized.
        """
        ...


def max_benchmark_tokens(bundle: ModelBundle) -> int:
    """Return the length, in tokens, of the longest texts to benchmark ``bundle`` with.

    It is the bundle's maximum, or 512 for a bundle without one.
    """
    return bundle.max_tokens or _DEFAULT_BENCHMARK_TOKENS


def transformer_max_tokens(bundle: ModelBundle) -> int:
    """Return the maximum number of tokens of a bundle that runs on transformers.

    Raises:
        InputError: The bundle has another runtime, for example because it was exported already.
    """
    if not isinstance(bundle.runtime, TransformersRuntime):
        raise InputError(
            f"the bundle {bundle.name} has the runtime {bundle.runtime.name}, not the transformers model it "
            "was trained as"
        )
    return bundle.runtime.max_tokens


def custom_head_error(bundle: ModelBundle) -> InputError:
    """Return the error of exporting ``bundle``, whose head transformers does not know, to a Hugging Face folder."""
    return InputError(
        f"export.targets: hf and hf-nf4 are for models that transformers can load, but {bundle.name} has a custom "
        "head: use ONNX targets"
    )
