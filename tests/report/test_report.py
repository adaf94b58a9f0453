"""HTML report of a run: its sections and numbers, and that it has no scripts and no external resources."""

import math
import re
from collections.abc import Iterator
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from report.sample_run import MARKUP, decision, evaluation, report_inputs

from textgate.components.contracts import (
    Candidate,
    Estimate,
    Evaluation,
    Insight,
    JudgedScore,
    SplitUses,
    TrainingCost,
)
from textgate.components.contracts.dataset_splits import SplitChoice
from textgate.components.contracts.insight import ExplainedError, MapPoint, WordContribution
from textgate.components.contracts.label_issues import (
    CheckedLabel,
    LabelIssue,
    LabelIssues,
    LabelIssuesManifest,
    LabelPair,
    write_label_issues,
)
from textgate.components.contracts.losses import Loss, RejectedExample
from textgate.components.contracts.training_cost import EarlierTraining
from textgate.components.metrics import METRICS
from textgate.components.report.report import ReportInputs, _spans, write_report
from textgate.components.report.text_map import MAX_DOTS

SECTIONS = [
    *("metrics", "confusion", "curves", "calibration", "slices", "robustness", "domains", "data", "map", "training"),
    *("errors", "words", "serving", "cost", "lineage"),
]
PLOTS = [
    *("roc", "precision-recall", "reliability", "confidence", "slices-plot", "robustness-plot", "classes", "lengths"),
    *("map-classes", "map-errors", "training-loss", "training-validation-f1", "learning-curve"),
]


class Page(HTMLParser):
    """Parsed HTML page."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.source = path.read_text("utf-8")
        self.tags: list[str] = []
        self.attributes: list[tuple[str, str, str]] = []
        self.text = ""
        self.feed(self.source)
        self.text = " ".join(self.text.split())

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += [(tag, name, value or "") for name, value in attrs]

    def handle_data(self, data: str) -> None:
        if self.tags[-1:] not in (["style"], ["title"]):
            self.text += data

    def values(self, attribute: str, *tags: str) -> list[str]:
        """Return the values of an attribute in the order of the page."""
        return [value for tag, name, value in self.attributes if name == attribute and (not tags or tag in tags)]

    @property
    def drawings(self) -> Iterator[ElementTree.Element]:
        """SVG elements; raises if one is not well-formed XML."""
        for drawing in re.findall(r"<svg.*?</svg>", self.source, re.DOTALL):
            yield ElementTree.fromstring(drawing)


@pytest.fixture(scope="module")
def inputs() -> ReportInputs:
    return report_inputs()


@pytest.fixture(scope="module")
def page(inputs: ReportInputs, tmp_path_factory: pytest.TempPathFactory) -> Page:
    return write_page(inputs, tmp_path_factory.mktemp("report"))


def write_page(inputs: ReportInputs, folder: Path) -> Page:
    write_report(folder / "report.html", inputs)
    return Page(folder / "report.html")


def coordinates(drawing: ElementTree.Element) -> list[float]:
    """Return all coordinates and lengths of a drawing."""
    names = {"x", "y", "x1", "x2", "y1", "y2", "cx", "cy", "r", "width", "height", "d", "viewBox"}
    values = [value for part in drawing.iter() for name, value in part.attrib.items() if name in names]
    return [float(number) for value in values for number in re.findall(r"-?(?:\d+\.?\d*|\.\d+|nan|inf)", value)]


def test_the_decision_comes_first_and_every_section_has_a_link(page: Page) -> None:
    assert page.values("id", "h2") == SECTIONS
    assert page.values("href") == [f"#{section}" for section in SECTIONS]
    assert page.values("id", "figure") == PLOTS
    assert len(set(page.values("id"))) == len(page.values("id"))
    assert page.tags.index("h1") < page.tags.index("h2")
    assert page.text.startswith(
        "Promote quickstart for reviews: gate 2, on the served model, against champion v-2026-11-20-1."
    )
    order = [page.text.index(part) for part in ("Passed: the served model has F1", "F1 of positive", "Metrics Classes")]
    assert order == sorted(order)


def test_a_rejection_names_the_rule_that_failed(inputs: ReportInputs, tmp_path: Path) -> None:
    rejected = replace(inputs, decision=decision(inputs.evaluation.manifest.f1, passed=False))
    page = write_page(rejected, tmp_path)
    assert page.text.startswith("Reject quickstart")
    assert "Failed: the served model has F1" in page.text
    assert "Passed: the F1 differs from champion v1" in page.text


def test_rejected_rows_are_shown_by_label_with_examples(inputs: ReportInputs, tmp_path: Path) -> None:
    assert "Rejected rows by label" not in write_page(inputs, tmp_path).source
    labels = inputs.dataset.labels
    kept = sum(counts[labels[0]] for counts in inputs.dataset.counts.values())
    examples = [RejectedExample(id=f"a.csv:{n}", text=text) for n, text in enumerate(["<b>one</b>", "two", None])]
    groups = [
        Loss(reason="duplicate", label=labels[0], split="all", rows=120, examples=examples),
        *(
            Loss(reason="empty text", label=None, split=f"split {n:02}", rows=1, examples=examples[2:])
            for n in range(60)
        ),
    ]
    dataset = inputs.dataset.model_copy(update={"losses": groups, "warnings": ["labels look alike"]})
    page = write_page(replace(inputs, dataset=dataset), tmp_path)
    row = f"duplicate{labels[0]}all120 {100 * 120 / (kept + 120):.1f} %"
    assert f"{row} a.csv:0 <b>one</b>a.csv:1 twoa.csv:2" in page.text
    assert page.text.count("empty textnot knownsplit ") == 49
    assert "11 smaller groups are in losses of dataset.json." in page.text
    assert "labels look alike." in page.text


def test_earlier_uses_of_the_test_texts_stand_beside_the_score(inputs: ReportInputs, tmp_path: Path) -> None:
    assert "Judged before" not in write_page(inputs, tmp_path).text
    score = JudgedScore(
        metric="f1",
        title="F1 of 'positive'",
        value=inputs.evaluation.manifest.f1,
        rows=600,
        constant_label="positive",
        constant=0.66,
        uses=SplitUses(candidates=12, full_uses=9.42, corrected=0.8034),
    )
    page = write_page(replace(inputs, decision=inputs.decision.model_copy(update={"score": score})), tmp_path)
    assert "Corrected for selection0.8034F1 of 'positive'" in page.text
    assert "Judged before12candidates on these texts, 9.4 full uses" in page.text


@pytest.mark.parametrize(("low", "mark"), [(-0.01, "Validation and test: "), (0.01, "Validation and test differ: ")])
def test_the_gap_to_the_validation_split_is_stated(low: float, mark: str, inputs: ReportInputs, tmp_path: Path) -> None:
    f1 = inputs.evaluation.manifest.f1
    score = JudgedScore(
        metric="f1",
        title="F1 of 'positive'",
        value=f1,
        rows=600,
        constant_label="positive",
        constant=0.5,
        validation=0.95,
        gap=Estimate(value=0.05, low=low, high=0.09),
    )
    page = write_page(replace(inputs, decision=inputs.decision.model_copy(update={"score": score})), tmp_path)
    assert f"{mark}the trained model has F1 of 'positive' 0.9500 on the validation split and 0.9000 on the" in page.text


def test_all_results_are_in_tables(inputs: ReportInputs, page: Page) -> None:
    assert inputs.trained
    manifest, before_export = inputs.evaluation.manifest, inputs.trained.manifest.metrics
    for name, estimate in manifest.metrics.items():
        interval = f"{estimate.low:.4f} to {estimate.high:.4f}"
        assert f"{METRICS[name]}{estimate.value:.4f}{interval}{before_export[name].value:.4f}" in page.text
    for label, scores in manifest.per_class.items():
        assert f"{label}{scores.rows}{scores.precision.value:.4f}{scores.precision.low:.4f} to" in page.text
    for row in manifest.confusion:
        for count in row:
            assert (
                f"<strong>{count}</strong><small>{100 * count / sum(row):.1f}\N{NO-BREAK SPACE}%</small>" in page.source
            )
    for part in (
        "homoglyphs50015.7 %",
        "minus that on the shortest is +0.0540 (+0.0120 to +0.0970), more than chance",
        "8,535 rows in = 8,403 kept + 132 rejected; the row filter excluded 25,000 more",
        "duplicate120",
        "preprocess.train_share=1.0 0.9100chosen",
        "onnx-int823.0 MB34469.0 MB",
        "onnx-int4 is refused: it answers 93.0 % of the texts as the trained model does.",
        "onnx-int8 was timed on AMD EPYC 7B12, 8 cores.",
        "changed 0.15 % of the predictions on the test split and the logits by 0.0100 on average",
        "Peak memory in training2,310 MB",
        "Peak GPU memory in training7,000 MB on one NVIDIA L4, 6,500 MB of them in tensors",
        "Training throughput12,346 tokens per second without padding, 99 texts per second",
        "Model FLOPs utilization41.2 %",
        "GPU utilization97.0 % of the time",
        "2,310 MB peak memory; 7.0 GB of GPU memory, 12,346 tokens/s, 41% MFU, 97% busy",
        "1285.82",
        "transformers5.23.0",
        f"Bundle{'a' * 64}",
        "min_f1: 0.85",
    ):
        assert part in page.text, part


def test_sections_without_results_are_left_out(inputs: ReportInputs, tmp_path: Path) -> None:
    bare = ReportInputs(inputs.decision, inputs.recipe, inputs.dataset, evaluation(60, bare=True))
    page = write_page(bare, tmp_path)
    expected = ["metrics", "confusion", "curves", "calibration", "data", "errors", "lineage"]
    assert page.values("id", "h2") == expected
    assert page.values("href") == [f"#{section}" for section in expected]
    assert "mark" not in page.tags
    assert "Before export" not in page.text
    assert "Predicted" in page.text
    assert "Merging" not in page.text


def test_map_and_training_come_from_the_trained_model_if_the_served_one_has_none(
    inputs: ReportInputs, tmp_path: Path
) -> None:
    page = write_page(replace(inputs, evaluation=evaluation(600, bare=True)), tmp_path)
    assert {"map", "training", "cost"} < set(page.values("id", "h2"))
    assert "Training12m34s" in page.text


def test_the_cost_of_an_ensemble_and_a_test_split_by_time_are_explained(tmp_path: Path) -> None:
    inputs = report_inputs()
    assert inputs.trained
    costs = {"a": TrainingCost(seconds=3_600, peak_memory=1), "b": None}
    earlier = [EarlierTraining(bundle=name, role="member", cost=cost) for name, cost in costs.items()]
    cost = TrainingCost(seconds=60, peak_memory=1, earlier=earlier)
    choice = SplitChoice(by="time", column="date", since="2026-03-01")

    def with_cost(evaluation: Evaluation) -> Evaluation:
        return replace(evaluation, manifest=evaluation.manifest.model_copy(update={"training_cost": cost}))

    page_ = tmp_path / "page.html"
    changed = replace(
        inputs,
        evaluation=with_cost(inputs.evaluation),
        trained=with_cost(inputs.trained),
        dataset=inputs.dataset.model_copy(update={"test_split": choice}),
    )
    write_report(page_, changed)
    text = Page(page_).text
    assert "Training1h01m, including its member a, without its member b of unknown cost" in text
    assert "the latest texts: those whose date is 2026-03-01 or later, without copies of earlier texts" in text


def test_markup_in_the_data_is_escaped(page: Page) -> None:
    assert MARKUP in page.text
    assert "<img src=x" not in page.source
    assert {"script", "img", "iframe", "link", "object"}.isdisjoint(page.tags)
    assert not [name for _, name, _ in page.attributes if name.startswith("on")]


def test_labels_that_look_wrong_are_listed_and_escaped(inputs: ReportInputs, tmp_path: Path) -> None:
    counts = {"negative": CheckedLabel(checked=300, issues=24), "positive": CheckedLabel(checked=200, issues=1)}
    manifest = LabelIssuesManifest(
        dataset="d",
        texts=900,
        labels=counts,
        unchecked={"rare": 4},
        pairs=[LabelPair(label="negative", suggested="positive", issues=24)],
    )
    issues = [
        LabelIssue("0" * 16, f"a.csv:{row}", "train", "negative", "positive", 0.9, 0.1, MARKUP) for row in range(25)
    ]
    write_label_issues(tmp_path / "issues", manifest, issues)
    page = write_page(replace(inputs, label_issues=LabelIssues.open(tmp_path / "issues")), tmp_path)
    assert "TF-IDF doubts 25 of 500 checked training labels (5.0 %); there are 900 training texts." in page.text
    assert "Labels with too few texts to be checked: rare (4)." in page.text
    assert "a.csv:19" in page.text
    assert "a.csv:20" not in page.text
    assert page.text.count(MARKUP) >= 20
    assert "<img src=x" not in page.source
    assert "labels" in page.values("id", "h2")


def test_the_page_loads_no_external_resources(page: Page) -> None:
    loading = {"src", "srcset", "href", "xlink:href", "action", "data", "poster", "background"}
    assert all(value.startswith("#") for _, name, value in page.attributes if name in loading)
    style = page.source[page.source.index("<style>") : page.source.index("</style>")]
    assert "url(" not in style
    assert "@import" not in style
    assert "default-src 'none'" in page.source


def test_drawings_are_well_formed_and_have_finite_coordinates(page: Page) -> None:
    drawings = list(page.drawings)
    assert len(drawings) > len(PLOTS)
    for drawing in drawings:
        assert all(map(math.isfinite, coordinates(drawing)))
        assert drawing.get("aria-hidden") == "true" or drawing.get("role") == "img"
    described = [*page.values("aria-labelledby"), *page.values("aria-describedby")]
    assert set(described) <= set(page.values("id"))


@pytest.mark.parametrize(
    "change",
    [
        {"probabilities": np.tile([1.0, 0.0], (60, 1))},
        {"truth": np.zeros(60, dtype=np.int64)},
        {"texts": [""] * 60},
        {"insight": Insight(map=[MapPoint(row=0, x=1.0, y=1.0)])},
    ],
    ids=["one prediction", "one class", "no words", "one point"],
)
def test_degenerate_evaluations_are_drawn(inputs: ReportInputs, tmp_path: Path, change: dict[str, Any]) -> None:
    degenerate = replace(evaluation(60, bare=True), **change)
    history = [{"epoch": 1.0, "loss": math.nan}, {"epoch": 2.0, "loss": 0.5}, {"epoch": 3.0, "loss": 0.5}]
    manifest = degenerate.manifest.model_copy(update={"history": history})
    page = write_page(replace(inputs, evaluation=replace(degenerate, manifest=manifest), trained=None), tmp_path)
    assert "training-loss" in page.values("id")
    assert all(math.isfinite(number) for drawing in page.drawings for number in coordinates(drawing))


def test_with_many_classes_the_most_common_errors_replace_the_confusion_matrix(tmp_path: Path) -> None:
    labels = tuple(f"topic {number}" for number in range(25))
    page = write_page(replace(report_inputs(100, labels), sweep=[]), tmp_path)
    assert "matrix" not in page.values("class", "table")
    assert "Most common errors" in page.values("aria-label")
    roc = next(drawing for drawing in page.drawings if drawing.get("aria-labelledby") == "roc-title")
    assert len([part for part in roc.iter("path") if "line" in part.get("class", "")]) == 10
    assert "F1, precision and recall are means over the 25 classes" in page.text


def test_a_sweep_of_several_settings_has_a_table_but_no_chart(inputs: ReportInputs, tmp_path: Path) -> None:
    candidates = [
        Candidate(settings={"train.C": c, "preprocess.seed": 1}, score=0.8, chosen=c == 1.0) for c in (1.0, 10.0)
    ]
    page = write_page(replace(inputs, sweep=candidates), tmp_path)
    assert not {"sweep-plot", "learning-curve"} & set(page.values("id"))
    assert "train.C=10.0 preprocess.seed=1" in page.text


def test_words_are_marked_by_their_contribution(inputs: ReportInputs, tmp_path: Path) -> None:
    served = inputs.evaluation
    wrong = int(np.flatnonzero(served.predicted != served.truth)[0])
    texts = list(served.texts)
    texts[wrong] = "not a good film & <b>long</b>"
    words = [("not", 0, 3, -1.5), ("good", 6, 10, 3.0), ("film", 11, 15, 0.1)]
    spans = [WordContribution(start=start, end=end, contribution=contribution) for _, start, end, contribution in words]
    insight = Insight(errors=[ExplainedError(row=wrong, contributions=spans)])
    page = write_page(replace(inputs, evaluation=replace(served, texts=texts, insight=insight)), tmp_path)
    shown = re.search(r'<p class="text">(.*?)</p>', page.source, re.DOTALL)
    assert shown
    assert shown[1] == (
        '<mark class="against" style="--strength:0.50">not</mark> a <mark class="for" style="--strength:1.00">'
        "good</mark> film &amp; &lt;b&gt;long&lt;/b&gt;"
    )
    assert ": “good” +3.00, “not” −1.50, “film” +0.10." in page.text


@settings(deadline=None, max_examples=50)
@given(st.text(max_size=900), st.lists(st.tuples(st.integers(0, 900), st.integers(1, 30), st.floats(-5, 5))))
def test_marking_words_does_not_change_the_text(text: str, words: list[tuple[int, int, float]]) -> None:
    contributions = [
        WordContribution(start=start, end=start + length, contribution=contribution)
        for start, length, contribution in words
        if start + length <= len(text)
    ]
    shown = "".join(span.text for span in _spans(text, contributions))
    assert shown == (text if len(text) <= 600 else text[:600] + "…")


@pytest.mark.parametrize(("points", "smallest"), [(MAX_DOTS, 500_000), (10_000, 100_000)])
def test_the_page_of_ten_thousand_long_texts_is_under_three_megabytes(
    tmp_path: Path, points: int, smallest: int
) -> None:
    labels = tuple(f"class {number}" for number in range(20))
    inputs = report_inputs(250, labels)
    served = inputs.evaluation
    rng = np.random.default_rng(0)
    many = Evaluation(
        served.manifest,
        [f"a/long/path/to/some/file-{row}.csv:{row}" for row in range(10_000)],
        ["\u6f22\u5b57 & <" * 120] * 10_000,
        np.tile(served.truth, 40),
        np.tile(served.probabilities, (40, 1)),
        served.insight.model_copy(
            update={"map": [MapPoint(row=row, x=float(rng.normal()), y=float(rng.normal())) for row in range(points)]}
        ),
    )
    write_report(tmp_path / "report.html", replace(inputs, evaluation=many))
    assert smallest < (tmp_path / "report.html").stat().st_size < 3_000_000
