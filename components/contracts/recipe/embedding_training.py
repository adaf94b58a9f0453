"""The recipe's section ``train`` for the family ``embedding``: a classifier head on frozen embeddings."""

from typing import Annotated, Literal

from pydantic import Field

from textgate.components.contracts.recipe.base_model import FromBaseModel
from textgate.components.contracts.recipe.section import RecipeSection


class LogisticHead(RecipeSection):
    """Multinomial logistic regression."""

    kind: Literal["logistic"]
    """Head: logistic regression."""
    C: float = Field(default=1.0, gt=0)
    """Inverse strength of the L2 penalty, as in scikit-learn: smaller values regularize more."""
    max_iterations: int = Field(default=1000, gt=0)
    """Largest number of iterations of the solver."""


class SvmHead(RecipeSection):
    """Support vector machine with a radial basis kernel and Platt-scaled probabilities (Platt, 1999)."""

    kind: Literal["svm"]
    """Head: support vector machine."""
    C: float = Field(default=1.0, gt=0)
    """Inverse strength of the penalty, as in scikit-learn: smaller values give a wider margin."""
    gamma: Annotated[float, Field(gt=0)] | Literal["scale"] = "scale"
    """Coefficient of the radial basis kernel; ``scale`` is 1 / (dimensions x variance), as in scikit-learn."""


class MlpHead(RecipeSection):
    """Multilayer perceptron with ReLU, trained with Adam."""

    kind: Literal["mlp"]
    """Head: multilayer perceptron."""
    hidden: list[Annotated[int, Field(gt=0)]] = Field(default=[256, 128], min_length=1)
    """Units of each hidden layer, from input to output."""
    dropout: float = Field(default=0.5, ge=0, lt=1)
    """Dropout probability after each hidden layer."""
    learning_rate: float = Field(default=1e-3, gt=0)
    """Learning rate of Adam."""
    epochs: int = Field(default=20, gt=0)
    """Passes over the training texts."""
    batch_size: int = Field(default=32, gt=0)
    """Texts per update of the weights."""


class EmbeddingTraining(FromBaseModel):
    """Classifier head on the frozen embeddings of a pretrained encoder."""

    family: Literal["embedding"]
    """Model family: a classifier head on frozen sentence embeddings."""
    dense: str | None = None
    """Folder in the base model with a linear layer to apply after mean pooling, such as ``2_Dense`` of
    sentence-transformers. Without it the pooled states are the embedding."""
    head: Annotated[LogisticHead | SvmHead | MlpHead, Field(discriminator="kind")]
    """Classifier on the embeddings: ``kind`` is ``logistic``, ``svm`` or ``mlp``."""
    class_weights: Literal["balanced"] | None = None
    """``balanced`` weights the texts of each class by the inverse of its share of the training texts."""
