"""The recipe's section ``train``: one class per model family, selected by the key ``family``."""

from collections.abc import Callable
from typing import Annotated, ClassVar, Literal

from pydantic import Field, field_validator, model_validator

from textgate.components.contracts.bundle import check_ngrams
from textgate.components.contracts.recipe.base_model import BundleReference, Seed
from textgate.components.contracts.recipe.embedding_training import EmbeddingTraining
from textgate.components.contracts.recipe.fine_tuning import Distillation, PromptedTraining, TransformerTraining
from textgate.components.contracts.recipe.section import RecipeSection


class LinearTraining(RecipeSection):
    """Logistic regression on TF-IDF, optionally after a latent semantic analysis (``components``)."""

    uses_accelerator: ClassVar[bool] = False
    """Whether training and prediction run on a GPU if there is one."""
    family: Literal["linear"]
    """Model family: logistic regression on TF-IDF features of word n-grams."""
    ngrams: tuple[int, int] = (1, 2)
    """Lengths of the shortest and the longest n-gram, in words."""
    min_df: int = Field(default=2, ge=1)
    """Smallest number of training texts that an n-gram must occur in to become a feature."""
    max_terms: int | None = Field(default=None, gt=0)
    """Largest number of n-grams; the most frequent ones are kept. Without it all are kept."""
    sublinear: bool = True
    """Use 1 + log(tf) instead of the term frequency tf."""
    components: int | None = Field(default=None, gt=1)
    """Number of dimensions of a truncated singular value decomposition (latent semantic analysis), standardized, that
    replaces the TF-IDF features. Without it the regression uses the TF-IDF features."""
    C: float = Field(default=10.0, gt=0)
    """Inverse strength of the L2 penalty, as in scikit-learn: smaller values regularize more."""
    class_weights: Literal["balanced"] | None = None
    """``balanced`` weights the texts of each class by the inverse of its share of the training texts."""
    max_iterations: int = Field(default=1000, gt=0)
    """Largest number of iterations of the solver."""
    seed: Seed = 13
    """Seed of the decomposition and the solver."""

    @field_validator("ngrams")
    @classmethod
    def _ordered(cls, value: tuple[int, int]) -> tuple[int, int]:
        return check_ngrams(value)


class Word2VecTraining(RecipeSection):
    """Logistic regression on the standardized mean of a text's word vectors; Word2Vec is trained on the same texts."""

    uses_accelerator: ClassVar[bool] = False
    """Whether training and prediction run on a GPU if there is one."""
    family: Literal["word2vec"]
    """Model family: logistic regression on the mean of Word2Vec vectors."""
    dimensions: int = Field(default=300, gt=1)
    """Dimensions of a word vector."""
    window: int = Field(default=5, gt=0)
    """Largest distance between a word and its context words, in words to either side."""
    min_count: int = Field(default=2, ge=1)
    """Smallest number of occurrences in the training texts that a word must have to get a vector."""
    epochs: int = Field(default=5, gt=0)
    """Passes over the training texts when the word vectors are trained."""
    skip_gram: bool = True
    """Train with skip-gram (predict the context from the word); false is CBOW (predict the word from the context)."""
    C: float = Field(default=1.0, gt=0)
    """Inverse strength of the L2 penalty, as in scikit-learn: smaller values regularize more."""
    class_weights: Literal["balanced"] | None = None
    """``balanced`` weights the texts of each class by the inverse of its share of the training texts."""
    max_iterations: int = Field(default=1000, gt=0)
    """Largest number of iterations of the solver of the logistic regression."""
    seed: Seed = 13
    """Seed of the word vectors and the solver."""


class Member(RecipeSection):
    """Member of an ensemble."""

    bundle: BundleReference
    """Trained model: ``model``, ``model@channel`` or ``model@version`` in the registry, or a folder with a bundle."""
    weight: float | None = Field(default=None, ge=0)
    """Weight of the member's probabilities, relative to the other members. By default the weights are fitted."""


class EnsembleTraining(RecipeSection):
    """Weighted mean of the probabilities of trained models."""

    uses_accelerator: ClassVar[bool] = False
    """Whether training and prediction run on a GPU if there is one."""
    family: Literal["ensemble"]
    """Model family: the weighted mean of the probabilities of trained models."""
    members: list[Member] = Field(min_length=2, max_length=8)
    """Models to combine, with a weight each or none: without weights, those that maximize the likelihood of the
    validation labels are used."""

    @model_validator(mode="after")
    def _weights_for_all_or_none(self) -> "EnsembleTraining":
        given = [member.weight for member in self.members if member.weight is not None]
        if given and (len(given) < len(self.members) or not sum(given)):
            raise ValueError("members must have a weight each, not all 0, or none of them")
        return self


Training = Annotated[
    LinearTraining | Word2VecTraining | EmbeddingTraining | TransformerTraining | PromptedTraining | EnsembleTraining,
    Field(discriminator="family"),
]


def bundle_references(training: Training) -> list[str]:
    """Return the references to trained models that a training uses: ensemble members and the teacher."""
    match training:
        case EnsembleTraining(members=members):
            return [member.bundle for member in members]
        case TransformerTraining(distillation=Distillation(teacher=teacher)):
            return [teacher]
    return []


def replace_bundle_references(training: Training, change: Callable[[str], str]) -> Training:
    """Return a copy in which ``change`` has replaced every reference to a trained model."""
    match training:
        case EnsembleTraining(members=members):
            renamed = [member.model_copy(update={"bundle": change(member.bundle)}) for member in members]
            return training.model_copy(update={"members": renamed})
        case TransformerTraining(distillation=Distillation() as distillation):
            renamed_teacher = distillation.model_copy(update={"teacher": change(distillation.teacher)})
            return training.model_copy(update={"distillation": renamed_teacher})
    return training
