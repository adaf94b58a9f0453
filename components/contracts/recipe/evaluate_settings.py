"""The recipe's section ``evaluate``: analyses beyond the scores (robustness, explanations, other domains)."""

from typing import Literal, get_args

from pydantic import AliasChoices, Field

from textgate.components.contracts.recipe.section import RecipeSection
from textgate.components.contracts.recipe.source import Source

Perturbation = Literal["typos", "case", "punctuation", "homoglyphs", "synonyms"]
PERTURBATIONS: tuple[Perturbation, ...] = get_args(Perturbation)


class EvaluateSettings(RecipeSection):
    """Analyses for the report. The gate uses those that its keys name, such as ``gate.max_label_issues``."""

    robustness: list[Perturbation] = list(PERTURBATIONS)
    """Perturbations that should not change a prediction, each applied to a sample of the test split. All by default."""
    robustness_texts: int = Field(default=500, gt=0)
    """Number of test texts to perturb, sampled with ``seed``; all of them if there are fewer."""
    explained_errors: int = Field(default=20, ge=0)
    """Number of wrong predictions to explain word by word, the most confident first; 0 turns the explanations off."""
    top_word_texts: int = Field(default=200, ge=0, validation_alias=AliasChoices("top_word_texts", "telling_texts"))
    """Number of test texts, sampled with ``seed``, from which the words with the largest contribution to each class are
    computed; 0 turns it off. This key was called ``telling_texts`` before 0.2."""
    map_texts: int = Field(default=2_000, ge=0)
    """Number of test texts, sampled with ``seed``, on the two-dimensional map of the trained model's embeddings; 0
    turns it off."""
    baseline_texts: int = Field(default=10_000, ge=0)
    """Number of training texts, sampled with ``seed``, on which TF-IDF + logistic regression is fitted as a baseline
    for the scores; 0 turns it off."""
    label_check_texts: int = Field(default=50_000, ge=0)
    """Number of training texts, sampled with ``seed``, whose labels are checked for errors with TF-IDF + logistic
    regression; 0 turns the check off."""
    out_of_domain: dict[str, Source] = {}
    """Further data sets with the same labels, by name, on which the served model is scored to see how it
    generalizes."""
    seed: int = 13
    """Seed of the random samples above."""

    @property
    def for_trained_model(self) -> "EvaluateSettings":
        """Settings for evaluating the trained model: map and baseline; the other analyses use the served model."""
        update = {"map_texts": self.map_texts, "baseline_texts": self.baseline_texts, "seed": self.seed}
        return SCORES_ONLY.model_copy(update=update)

    @property
    def for_served_model(self) -> "EvaluateSettings":
        """Settings for evaluating the served model: everything except map and baseline."""
        return self.model_copy(update={"map_texts": 0, "baseline_texts": 0, "label_check_texts": 0})

    @property
    def for_winner(self) -> "EvaluateSettings":
        """Settings for evaluating the served model of a comparison's winner: everything except the map.

        The baseline is among them, because the trained systems of a comparison are evaluated without any analysis.
        """
        return self.model_copy(update={"map_texts": 0, "label_check_texts": 0})


SCORES_ONLY = EvaluateSettings(
    robustness=[], explained_errors=0, top_word_texts=0, map_texts=0, baseline_texts=0, label_check_texts=0
)
"""Settings without any analysis beyond the scores."""
