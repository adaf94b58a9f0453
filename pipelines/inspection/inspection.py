"""Immutable results of ``textgate inspect``, as its ``--json`` prints them."""

from typing import Literal

from textgate.components.contracts.frozen_model import FrozenModel
from textgate.pipelines.inspection.columns import ColumnGuess

Weight = Literal["high", "medium", "low"]


class Finding(FrozenModel):
    """Sentence about something suspicious."""

    weight: Weight
    message: str
    keys: list[str] = []
    """Recipe keys that deal with it."""


class LabelStatistics(FrozenModel):
    """Rows of one label."""

    label: str
    rows: int
    share: float
    """Share of the usable rows."""
    rejected: int
    """Rows with this label that cannot be used."""
    median_words: float


class Quantiles(FrozenModel):
    """Distribution of the lengths of the texts, and the shares of longer texts."""

    median: float
    p90: float
    p99: float
    longest: int
    over: dict[int, float]
    """Length to share of the texts that are longer."""


class Lengths(FrozenModel):
    """Lengths of the texts."""

    characters: Quantiles
    words: Quantiles
    tokens: Quantiles
    """Of the sampled texts."""
    tokenizer: str | None
    """Tokenizer that counted the tokens; None if words, punctuation marks and CJK characters were counted instead."""
    histogram: list[int]
    """Number of texts by words, in bins of ``bin_words`` words; the last one has all longer texts."""
    bin_words: int


class Languages(FrozenModel):
    """Languages of the sampled texts, as ISO 639 codes; see ``preprocess.language``."""

    main: str
    shares: dict[str, float]
    """Language to share of the sampled texts, largest first."""
    other_by_label: dict[str, float]
    """Label to share of its sampled texts in another language than ``main``; of labels with at least 20 such texts."""


class ExampleRow(FrozenModel):
    """Row of an example."""

    id: str
    """Place of the row, as ``file:row``."""
    label: str
    split: str


class TextExample(FrozenModel):
    """Text that several rows have, with some of the rows."""

    text: str
    """Beginning of the first row's text, with personal data masked."""
    rows: int
    shown: list[ExampleRow]


class DuplicateStatistics(FrozenModel):
    """Rows that repeat other rows."""

    exact: int
    """Rows whose cleaned text stands in an earlier row."""
    copies: int
    """Further rows that differ from an earlier one only in case, punctuation, width, markup, addresses or mentions."""
    conflicting_texts: int
    """Texts whose rows, copies included, have different labels."""
    conflicting_rows: int
    near_compared: int
    """Different texts that were compared by MinHash."""
    near_texts: int
    """Texts among them that are near duplicates of another one."""
    near_conflicting: int
    """Texts among them in groups with different labels."""
    similarity: float
    """Smallest Jaccard similarity of near duplicates."""
    exact_examples: list[TextExample]
    conflict_examples: list[TextExample]
    near_examples: list[TextExample]


class SplitStatistics(FrozenModel):
    """Rows of one given split."""

    name: str
    role: Literal["train", "validation", "test"] | None
    rows: int
    labels: dict[str, int]


class SplitLeak(FrozenModel):
    """Texts of one given split that are in another one, too."""

    first: str
    second: str
    rows: int
    """Rows of the second split."""
    exact: int
    """Rows of the second split whose cleaned text is in the first."""
    exact_contradicting: int
    """Rows among them that no row of the same text in the first split has the label of."""
    copies: int
    """Rows of the second split with a copy in the first: those above, and those that differ in case, punctuation …"""
    copies_contradicting: int
    examples: list[TextExample]


class PersonalData(FrozenModel):
    """Personal data of one kind; the values are not kept."""

    kind: str
    rows: int
    values: int
    share: float
    """Share of the usable rows."""
    masked: list[str]
    """Form of the first values, with every letter as x and every digit as 0."""


class MarkStatistics(FrozenModel):
    """Rows with markup, web addresses and the like."""

    name: str
    rows: int
    share: float
    by_label: dict[str, float]
    """Label to share of its rows; of labels with at least 20 rows."""


class Inspection(FrozenModel):
    """Profile of a data source."""

    source: str
    format: str
    notes: list[str]
    """Sentences of the readers, such as what they guessed."""
    text: list[str]
    label: str
    split: str | None
    columns: list[ColumnGuess]
    rows: int
    """Rows that were read."""
    complete: bool
    """Whether all rows were read; else only the first ones."""
    usable: int
    rejected: dict[str, int]
    """Reason to number of rows that cannot be used."""
    labels: list[LabelStatistics]
    """Largest first."""
    spellings: list[list[str]]
    """Labels that may be one class."""
    missing_markers: list[str]
    """Labels that look like a missing value."""
    lengths: Lengths | None
    """None without a usable row."""
    sampled: int
    """Different texts on which tokens and languages rest."""
    languages: Languages | None
    duplicates: DuplicateStatistics
    splits: list[SplitStatistics]
    """Given splits; empty if no name says that it is for training or testing."""
    leaks: list[SplitLeak]
    marks: list[MarkStatistics]
    personal_data: list[PersonalData]
    findings: list[Finding]
    """Heaviest first."""
    seconds: float
