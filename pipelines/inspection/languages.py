"""Languages of a sample of texts, told apart by the rule of ``preprocess.language``."""

from collections import Counter
from collections.abc import Sequence

from textgate.components.preprocess.language import language_probabilities, likely_language
from textgate.pipelines.inspection.inspection import Languages
from textgate.pipelines.inspection.row_table import SampledText

MIN_LABEL_TEXTS = 20
"""Texts of a label from which on a share of them is stated."""


def find_languages(sample: Sequence[SampledText]) -> Languages | None:
    """Return the languages of the texts; None without a text.

    The main language is the one with the largest sum of probabilities. A text counts as one of another language only if
    that is clear, because many a short text fits several.
    """
    if not sample:
        return None
    probabilities = [language_probabilities(each.text) for each in sample]
    sums: Counter[str] = Counter()
    for each in probabilities:
        sums.update(each)
    main = max(sorted(sums), key=sums.__getitem__)
    found = [likely_language(each, main) for each in probabilities]
    totals = Counter(each.label for each in sample)
    others = Counter(each.label for each, language in zip(sample, found, strict=True) if language != main)
    return Languages(
        main=main,
        shares={language: count / len(found) for language, count in Counter(found).most_common()},
        other_by_label={
            label: others[label] / total for label, total in sorted(totals.items()) if total >= MIN_LABEL_TEXTS
        },
    )
