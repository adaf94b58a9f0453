"""Make one target of a bundle after another: ONNX graphs in one precision or another, and Hugging Face folders."""

import shutil
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from textgate.components.contracts import Dataset, Export, ModelBundle, OnnxRuntime
from textgate.components.families import EXPORTABLE_FAMILIES, open_predictor
from textgate.components.metrics import accuracy, f1

# onnxruntime takes a while to import, and the linear families need none of it.
if TYPE_CHECKING:
    from textgate.components.export_onnx.activations import ActivationRanges, Feeds
    from textgate.components.inference.onnx import OnnxPredictor

_SPARED = (0.0, 0.05, 0.15)
"""Shares of the matrix products that 8 bits may spare, tried in turn while they lose too much."""
_TEXTS_ASKED = 512
"""Of the validation split, to see what a rounding loses."""
_TEXTS_LOOKED_AT = 256
"""For how far what is rounded to 8 bits reaches."""
_TEXTS_COMPARED = 16
"""For the products that 8 bits distort."""


@dataclass(frozen=True)
class TargetExporter:
    """Writes targets of ``bundle``, whose files lie in ``source``, each as a bundle in a folder of ``scratch``."""

    source: Path
    scratch: Path
    bundle: ModelBundle
    dataset: Dataset
    settings: Export

    def make(self, target: str) -> ModelBundle:
        """Write one to the folder of its name.

        How 8 bits are put to use is told by the validation split, so that what judges the target has not chosen it:
        with one scale a channel; sparing ever more of the layers that distorts most; with one scale a block of numbers.

        Raises:
            InputError: it is not for this model.
        """
        print(f"making {target}", flush=True)
        if target.startswith("hf"):
            return self._write_checkpoint(target)
        if target != "onnx-int8":
            return self._write_graph(target, blocks=target == "onnx-int4")
        for share in _SPARED:
            spared = self._sensitive[: round(share * len(self._sensitive))] if share else []
            if share and not spared:
                continue
            made = self._write_graph(target, spared)
            if self._keeps(target, made, f"{share:.0%} of its products in full precision"):
                return made
        made = self._write_graph(target, blocks=True)
        self._keeps(target, made, "one scale a block")
        return made

    def _keeps(self, target: str, made: ModelBundle, how: str) -> bool:
        """Whether a graph answers the validation texts as the full one does."""
        _, texts, classes = self.dataset.columns("validation")
        answers = open_predictor(self.scratch / target, made).predict_proba(texts[:_TEXTS_ASKED]).argmax(axis=1)
        truth, reference, labels = classes[:_TEXTS_ASKED], self._reference, len(made.labels)
        agreement = accuracy(answers, reference)
        loss = f1(truth, reference, labels) - f1(truth, answers, labels)
        kept = agreement >= self.settings.min_agreement and loss <= self.settings.max_f1_loss
        outcome = "keeps enough" if kept else "loses too much"
        print(
            f"{target} with {how} {outcome}: agreement {agreement:.4f}, F1 {-loss:+.4f} on "
            f"{len(truth):,} validation texts",
            flush=True,
        )
        return kept

    def _write_graph(self, target: str, spared: list[str] | None = None, blocks: bool = False) -> ModelBundle:
        from textgate.components.export_onnx.targets import make_target
        from textgate.components.inference.onnx import TOKENIZER

        runtime, unrounded = self._full
        folder = self.scratch / target
        shutil.rmtree(folder, ignore_errors=True)
        kept = spared or []
        ranges = self._reach if target == "onnx-int8" and not blocks else None
        make_target(target, self._graph, folder / runtime.graph, [*unrounded, *kept], ranges)
        shutil.copy(self._graph.with_name(TOKENIZER), folder)
        changes = {"precision": target.removeprefix("onnx-"), "excluded_nodes": len(kept), "blocks": blocks}
        return self.bundle.model_copy(update={"runtime": runtime.model_copy(update=changes)}).write(folder)

    def _write_checkpoint(self, target: str) -> ModelBundle:
        folder = self.scratch / target
        folder.mkdir()
        family = EXPORTABLE_FAMILIES[self.bundle.family]()
        runtime = family.export_hf(self.source, self.bundle, folder, quantize=target == "hf-nf4")
        return self.bundle.model_copy(update={"runtime": runtime}).write(folder)

    @cached_property
    def _full(self) -> tuple[OnnxRuntime, list[str]]:
        """The runtime of the graph in full precision, and the nodes that are never to be rounded."""
        folder = self.scratch / "full"
        folder.mkdir()
        return EXPORTABLE_FAMILIES[self.bundle.family]().export_onnx(self.source, self.bundle, folder)

    @property
    def _graph(self) -> Path:
        return self.scratch / "full" / self._full[0].graph

    @cached_property
    def _reference(self) -> npt.NDArray[np.int64]:
        """Classes (texts,) that the graph in full precision answers."""
        _, texts, _ = self.dataset.columns("validation")
        predictor = self._predictor(self._graph.parent, self._full[0])
        return np.asarray(predictor.predict_proba(texts[:_TEXTS_ASKED]).argmax(axis=1))

    @cached_property
    def _sensitive(self) -> list[str]:
        from textgate.components.export_onnx.sensitivity import sensitive_products

        return sensitive_products(self._graph, self._feeds(_TEXTS_COMPARED))

    @cached_property
    def _reach(self) -> "ActivationRanges":
        from textgate.components.export_onnx.activations import reach

        return reach(self._graph, self._feeds(_TEXTS_LOOKED_AT))

    def _feeds(self, texts: int) -> "Feeds":
        """What the graph is given for the first ``texts`` of the validation split."""
        predictor = self._predictor(self._graph.parent, self._full[0])
        return [batch.inputs for batch in predictor.batches(self.dataset.columns("validation")[1][:texts])]

    def _predictor(self, folder: Path, runtime: OnnxRuntime) -> "OnnxPredictor":
        from textgate.components.inference.onnx import OnnxPredictor

        return OnnxPredictor(folder, self.bundle.normalizer, runtime, threads=0)
