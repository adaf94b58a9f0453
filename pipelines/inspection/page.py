"""HTML page of a data source's profile."""

import os
from pathlib import Path

from markupsafe import Markup

from textgate.components.contracts import InputError
from textgate.components.contracts.formatting import percent
from textgate.components.report.charts import BarGroup, bar_chart, histogram, share_bar
from textgate.components.report.page import PageLayout, PageSection, write_page
from textgate.components.report.svg import Caption
from textgate.pipelines.inspection.inspection import Inspection, Lengths

_MAX_BARS = 20
_FOOTNOTE = "Shares of texts are of the usable rows, if nothing else is said."
_SECTIONS = [
    PageSection("columns", "Columns", "profile_columns.html"),
    PageSection("labels", "Classes", "profile_labels.html"),
    PageSection("text-lengths", "Lengths", "profile_lengths.html"),
    PageSection("languages", "Languages", "profile_languages.html"),
    PageSection("repetitions", "Duplicates and conflicts", "profile_repetitions.html"),
    PageSection("splits", "Given splits", "profile_splits.html"),
    PageSection("contents", "Markup and personal data", "profile_contents.html"),
    PageSection("recipe", "Recipe", "profile_recipe.html"),
    PageSection("about", "About this profile", "profile_about.html"),
]


def write_inspection_page(path: Path, inspection: Inspection, recipe_yaml: str | None) -> None:
    """Write the page of a profile; an existing file is replaced.

    Args:
        path: HTML file.
        inspection: The profile.
        recipe_yaml: Recipe to copy; None if the source has no two labels.

    Raises:
        InputError: The file cannot be written.
    """
    absent = {
        "splits": not inspection.splits,
        "languages": inspection.languages is None,
        "text-lengths": inspection.lengths is None,
        "recipe": recipe_yaml is None,
    }
    sections = [section for section in _SECTIONS if not absent.get(section.id)]
    layout = PageLayout(
        f"{os.path.basename(inspection.source.rstrip('/')) or inspection.source}: data profile",
        "profile_summary.html",
        sections,
        package="textgate.pipelines.inspection",
        footnote=_FOOTNOTE,
    )
    try:
        path.parent.resolve(strict=True)  # a mistyped folder is not created
        write_page(
            path,
            layout,
            inspection=inspection,
            recipe_yaml=recipe_yaml,
            label_plots=[_label_chart(inspection)] if inspection.labels else [],
            length_plots=[_length_chart(inspection.lengths)] if inspection.lengths else [],
            share_bar=share_bar,
        )
    except OSError as error:
        raise InputError(f"{path} cannot be written: {error.strerror or error}") from error


def _label_chart(inspection: Inspection) -> Markup:
    shown = inspection.labels[:_MAX_BARS]
    highest = shown[0].rows
    groups = [BarGroup(each.label, [(each.rows / highest, f"{each.rows:,} ({percent(each.share)})")]) for each in shown]
    largest, smallest = inspection.labels[0], inspection.labels[-1]
    more = f" Only the {_MAX_BARS} largest of {len(inspection.labels):,} are drawn." * (
        len(inspection.labels) > _MAX_BARS
    )
    text = (
        f"The largest class, {largest.label}, has {largest.rows:,} rows; the smallest, {smallest.label}, has "
        f"{smallest.rows:,}.{more}"
    )
    return bar_chart(Caption("classes", "Rows of each class", text), groups, ["rows"])


def _length_chart(lengths: Lengths) -> Markup:
    edges = [float(index * lengths.bin_words) for index in range(len(lengths.histogram) + 1)]
    longer = " The last bar includes all longer texts." if lengths.words.longest >= edges[-1] else ""
    text = (
        f"Half of the texts have at most {lengths.words.median:,.0f} words; the longest has "
        f"{lengths.words.longest:,}.{longer}"
    )
    return histogram(Caption("lengths", "Length of the texts", text), edges, lengths.histogram, "words", "texts")
