"""The recipe's section ``evaluate``: what is found out about a model beside its scores."""

from typing import Literal, get_args

from pydantic import Field

from textgate.components.contracts.recipe.section import RecipeSection
from textgate.components.contracts.recipe.source import Source

Perturbation = Literal["typos", "case", "punctuation", "homoglyphs", "synonyms"]
PERTURBATIONS: tuple[Perturbation, ...] = get_args(Perturbation)


class EvaluateSettings(RecipeSection):
    """What is found out about the served model beside its scores; the gates judge by the scores alone."""

    robustness: list[Perturbation] = list(PERTURBATIONS)
    """Ways to write a text otherwise that should change no answer."""
    robustness_texts: int = Field(default=500, gt=0)
    """Texts of the test split, drawn by ``seed``, that are written otherwise; all where there are fewer."""
    explained_errors: int = Field(default=20, ge=0)
    """Of the most confident wrong answers, that are explained word by word."""
    telling_texts: int = Field(default=200, ge=0)
    """Texts, drawn by ``seed``, from which the most telling words of each class are read."""
    map_texts: int = Field(default=2_000, ge=0)
    """Texts, drawn by ``seed``, on the map of embeddings."""
    out_of_domain: dict[str, Source] = {}
    """Name to another data set with the same labels, to see what holds elsewhere."""
    seed: int = 13

    @property
    def of_trained(self) -> "EvaluateSettings":
        """What of it is asked of the trained model: where the texts lie in it; the rest is about what answers."""
        return SCORES_ONLY.model_copy(update={"map_texts": self.map_texts, "seed": self.seed})

    @property
    def of_served(self) -> "EvaluateSettings":
        """What of it is asked of the served model: all but the map, which takes the trained one."""
        return self.model_copy(update={"map_texts": 0})


SCORES_ONLY = EvaluateSettings(robustness=[], explained_errors=0, telling_texts=0, map_texts=0)
