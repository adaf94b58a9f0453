"""Figures of the report: charts of an evaluation, its data and the training, each with a description."""

from collections.abc import Mapping, Sequence

import numpy as np
from markupsafe import Markup

from textgate.components.contracts import Candidate, Evaluation
from textgate.components.contracts.dataset import DatasetManifest
from textgate.components.contracts.evaluation import EvaluationManifest
from textgate.components.contracts.formatting import interval, percent, signed, signed_interval
from textgate.components.metrics import precision_recall_points, reliability, roc_points
from textgate.components.report.charts import BarGroup, Line, bar_chart, histogram, interval_chart, line_chart
from textgate.components.report.svg import SERIES, Axis, Caption

_MAX_ROWS = 20
"""Rows of a chart; the table next to it has all of them."""


def curves(evaluation: Evaluation) -> list[Markup]:
    """Return the ROC and the precision-recall curve: of the last of two labels, else of each label against the rest."""
    labels, truth = evaluation.manifest.labels, evaluation.truth
    support = np.bincount(truth, minlength=len(labels))
    drawable = [index for index in np.argsort(-support, kind="stable") if 0 < support[index] < len(truth)]
    drawn = sorted(drawable[:SERIES]) if len(labels) > 2 else [index for index in drawable if index == 1]
    if not drawn:
        return []
    roc, precision_recall = [], []
    for index in drawn:
        scores, positive = evaluation.probabilities[:, index], (truth == index).astype(np.int64)
        false_positive_rate, true_positive_rate, _ = roc_points(positive, scores)
        recall, precision, _ = precision_recall_points(positive, scores)
        roc.append(Line(labels[index], list(zip(false_positive_rate, true_positive_rate, strict=True))))
        precision_recall.append(Line(labels[index], list(zip(recall, precision, strict=True))))
    label = f"“{roc[0].name}”" if len(roc) == 1 else "a class"
    largest = f" Only the {SERIES} largest classes are drawn." if len(drawable) > SERIES else ""
    recall_at_5 = _range([_interpolate(line, 0.05) for line in roc])
    precision_at_80 = _range([_interpolate(line, 0.8) for line in precision_recall])
    return [
        line_chart(
            Caption(
                "roc",
                "ROC curve",
                f"At a false positive rate of 5 %, the recall of {label} is {recall_at_5}.{largest}",
            ),
            roc,
            Axis("false positive rate", 0, 1),
            Axis("true positive rate (recall)", 0, 1),
            diagonal=True,
        ),
        line_chart(
            Caption(
                "precision-recall",
                "Precision-recall curve",
                f"At a recall of 80 %, the precision of {label} is {precision_at_80}.{largest}",
            ),
            precision_recall,
            Axis("recall", 0, 1),
            Axis("precision", 0, 1),
        ),
    ]


def _interpolate(line: Line, x: float) -> float:
    """Return the height of a line at ``x``."""
    xs, ys = np.array(line.points).T
    return float(np.interp(x, xs, ys))


def _range(values: Sequence[float]) -> str:
    return percent(values[0]) if len(values) == 1 else f"{percent(min(values))} to {percent(max(values))}"


def calibration(evaluation: Evaluation) -> list[Markup]:
    """Return the reliability diagram and the histogram of the confidence."""
    bins = reliability(evaluation.truth, evaluation.probabilities)
    mean_confidence, correct, rows = max(bins, key=lambda each: each[2])
    minimum = 1 / len(evaluation.manifest.labels)
    confidence = np.maximum(evaluation.probabilities.max(axis=1), minimum)
    counts, edges = np.histogram(confidence, bins=20, range=(minimum, 1))
    return [
        line_chart(
            Caption(
                "reliability",
                "Reliability diagram",
                f"Of the {rows:,} predictions with a probability near {percent(mean_confidence)}, {percent(correct)} "
                "are correct. On the dashed line, both are equal.",
            ),
            [Line("predictions", [(each, share) for each, share, _ in bins], dots=True)],
            Axis("probability of the prediction", 0, 1),
            Axis("share of correct predictions", 0, 1),
            diagonal=True,
        ),
        histogram(
            Caption(
                "confidence",
                "Confidence of the predictions",
                f"Half of the predictions have a probability above {percent(float(np.median(confidence)))}.",
            ),
            edges.tolist(),
            counts.tolist(),
            "probability of the prediction",
            "texts",
        ),
    ]


def dataset_figures(evaluation: Evaluation, dataset: DatasetManifest) -> list[Markup]:
    """Return the class distribution of the splits and the histogram of the text lengths."""
    return [_class_distribution(dataset), _text_lengths(evaluation.texts)]


def _class_distribution(dataset: DatasetManifest) -> Markup:
    totals = {split: max(sum(counts.values()), 1) for split, counts in dataset.counts.items()}
    sizes = {label: sum(counts.get(label, 0) for counts in dataset.counts.values()) for label in dataset.labels}
    shown = sorted(dataset.labels, key=lambda label: -sizes[label])[:_MAX_ROWS]
    highest = max((counts.get(label, 0) / totals[split] for split, counts in dataset.counts.items() for label in shown))
    groups = []
    for label in shown:
        rows = [(counts.get(label, 0), totals[split]) for split, counts in dataset.counts.items()]
        bars = [(count / total / (highest or 1), f"{count:,} ({percent(count / total)})") for count, total in rows]
        groups.append(BarGroup(label, bars))
    largest, smallest = shown[0], min(sizes, key=lambda label: sizes[label])
    more = f" Only the {_MAX_ROWS} largest of {len(sizes)} classes are drawn." if len(sizes) > _MAX_ROWS else ""
    text = (
        f"Rows and share of the split. The largest class, {largest}, has {sizes[largest]:,} rows; the smallest, "
        f"{smallest}, has {sizes[smallest]:,}.{more}"
    )
    return bar_chart(Caption("classes", "Class distribution", text), groups, list(dataset.counts))


def _text_lengths(texts: Sequence[str]) -> Markup:
    words = np.array([len(text.split()) for text in texts])
    end = max(int(np.percentile(words, 99)), 10)
    width = max(1, -(-end // 30))
    edges = list(range(0, end + width, width))
    counts, _ = np.histogram(np.minimum(words, edges[-1]), bins=edges)
    longer = " The last bar includes all longer texts." if words.max() > edges[-1] else ""
    text = f"Half of the texts have at most {np.median(words):,.0f} words; the longest has {words.max():,}.{longer}"
    return histogram(Caption("lengths", "Length of the test texts", text), edges, counts.tolist(), "words", "texts")


def slices(evaluation: EvaluationManifest) -> list[Markup]:
    """Return the accuracy of each slice against that of all rows."""
    if not evaluation.slices:
        return []
    worst = min(evaluation.slices, key=lambda each: each.accuracy.value)
    text = (
        f"The lowest accuracy is {worst.accuracy.value:.4f} ({interval(worst.accuracy)}), where {worst.column} is "
        f"{worst.value}. The dashed line is the accuracy on all rows."
    )
    rows = [
        (each.value if each.column == "length" else f"{each.column} {each.value}", each.accuracy)
        for each in evaluation.slices[:_MAX_ROWS]
    ]
    caption = Caption("slices-plot", "Accuracy by slice", text)
    return [interval_chart(caption, rows, "accuracy", evaluation.accuracy.value)]


def robustness(evaluation: EvaluationManifest) -> list[Markup]:
    """Return the change of F1 by each perturbation."""
    if not evaluation.robustness:
        return []
    worst = min(evaluation.robustness, key=lambda result: result.f1_difference.value)
    text = (
        f"The worst is {worst.perturbation} with {signed(worst.f1_difference.value)} "
        f"({signed_interval(worst.f1_difference)})."
    )
    rows = [(result.perturbation, result.f1_difference) for result in evaluation.robustness]
    return [interval_chart(Caption("robustness-plot", "Change of F1 by perturbation", text), rows, "change of F1", 0)]


def training(history: Sequence[Mapping[str, float]]) -> list[Markup]:
    """Return the training loss and the validation F1 by epoch, where the history has them."""
    figures = []
    for key, title in (("loss", "Training loss"), ("validation_f1", "F1 on the validation split")):
        points = [(entry["epoch"], entry[key]) for entry in history if key in entry and np.isfinite(entry[key])]
        if len(points) > 1:
            (first, start), (last, end) = points[0], points[-1]
            text = f"{start:.4f} at epoch {first:g}, {end:.4f} at epoch {last:g}."
            figures.append(
                line_chart(
                    Caption(f"training-{key.replace('_', '-')}", title, text),
                    [Line(title, points, dots=len(points) <= 30)],
                    Axis("epoch", 0, last * 1.03),
                    Axis.fit(title.lower().replace("f1", "F1"), [value for _, value in points]),
                )
            )
    return figures


def sweep(candidates: Sequence[Candidate]) -> list[Markup]:
    """Return the validation score by the swept setting, if it is a single number.

    If the setting is the share of the training texts, the chart is a learning curve.
    """
    keys = {key for candidate in candidates for key in candidate.settings}
    values = [next(iter(candidate.settings.values())) for candidate in candidates] if len(keys) == 1 else []
    if len(values) < 2 or not all(isinstance(value, int | float) and not isinstance(value, bool) for value in values):
        return []
    key = keys.pop()
    points = sorted(zip(map(float, values), (candidate.score for candidate in candidates), strict=True))
    (lowest, first_score), (highest, last_score) = points[0], points[-1]
    log = lowest > 0 and highest / lowest > 20
    title = candidates[0].title
    score = title[0].upper() + title[1:]
    if key == "preprocess.train_share":
        ends = (
            f"{first_score:.4f} with {percent(lowest)} of the training texts, {last_score:.4f} with {percent(highest)}"
        )
        caption, x_label = (
            Caption("learning-curve", "Learning curve", f"{score}: {ends}."),
            "share of the training texts",
        )
    else:
        ends = f"{first_score:.4f} at {lowest:g}, {last_score:.4f} at {highest:g}"
        caption, x_label = Caption("sweep-plot", f"{score} by {key}", f"{score}: {ends}."), key
    return [
        line_chart(
            caption,
            [Line(score, points, dots=True)],
            Axis.fit(x_label, [value for value, _ in points], log=log),
            Axis.fit(score, [value for _, value in points]),
        )
    ]
