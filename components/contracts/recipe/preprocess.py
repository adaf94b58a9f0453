"""The recipe's section ``preprocess``: cleaning of the texts and split into train, validation and test."""

import re

from pydantic import Field, field_validator, model_validator

from textgate.components.contracts.normalizer import TextNormalizer
from textgate.components.contracts.recipe.section import RecipeSection


class Preprocess(RecipeSection):
    """Cleaning and split of the data set."""

    normalizer: TextNormalizer = TextNormalizer()
    """Text cleaning. The bundle carries these settings, so that the server cleans a request in the same way."""
    validation: float = Field(default=0.1, gt=0, lt=1)
    """Probability of a text to be in the validation split, on which everything is selected: checkpoint, calibration,
    threshold."""
    test: float = Field(default=0.15, gt=0, lt=1)
    """Probability of a text to be in the test split, on which the gates judge; unused if the source has its own test
    split. A hash of the text decides, so a text stays in its split when the data or the cleaning changes."""
    test_latest_by: str | None = None
    """Column of ``source.metadata`` with the time of each text: ISO 8601, or numbers such as seconds since 1970. The
    test split is then the latest texts, as many as the share ``test``, without copies of earlier ones, and shows how
    the model does on texts that are written after its training. By default the hash decides."""
    near_duplicates: float | None = Field(default=0.65, ge=0.6, le=1)
    """Share of common shingles of three characters (Jaccard index) from which on two texts are near duplicates, which
    stay in one split and are rejected if a split that the source gives has the other one. ``null`` turns it off; copies
    that differ in case or punctuation only stay in one split then, too."""
    group: str | None = None
    """Column of ``source.metadata``, such as an author, whose texts stay in one split. A hash of the value decides
    which; rows without a value are in no group."""
    language: str | None = None
    """Language to keep as a two-letter ISO 639-1 code, detected by py3langid; other texts are rejected. By default
    every language is kept."""
    balance: bool = False
    """Downsample every class of the training split to the size of the smallest one. Validation and test split keep the
    natural prevalence, on which every score and threshold rests."""
    positive: str | None = None
    """Positive class of a task with two labels, which F1, precision, recall and decision thresholds are about. By
    default it is the last label of ``source.labels``, or of the alphabet."""
    train_share: float = Field(default=1, gt=0, le=1)
    """Share of each class's training texts to use. A smaller share is a subset of a larger one, so a sweep over this
    key gives a learning curve."""
    seed: int = 13
    """Seed of the split and of the sampling. Another seed puts other texts into the test split: a champion is then only
    compared on those that it was not trained on."""

    @field_validator("language")
    @classmethod
    def _two_letters(cls, value: str | None) -> str | None:
        if value is not None and not re.fullmatch(r"[a-z]{2}", value):
            raise ValueError("a language is its two letters in ISO 639-1, such as en")
        return value

    @model_validator(mode="after")
    def _leaves_training_texts(self) -> "Preprocess":
        if self.validation + self.test >= 1:
            raise ValueError(f"validation ({self.validation}) + test ({self.test}) must leave texts to train on")
        return self
