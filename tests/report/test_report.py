"""The page of a run: what stands on it, what does not, and that nothing in it comes from elsewhere or runs."""

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
from report.made import MARKUP, decision, evaluation, whole_run

from textgate.components.contracts import Candidate, Evaluation, Insight
from textgate.components.contracts.evaluation import ExplainedError, MapPoint, WordContribution
from textgate.components.metrics import METRICS
from textgate.components.report.report import _spans, write_report

PARTS = [
    *("metrics", "confusion", "curves", "calibration", "slices", "robustness", "domains", "data", "map", "training"),
    *("errors", "words", "serving", "cost", "lineage"),
]
PLOTS = [
    *("roc", "precision-recall", "reliability", "confidence", "slices-plot", "robustness-plot", "classes", "lengths"),
    *("map-classes", "map-errors", "training-loss", "training-validation-f1", "learning-curve"),
]


class Page(HTMLParser):
    """What a browser would read of a page."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.source = path.read_text("utf-8")
        self.tags: list[str] = []
        self.attributes: list[tuple[str, str, str]] = []
        self.words = ""
        self.feed(self.source)
        self.words = " ".join(self.words.split())

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += [(tag, name, value or "") for name, value in attrs]

    def handle_data(self, data: str) -> None:
        if self.tags[-1:] not in (["style"], ["title"]):
            self.words += data

    def named(self, attribute: str, *tags: str) -> list[str]:
        return [value for tag, name, value in self.attributes if name == attribute and (not tags or tag in tags)]

    @property
    def drawings(self) -> Iterator[ElementTree.Element]:
        """Of well-formed XML, or this raises."""
        for drawing in re.findall(r"<svg.*?</svg>", self.source, re.DOTALL):
            yield ElementTree.fromstring(drawing)


@pytest.fixture(scope="module")
def run() -> dict[str, Any]:
    return whole_run()


@pytest.fixture(scope="module")
def page(run: dict[str, Any], tmp_path_factory: pytest.TempPathFactory) -> Page:
    return written(run, tmp_path_factory.mktemp("report"))


def written(run: dict[str, Any], folder: Path) -> Page:
    write_report(folder / "report.html", **run)
    return Page(folder / "report.html")


def numbers_in(drawing: ElementTree.Element) -> list[float]:
    """Every coordinate."""
    places = {"x", "y", "x1", "x2", "y1", "y2", "cx", "cy", "r", "width", "height", "d", "viewBox"}
    found = [value for part in drawing.iter() for name, value in part.attrib.items() if name in places]
    return [float(number) for value in found for number in re.findall(r"-?(?:\d+\.?\d*|\.\d+|nan|inf)", value)]


def test_the_decision_comes_first_and_every_part_is_there_with_its_link(page: Page) -> None:
    assert page.named("id", "h2") == PARTS
    assert page.named("href") == [f"#{part}" for part in PARTS]
    assert page.named("id", "figure") == PLOTS
    assert len(set(page.named("id"))) == len(page.named("id"))
    assert page.tags.index("h1") < page.tags.index("h2")
    body = page.words
    assert body.startswith(
        "Promote quickstart for reviews: gate 2, on the served model, against champion v-2026-11-20-1."
    )
    order = [body.index(words) for words in ("Holds: the served model has F1", "F1 of positive", "Metrics Classes")]
    assert order == sorted(order)


def test_a_rejection_names_the_rule_that_fails(run: dict[str, Any], tmp_path: Path) -> None:
    page = written(run | {"decision": decision(run["judged"].manifest.f1, passed=False)}, tmp_path)
    assert page.words.startswith("Reject quickstart")
    assert "Fails: the served model has F1" in page.words
    assert "Holds: the F1 differs from champion v1" in page.words


def test_every_number_that_was_found_stands_in_a_table(run: dict[str, Any], page: Page) -> None:
    judged, body = run["judged"].manifest, page.words
    for name, found in judged.metrics.items():
        before = run["trained"].manifest.metrics[name]
        assert f"{METRICS[name]}{found.value:.4f}{found.low:.4f} to {found.high:.4f}{before.value:.4f}" in body
    for label, scores in judged.per_class.items():
        assert f"{label}{scores.rows}{scores.precision.value:.4f}{scores.precision.low:.4f} to" in body
    for row in judged.confusion:
        for count in row:
            assert (
                f"<strong>{count}</strong><small>{100 * count / sum(row):.1f}\N{NO-BREAK SPACE}%</small>" in page.source
            )
    for words in (
        "homoglyphs50015.7 %",
        "less that on the shortest is +0.0540 (+0.0120 to +0.0970), more than chance makes",
        "8,535 rows in = 8,403 kept + 132 rejected; the row filter left out 25,000 more",
        "duplicate120",
        "preprocess.train_share=1.0 0.9100chosen",
        "onnx-int823.0 MB34469.0 MB",
        "onnx-int4 is refused: it answers 93.0 % of the texts as the trained model does.",
        "changed the answers to 0.15 % of the test texts and the logits by 0.0100 on average",
        "Peak memory of training2,310 MB",
        "1285.82",
        "transformers5.23.0",
        f"Bundle{'a' * 64}",
        "min_f1: 0.85",
    ):
        assert words in body, words


def test_what_is_not_known_has_no_place(run: dict[str, Any], tmp_path: Path) -> None:
    asked = {key: run[key] for key in ("decision", "recipe", "dataset")}
    page = written({**asked, "judged": evaluation(60, bare=True)}, tmp_path)
    known = ["metrics", "confusion", "curves", "calibration", "data", "errors", "lineage"]
    assert page.named("id", "h2") == known
    assert page.named("href") == [f"#{part}" for part in known]
    assert "mark" not in page.tags
    assert "Before export" not in page.words
    assert "Answered" in page.words
    assert "Merging" not in page.words


def test_the_map_and_the_course_of_training_come_from_the_trained_model_where_the_served_has_none(
    run: dict[str, Any], tmp_path: Path
) -> None:
    page = written(run | {"judged": evaluation(600, bare=True)}, tmp_path)
    assert {"map", "training", "cost"} < set(page.named("id", "h2"))
    assert "Training12m34s" in page.words


def test_markup_from_the_data_is_shown_and_is_none(page: Page) -> None:
    assert MARKUP in page.words
    assert "<img src=x" not in page.source
    assert {"script", "img", "iframe", "link", "object"}.isdisjoint(page.tags)
    assert not [name for _, name, _ in page.attributes if name.startswith("on")]


def test_nothing_is_loaded_from_elsewhere(page: Page) -> None:
    loading = {"src", "srcset", "href", "xlink:href", "action", "data", "poster", "background"}
    assert all(value.startswith("#") for _, name, value in page.attributes if name in loading)
    style = page.source[page.source.index("<style>") : page.source.index("</style>")]
    assert "url(" not in style
    assert "@import" not in style
    assert "default-src 'none'" in page.source


def test_drawings_are_well_formed_and_have_finite_numbers_only(page: Page) -> None:
    drawings = list(page.drawings)
    assert len(drawings) > len(PLOTS)
    for drawing in drawings:
        assert all(map(math.isfinite, numbers_in(drawing)))
        assert drawing.get("aria-hidden") == "true" or drawing.get("role") == "img"
    described = [*page.named("aria-labelledby"), *page.named("aria-describedby")]
    assert set(described) <= set(page.named("id"))


@pytest.mark.parametrize(
    "change",
    [
        {"probabilities": np.tile([1.0, 0.0], (60, 1))},
        {"truth": np.zeros(60, dtype=np.int64)},
        {"texts": [""] * 60},
        {"insight": Insight(map=[MapPoint(row=0, x=1.0, y=1.0)])},
    ],
    ids=["one answer", "one class", "no words", "one point"],
)
def test_extremes_are_drawn_too(run: dict[str, Any], tmp_path: Path, change: dict[str, Any]) -> None:
    judged = replace(evaluation(60, bare=True), **change)
    history = [{"epoch": 1.0, "loss": math.nan}, {"epoch": 2.0, "loss": 0.5}, {"epoch": 3.0, "loss": 0.5}]
    judged = replace(judged, manifest=judged.manifest.model_copy(update={"history": history}))
    page = written(run | {"judged": judged, "trained": None}, tmp_path)
    assert "training-loss" in page.named("id")
    assert all(math.isfinite(number) for drawing in page.drawings for number in numbers_in(drawing))


def test_of_many_classes_the_commonest_errors_are_listed_in_place_of_a_matrix(
    tmp_path: Path,
) -> None:
    labels = tuple(f"topic {number}" for number in range(25))
    page = written(whole_run(100, labels, sweep=[]), tmp_path)
    assert "matrix" not in page.named("class", "table")
    assert "Commonest errors" in page.named("aria-label")
    roc = next(drawing for drawing in page.drawings if drawing.get("aria-labelledby") == "roc-title")
    assert len([part for part in roc.iter("path") if "line" in part.get("class", "")]) == 10
    assert "F1, precision and recall are means over the 25 classes" in page.words


def test_a_sweep_of_several_settings_is_a_table_only(run: dict[str, Any], tmp_path: Path) -> None:
    tried = [
        Candidate(settings={"train.C": c, "preprocess.seed": 1}, validation_f1=0.8, chosen=c == 1.0)
        for c in (1.0, 10.0)
    ]
    page = written(run | {"sweep": tried}, tmp_path)
    assert not {"sweep-plot", "learning-curve"} & set(page.named("id"))
    assert "train.C=10.0 preprocess.seed=1" in page.words


def test_words_are_marked_by_what_they_do_for_the_answer(run: dict[str, Any], tmp_path: Path) -> None:
    judged: Evaluation = run["judged"]
    wrong = int(np.flatnonzero(judged.predicted != judged.truth)[0])
    texts = list(judged.texts)
    texts[wrong] = "not a good film & <b>long</b>"
    words = [("not", 0, 3, -1.5), ("good", 6, 10, 3.0), ("film", 11, 15, 0.1)]
    spans = [WordContribution(start=start, end=end, contribution=does) for _, start, end, does in words]
    insight = Insight(errors=[ExplainedError(row=wrong, contributions=spans)])
    page = written(run | {"judged": replace(judged, texts=texts, insight=insight)}, tmp_path)
    shown = re.search(r'<p class="text">(.*?)</p>', page.source, re.DOTALL)
    assert shown
    assert shown[1] == (
        '<mark class="against" style="--strength:0.50">not</mark> a <mark class="for" style="--strength:1.00">'
        "good</mark> film &amp; &lt;b&gt;long&lt;/b&gt;"
    )
    assert "most first: “good” +3.00, “not” −1.50, “film” +0.10." in page.words


@settings(deadline=None, max_examples=50)
@given(st.text(max_size=900), st.lists(st.tuples(st.integers(0, 900), st.integers(1, 30), st.floats(-5, 5))))
def test_marking_words_changes_no_text(text: str, found: list[tuple[int, int, float]]) -> None:
    contributions = [
        WordContribution(start=start, end=start + length, contribution=does)
        for start, length, does in found
        if start + length <= len(text)
    ]
    shown = "".join(span.words for span in _spans(text, contributions))
    assert shown == (text if len(text) <= 600 else text[:600] + "…")


def test_the_page_of_ten_thousand_long_texts_is_under_three_megabytes(tmp_path: Path) -> None:
    labels = tuple(f"class {number}" for number in range(20))
    run = whole_run(250, labels)
    judged: Evaluation = run["judged"]
    rng = np.random.default_rng(0)
    many = Evaluation(
        judged.manifest,
        [f"a/long/path/to/some/file-{row}.csv:{row}" for row in range(10_000)],
        ["\u6f22\u5b57 & <" * 120] * 10_000,
        np.tile(judged.truth, 40),
        np.tile(judged.probabilities, (40, 1)),
        judged.insight.model_copy(
            update={"map": [MapPoint(row=row, x=float(rng.normal()), y=float(rng.normal())) for row in range(10_000)]}
        ),
    )
    write_report(tmp_path / "report.html", **run | {"judged": many})
    assert 500_000 < (tmp_path / "report.html").stat().st_size < 3_000_000
