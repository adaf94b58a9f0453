"""Insight: explained errors, top words and the map of embeddings, the file ``insight.json`` of an evaluation."""

from pydantic import Field

from textgate.components.contracts.frozen_model import FrozenModel


class WordContribution(FrozenModel):
    """Contribution of a span of words to a prediction."""

    start: int
    """Offset of the first character, in code points."""
    end: int
    """Offset behind the last character, in code points."""
    contribution: float
    """Contribution as in ``textgate.components.inference.explain``; positive values support the label."""


class ExplainedError(FrozenModel):
    """Wrong prediction with its explanation."""

    row: int
    """Index of the row in the predictions."""
    contributions: list[WordContribution]
    """Contributions to the predicted label."""


class TopWord(FrozenModel):
    """Word with a large mean contribution to a class."""

    word: str
    """The word."""
    contribution: float
    """Mean contribution over the texts that contain the word."""
    texts: int
    """Number of sampled texts that contain the word."""


class MapPoint(FrozenModel):
    """Position of a text on the two-dimensional map of embeddings."""

    row: int
    """Index of the row in the predictions."""
    x: float
    """Horizontal coordinate."""
    y: float
    """Vertical coordinate."""


class Insight(FrozenModel):
    """Content of ``insight.json``; each list is empty if the analysis was turned off."""

    errors: list[ExplainedError] = []
    """Wrong predictions with the highest probability, most confident first."""
    top_words: dict[str, list[TopWord]] = Field(default={}, alias="telling_words")
    """Label name to its top words, by descending contribution."""
    map: list[MapPoint] = []
    """Positions of a sample of the texts on the map of embeddings."""
