"""The recipe's section ``gate``: thresholds that a model must reach to be promoted."""

from typing import Literal

from pydantic import Field

from textgate.components.contracts.recipe.section import RecipeSection

Endpoint = Literal["textgate", "huggingface"]


class Gate(RecipeSection):
    """Thresholds of both gates: the one after training and the one before promotion."""

    min_f1: float = Field(ge=0, le=1)
    """F1 on the test split that the trained model and the served model must both reach."""
    margin: float = Field(default=0.01, ge=0, le=1)
    """Non-inferiority margin: the lower end of the 95 % interval of (F1 - F1 of the champion) may be at most this much
    below 0."""
    improvement: list[Literal["f1", "speed", "size"]] = []
    """Ways to beat the champion, at least one of which is required: ``f1`` beyond the 95 % interval, ``speed`` by a
    factor of 1.1 in texts per second, ``size`` by a factor of 1.1 in bytes. By default it is enough not to be worse."""
    endpoint: Endpoint | None = None
    """Server that the model is promoted for: ``textgate`` is ``textgate serve``, which serves arrays and ONNX graphs;
    ``huggingface`` is vLLM, TEI or KServe's Hugging Face runtime, which serve the targets ``hf`` and ``hf-nf4``. The
    second gate rejects what it cannot serve. By default either is accepted, and the decision says who serves it."""
