"""The recipe's section ``gate``: conditions that a model must meet to be promoted."""

from typing import Annotated, Literal

from pydantic import Field, model_validator

from textgate.components.contracts.metric_names import GateMetric
from textgate.components.contracts.recipe.section import RecipeSection

Endpoint = Literal["textgate", "huggingface"]
Share = Annotated[float, Field(ge=0, le=1)]


class Gate(RecipeSection):
    """Conditions of both gates: the one after training and the one before promotion."""

    metric: GateMetric = "f1"
    """Metric in which the model must beat a constant answer and is compared with the champion. ``f1`` and ``pr_auc``
    are those of the positive class for two labels (see ``preprocess.positive``) and macro averages for more; ``mcc`` is
    the Matthews correlation."""
    min_f1: Share | None = None
    """F1 on the test split that the trained model and the served model must both reach; short for ``min: {f1: …}``.
    This key or ``min`` is required."""
    min: dict[GateMetric, Share] = {}
    """Thresholds by metric, such as ``{accuracy: 0.9, macro_f1: 0.8}``. The trained model and the served model must
    reach all of them on the test split."""
    min_recall: dict[str, Share] = {}
    """Recall that single labels must reach, such as ``{fraud: 0.5}``."""
    min_precision: dict[str, Share] = {}
    """Precision that single labels must reach, such as ``{fraud: 0.9}``."""
    on: Literal["point", "lower"] = "point"
    """Value that is compared with the thresholds above: ``point`` is the value on the test split, an estimate that is
    too high about as often as too low; ``lower`` is the lower end of its 95 % interval."""
    min_test_rows: int = Field(default=20, ge=1)
    """Smallest number of texts to judge on. On fewer than 20 texts even a model without errors cannot be told from one
    with an accuracy of 0.83."""
    beats_constant: bool = True
    """Reject a model that is no better than a constant answer: the 95 % interval of ``metric`` must lie above the value
    of always predicting the same label, whichever label is best for it."""
    beats_baseline: bool = False
    """Reject a model whose ``metric`` is not above that of TF-IDF + logistic regression on the same split. Without this
    key the baseline is only shown."""
    margin: float = Field(default=0.01, ge=0, le=1)
    """Non-inferiority margin: the lower end of the 95 % interval of (``metric`` - ``metric`` of the champion) may be at
    most this much below 0. The same holds for the reference, the champion that no later one was shown to be better
    than."""
    improvement: list[Literal["f1", "speed", "size"]] = []
    """Ways to beat the champion, at least one of which is required: ``f1`` by more than chance (``metric``, if it is
    another one; 2.5 % over all comparisons on the same texts), ``speed`` by a factor of 1.1 in texts per second,
    ``size`` by a factor of 1.1 in bytes. By default it is enough not to be worse."""
    max_latency_ms: float | None = Field(default=None, gt=0)
    """Longest median time, in milliseconds, in which the served model answers one text of 64 tokens. The export step
    measures it on its own machine, and the decision names this machine."""
    max_size_mb: float | None = Field(default=None, gt=0)
    """Largest size of the files that the runtime of the served model reads, in units of 10^6 bytes."""
    max_robustness_loss: Share | None = None
    """Largest loss of F1 that any perturbation of ``evaluate.robustness`` may cause (0.01 is one point), as the second
    gate measures it. With ``on: lower`` the lower end of the interval of the paired difference must keep to it."""
    min_slice_accuracy: Share | None = None
    """Accuracy that the trained and the served model must reach on every slice of at least ``min_test_rows`` test texts
    (by length, source file and each column of ``source.metadata``); it is compared as ``on`` says."""
    max_rejected: Share | None = None
    """Largest share of the source's rows that ingest and preprocess may reject, such as duplicates or empty texts. Rows
    that ``source.where``, ``preprocess.balance`` or ``preprocess.train_share`` leave out do not count as rejected."""
    max_near_duplicates: Share | None = None
    """Largest share of the texts that may be near duplicates of others: equal but for case, punctuation, width, markup,
    addresses or mentions."""
    max_label_issues: Share | None = None
    """Largest share of the checked training texts whose label may look wrong (see ``evaluate.label_check_texts``)."""
    min_label_rows: int | None = Field(default=None, ge=1)
    """Smallest number of training texts of each label."""
    endpoint: Endpoint | None = None
    """Server that the model is promoted for: ``textgate`` is ``textgate serve``, which serves arrays and ONNX graphs;
    ``huggingface`` is vLLM, TEI or KServe's Hugging Face runtime, which serve the targets ``hf`` and ``hf-nf4``. The
    second gate rejects what it cannot serve. By default either is accepted, and the decision says who serves it."""

    @model_validator(mode="after")
    def _has_a_threshold(self) -> "Gate":
        if self.min_f1 is None and not self.min:
            raise ValueError("a threshold is missing: give min_f1, or a metric in min")
        if self.min_f1 is not None and "f1" in self.min:
            raise ValueError("min_f1 and min.f1 are the same threshold: give one of them")
        return self

    @property
    def thresholds(self) -> dict[GateMetric, float]:
        """Thresholds by metric, that of ``min_f1`` included."""
        short: dict[GateMetric, float] = {} if self.min_f1 is None else {"f1": self.min_f1}
        return short | self.min
