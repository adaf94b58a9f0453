"""What of an evaluation is drawn, and the sentences that say what is seen there."""

from collections.abc import Mapping, Sequence

import numpy as np
from markupsafe import Markup

from textgate.components.contracts import Candidate, Evaluation
from textgate.components.contracts.dataset import DatasetManifest
from textgate.components.contracts.evaluation import EvaluationManifest, MapPoint
from textgate.components.metrics import precision_recall_points, reliability, roc_points
from textgate.components.report.charts import Dot, Line, bars, cloud, cut, histogram, intervals, line_chart
from textgate.components.report.page import interval, percent, signed
from textgate.components.report.svg import SERIES, Axis

_ROWS = 20
"""Of a chart with a row each, at most; a table has them all."""
_HOVER_CHARACTERS = 120
_MAP_POINTS = 2_000
_NEIGHBOURS = 10
_UNIT = Axis("", 0, 1)


def curves(evaluation: Evaluation) -> list[Markup]:
    """ROC and precision-recall curve: of the last label of two, of each against the rest where there are more."""
    labels, truth = evaluation.manifest.labels, evaluation.truth
    rows = np.bincount(truth, minlength=len(labels))
    drawable = [number for number in np.argsort(-rows, kind="stable") if 0 < rows[number] < len(truth)]
    drawn = sorted(drawable[:SERIES]) if len(labels) > 2 else [number for number in drawable if number == 1]
    if not drawn:
        return []
    roc, recall = [], []
    for number in drawn:
        scores, mine = evaluation.probabilities[:, number], (truth == number).astype(np.int64)
        false_rate, true_rate, _ = roc_points(mine, scores)
        found, precision, _ = precision_recall_points(mine, scores)
        roc.append(Line(labels[number], list(zip(false_rate, true_rate, strict=True))))
        recall.append(Line(labels[number], list(zip(found, precision, strict=True))))
    few = f" The {SERIES} largest classes are drawn." if len(drawable) > SERIES else ""
    at_5, at_80 = [_height(line, 0.05) for line in roc], [_height(line, 0.8) for line in recall]
    return [
        line_chart(
            "roc",
            "ROC curve",
            f"When 5 % of the other texts are mistaken for {_each(roc)}, {_range(at_5)} of its own are found.{few}",
            roc,
            Axis("share of the others mistaken for it (false positive rate)", 0, 1),
            Axis("share found (true positive rate)", 0, 1),
            diagonal=True,
        ),
        line_chart(
            "precision-recall",
            "Precision-recall curve",
            f"When 80 % of {_each(roc)} are to be found, {_range(at_80)} of the answers are right.{few}",
            recall,
            Axis("share found (recall)", 0, 1),
            Axis("share of its answers that are right (precision)", 0, 1),
        ),
    ]


def _height(line: Line, place: float) -> float:
    x, y = np.array(line.points).T
    return float(np.interp(place, x, y))


def _each(lines: Sequence[Line]) -> str:
    return lines[0].name if len(lines) == 1 else "a class"


def _range(values: Sequence[float]) -> str:
    return percent(values[0]) if len(values) == 1 else f"{percent(min(values))} to {percent(max(values))}"


def calibration(evaluation: Evaluation) -> list[Markup]:
    """Reliability curve, and how sure the answers are."""
    bins = reliability(evaluation.truth, evaluation.probabilities)
    confidence, right, rows = max(bins, key=lambda found: found[2])
    least = 1 / len(evaluation.manifest.labels)
    sure = np.maximum(evaluation.probabilities.max(axis=1), least)
    counts, edges = np.histogram(sure, bins=20, range=(least, 1))
    return [
        line_chart(
            "reliability",
            "Reliability curve",
            f"Of the {rows:,} answers given with a probability near {percent(confidence)}, {percent(right)} are right. "
            "On the dashed line, a probability says exactly how often an answer is right.",
            [Line("answers", [(given, reached) for given, reached, _ in bins], dots=True)],
            Axis("probability of the answer", 0, 1),
            Axis("share of right answers", 0, 1),
            diagonal=True,
        ),
        histogram(
            "confidence",
            "How sure the answers are",
            f"Half of the answers are given with a probability above {percent(float(np.median(sure)))}.",
            edges.tolist(),
            counts.tolist(),
            "probability of the answer",
            "texts",
        ),
    ]


def texts(evaluation: Evaluation, dataset: DatasetManifest) -> list[Markup]:
    """Rows of each class and split, and the lengths of the texts that were judged."""
    totals = {split: max(sum(counts.values()), 1) for split, counts in dataset.counts.items()}
    sizes = {label: sum(counts.get(label, 0) for counts in dataset.counts.values()) for label in dataset.labels}
    shown = sorted(dataset.labels, key=lambda label: -sizes[label])[:_ROWS]
    highest = max((counts.get(label, 0) / totals[split] for split, counts in dataset.counts.items() for label in shown))
    rows = []
    for label in shown:
        parts = [(counts.get(label, 0), totals[split]) for split, counts in dataset.counts.items()]
        lengths = [(count / total / (highest or 1), f"{count:,} ({percent(count / total)})") for count, total in parts]
        rows.append((label, lengths))
    first, last = shown[0], min(sizes, key=lambda label: sizes[label])
    more = f" The {_ROWS} largest of {len(sizes)} are drawn." if len(sizes) > _ROWS else ""
    words = np.array([len(text.split()) for text in evaluation.texts])
    end = max(int(np.percentile(words, 99)), 10)
    width = max(1, -(-end // 30))
    edges = list(range(0, end + width, width))
    beyond = " All that are longer than is shown stand in the last column." if words.max() > edges[-1] else ""
    counts, _ = np.histogram(np.minimum(words, edges[-1]), bins=edges)
    return [
        bars(
            "classes",
            "Rows of each class",
            f"As shares of each split. The largest class, {first}, has {sizes[first]:,} rows, the smallest, {last}, "
            f"{sizes[last]:,}.{more}",
            rows,
            list(dataset.counts),
        ),
        histogram(
            "lengths",
            "Lengths of the judged texts",
            f"Half of the texts have at most {np.median(words):,.0f} words; the longest has {words.max():,}.{beyond}",
            edges,
            counts.tolist(),
            "words",
            "texts",
        ),
    ]


def slices(judged: EvaluationManifest) -> list[Markup]:
    """Accuracy of each slice against that of all rows."""
    if not judged.slices:
        return []
    worst = min(judged.slices, key=lambda part: part.accuracy.value)
    rows = [
        (part.value if part.column == "length" else f"{part.column} {part.value}", part.accuracy)
        for part in judged.slices[:_ROWS]
    ]
    return [
        intervals(
            "slices-plot",
            "Accuracy of each slice",
            f"Lowest where {worst.column} is {worst.value}, {worst.accuracy.value:.4f} ({interval(worst.accuracy)}). "
            "The dashed line is the accuracy on all rows.",
            rows,
            "accuracy",
            judged.accuracy.value,
        )
    ]


def robustness(judged: EvaluationManifest) -> list[Markup]:
    """What each way to write the texts otherwise costs in F1."""
    if not judged.robustness:
        return []
    worst = min(judged.robustness, key=lambda tried: tried.f1_difference.value)
    return [
        intervals(
            "robustness-plot",
            "Change of F1 when texts are written otherwise",
            f"The largest loss is by {worst.perturbation}, {signed(worst.f1_difference.value)} "
            f"({interval(worst.f1_difference)}).",
            [(tried.perturbation, tried.f1_difference) for tried in judged.robustness],
            "difference of F1",
            0,
        )
    ]


def maps(evaluation: Evaluation, points: Sequence[MapPoint]) -> list[Markup]:
    """Where the texts lie, by class and by whether they are answered rightly; their words under the pointer."""
    if not points:
        return []
    labels, truth, predicted = evaluation.manifest.labels, evaluation.truth, evaluation.predicted
    points = points[:_MAP_POINTS]
    common = np.argsort(-np.bincount(truth, minlength=len(labels)), kind="stable")
    named = sorted(int(number) for number in (common if len(labels) <= SERIES else common[: SERIES - 1]))
    series = {number: place for place, number in enumerate(named)}
    by_class, by_error = [], []
    for point in points:
        label, answer = int(truth[point.row]), int(predicted[point.row])
        said = labels[label] if label == answer else f"{labels[label]}, answered {labels[answer]}"
        hover = f"{said}: {cut(' '.join(evaluation.texts[point.row].split()), _HOVER_CHARACTERS)}"
        by_class.append(Dot(point.x, point.y, series.get(label, SERIES - 1), hover))
        by_error.append(Dot(point.x, point.y, 0 if label == answer else 6, hover))
    names = {place: labels[number] for number, place in series.items()}
    wrong = sum(place.series == 6 for place in by_error)
    alike = _alike(np.array([(point.x, point.y) for point in points]), truth[[point.row for point in points]])
    return [
        cloud(
            "map-classes",
            "By class",
            f"{len(points):,} test texts; of the {_NEIGHBOURS} nearest to a text, {percent(alike)} are of its class.",
            by_class,
            names if len(named) == len(labels) else {**names, SERIES - 1: "other classes"},
        ),
        cloud(
            "map-errors",
            "By error",
            f"{wrong:,} of these texts are answered wrongly.",
            by_error,
            {0: "right", 6: "wrong"},
            "plot outcome",
        ),
    ]


def _alike(places: np.ndarray, classes: np.ndarray) -> float:
    """Share of the nearest neighbours of each place (n, 2) that are of its class (n,)."""
    distances = ((places[:, None] - places[None]) ** 2).sum(axis=2)
    np.fill_diagonal(distances, np.inf)
    count = min(_NEIGHBOURS, len(places) - 1)
    nearest = np.argsort(distances, axis=1, kind="stable")[:, :count]
    return float((classes[nearest] == classes[:, None]).mean()) if count else 1.0


def training(history: Sequence[Mapping[str, float]]) -> list[Markup]:
    """What was measured epoch by epoch."""
    drawn = []
    for key, title in (("loss", "Training loss"), ("validation_f1", "F1 on the validation split")):
        points = [(entry["epoch"], entry[key]) for entry in history if key in entry and np.isfinite(entry[key])]
        if len(points) > 1:
            (first, start), (last, end) = points[0], points[-1]
            drawn.append(
                line_chart(
                    f"training-{key.replace('_', '-')}",
                    title,
                    f"{start:.4f} at epoch {first:g}, {end:.4f} at epoch {last:g}.",
                    [Line(title, points, dots=len(points) <= 30)],
                    Axis("epoch", 0, last * 1.03),
                    Axis.over(title.lower().replace("f1", "F1"), [value for _, value in points]),
                )
            )
    return drawn


def sweep(candidates: Sequence[Candidate]) -> list[Markup]:
    """Validation F1 against the one setting that was swept, where it is a number: a learning curve of its share."""
    keys = {key for candidate in candidates for key in candidate.settings}
    values = [next(iter(candidate.settings.values())) for candidate in candidates] if len(keys) == 1 else []
    if len(values) < 2 or not all(isinstance(value, int | float) and not isinstance(value, bool) for value in values):
        return []
    key = keys.pop()
    points = sorted(zip(map(float, values), (candidate.validation_f1 for candidate in candidates), strict=True))
    wide = points[0][0] > 0 and points[-1][0] / points[0][0] > 20
    learning = key == "preprocess.train_share"
    ends = [
        f"{score:.4f} {f'with {percent(value)} of them' if learning else f'at {value:g}'}" for value, score in points
    ]
    return [
        line_chart(
            "learning-curve" if learning else "sweep-plot",
            "Learning curve" if learning else f"Validation F1 by {key}",
            f"{'Trained on fewer of the texts' if learning else 'F1 on the validation split'}: {ends[0]}, {ends[-1]}.",
            [Line("F1 on the validation split", points, dots=True)],
            Axis.over("share of the training texts" if learning else key, [value for value, _ in points], log=wide),
            Axis.over("F1 on the validation split", [value for _, value in points]),
        )
    ]
