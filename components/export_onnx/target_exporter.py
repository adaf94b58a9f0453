"""Exporter of a trained transformer to ONNX graphs of several precisions and to Hugging Face folders."""

import shutil
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from textgate.components.contracts import Dataset, Export, ModelBundle, OnnxRuntime
from textgate.components.contracts.export_target import ExportTarget
from textgate.components.families import EXPORTABLE_FAMILIES, open_predictor
from textgate.components.metrics import accuracy, f1

# onnxruntime is slow to import, and the linear families do not need it.
if TYPE_CHECKING:
    from textgate.components.export_onnx.activations import ActivationRanges, Feeds
    from textgate.components.inference.onnx import OnnxPredictor

SPLIT = "validation"
"""Split on which quantization is calibrated and its scheme is selected, so that the test split stays unbiased."""
_EXCLUDED_SHARES = (0.0, 0.05, 0.15)
"""Shares of the matrix products that stay in fp32, tried in this order until int8 loses little enough."""
_CHECK_TEXTS = 512
"""Texts on which a quantized graph is compared with the fp32 graph."""
_RANGE_TEXTS = 256
"""Texts from which the ranges of the activations are read."""
_SENSITIVITY_TEXTS = 16
"""Texts on which the distortion of each product is measured."""


@dataclass(frozen=True)
class TargetExporter:
    """Exporter that writes each target of one trained bundle as a bundle of its own.

    Attributes:
        source: Folder of the merged bundle.
        scratch: Folder in which each target gets a folder of its name.
        bundle: Manifest of the merged bundle, uncalibrated.
        dataset: Dataset whose validation split calibrates the quantization.
        settings: Losses that an int8 graph may have before another scheme is tried.
    """

    source: Path
    scratch: Path
    bundle: ModelBundle
    dataset: Dataset
    settings: Export

    def export(self, target: ExportTarget) -> ModelBundle:
        """Write ``target`` to the folder of its name and return the manifest.

        Raises:
            InputError: The model cannot be exported to this target.
        """
        print(f"exporting {target.name}", flush=True)
        if target.runtime == "transformers":
            return self._write_hf_folder(target)
        if target.precision == "int8":
            return self._write_best_int8(target)
        return self._write_graph(target, block_wise=target.precision == "int4")

    def _write_best_int8(self, target: ExportTarget) -> ModelBundle:
        """Write the first int8 scheme that loses little enough on the validation split.

        One scale per channel is tried first, then with the most sensitive products left in fp32. If that is not
        enough, block-wise scales are used.
        """
        for share in _EXCLUDED_SHARES:
            excluded = self._sensitive_products[: round(share * len(self._sensitive_products))] if share else []
            if share and not excluded:
                continue
            bundle = self._write_graph(target, excluded)
            if self._is_accurate(target, bundle, f"{share:.0%} of its products in full precision"):
                return bundle
        bundle = self._write_graph(target, block_wise=True)
        self._is_accurate(target, bundle, "one scale per block")
        return bundle

    def _is_accurate(self, target: ExportTarget, bundle: ModelBundle, scheme: str) -> bool:
        """Compare a quantized graph with the fp32 graph on validation texts and print the result."""
        _, texts, classes = self.dataset.columns(SPLIT)
        probabilities = open_predictor(self.scratch / target.name, bundle).predict_proba(texts[:_CHECK_TEXTS])
        predicted, truth, labels = probabilities.argmax(axis=1), classes[:_CHECK_TEXTS], len(bundle.labels)
        agreement = accuracy(predicted, self._reference)
        loss = f1(truth, self._reference, labels) - f1(truth, predicted, labels)
        accurate = agreement >= self.settings.min_agreement and loss <= self.settings.max_f1_loss
        outcome = "keeps enough" if accurate else "loses too much"
        print(
            f"{target.name} with {scheme} {outcome}: agreement {agreement:.4f}, F1 {-loss:+.4f} on "
            f"{len(truth):,} validation texts",
            flush=True,
        )
        return accurate

    def _write_graph(
        self, target: ExportTarget, excluded_nodes: list[str] | None = None, block_wise: bool = False
    ) -> ModelBundle:
        from textgate.components.export_onnx.onnx_graphs import write_graph
        from textgate.components.inference.onnx import TOKENIZER

        runtime, unrounded_nodes = self._fp32
        folder = self.scratch / target.name
        shutil.rmtree(folder, ignore_errors=True)
        excluded = excluded_nodes or []
        ranges = self._activation_ranges if target.precision == "int8" and not block_wise else None
        write_graph(target, self._fp32_graph, folder / runtime.graph, [*unrounded_nodes, *excluded], ranges)
        shutil.copy(self._fp32_graph.with_name(TOKENIZER), folder)
        changes = {"precision": target.precision, "excluded_nodes": len(excluded), "blocks": block_wise}
        return self.bundle.model_copy(update={"runtime": runtime.model_copy(update=changes)}).write(folder)

    def _write_hf_folder(self, target: ExportTarget) -> ModelBundle:
        folder = self.scratch / target.name
        folder.mkdir()
        family = EXPORTABLE_FAMILIES[self.bundle.family]()
        runtime = family.export_hf(self.source, self.bundle, folder, quantize=target.precision == "nf4")
        return self.bundle.model_copy(update={"runtime": runtime}).write(folder)

    @cached_property
    def _fp32(self) -> tuple[OnnxRuntime, list[str]]:
        """Runtime of the fp32 graph, and the names of the nodes that no precision may round."""
        folder = self.scratch / "full"
        folder.mkdir()
        return EXPORTABLE_FAMILIES[self.bundle.family]().export_onnx(self.source, self.bundle, folder)

    @property
    def _fp32_graph(self) -> Path:
        return self.scratch / "full" / self._fp32[0].graph

    @cached_property
    def _reference(self) -> npt.NDArray[np.int64]:
        """Classes (texts,) int64 that the fp32 graph predicts for the validation texts."""
        _, texts, _ = self.dataset.columns(SPLIT)
        return np.asarray(self._fp32_predictor.predict_proba(texts[:_CHECK_TEXTS]).argmax(axis=1))

    @cached_property
    def _sensitive_products(self) -> list[str]:
        from textgate.components.export_onnx.sensitivity import sensitive_products

        return sensitive_products(self._fp32_graph, self._feeds(_SENSITIVITY_TEXTS))

    @cached_property
    def _activation_ranges(self) -> "ActivationRanges":
        from textgate.components.export_onnx.activations import activation_ranges

        return activation_ranges(self._fp32_graph, self._feeds(_RANGE_TEXTS))

    def _feeds(self, count: int) -> "Feeds":
        """Return the graph inputs of the first ``count`` validation texts."""
        _, texts, _ = self.dataset.columns(SPLIT)
        return [batch.inputs for batch in self._fp32_predictor.batches(texts[:count])]

    @property
    def _fp32_predictor(self) -> "OnnxPredictor":
        from textgate.components.inference.onnx import OnnxPredictor

        return OnnxPredictor(self._fp32_graph.parent, self.bundle.normalizer, self._fp32[0], threads=0)
