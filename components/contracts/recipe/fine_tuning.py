"""The recipe's section ``train`` for the families ``transformer`` and ``prompted``, which fine-tune a base model."""

from typing import Literal

from pydantic import Field, field_validator, model_validator

from textgate.components.contracts.recipe.base_model import BundleReference, FromBaseModel
from textgate.components.contracts.recipe.section import RecipeSection


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
    ``pissa`` needs ``quantization: none``, and ``dora`` does not work with ``int8``."""
    quantization: Literal["nf4", "int8", "none"] = "nf4"
    """Quantization of the frozen base model during training: ``nf4`` is 4-bit NormalFloat with double quantization
    (Dettmers et al., QLoRA, 2023) and saves most of its memory; ``int8`` (Dettmers et al., LLM.int8(), 2022) needs
    twice as much and rounds less."""

    @model_validator(mode="after")
    def _pissa_needs_full_precision(self) -> "Adapter":
        if self.variant == "pissa" and self.quantization != "none":
            raise ValueError("variant pissa starts from the full-precision weights: it needs quantization: none")
        return self

    @model_validator(mode="after")
    def _dora_needs_no_8_bit_base(self) -> "Adapter":
        # PEFT 0.21 loses the scales of the 8-bit weights of a CPU when it computes their norm.
        if self.variant == "dora" and self.quantization == "int8":
            raise ValueError("variant dora does not work on an 8-bit base: it needs quantization: nf4 or none")
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
    optimizer: Literal["adamw", "adamw_8bit", "paged_adamw_8bit", "paged_adamw_32bit"] = "adamw"
    """Implementation of AdamW. The 8-bit ones keep its state in 2 bytes per trained weight instead of 8 (Dettmers et
    al., 8-bit Optimizers via Block-wise Quantization, 2022). The paged ones move it to the host's memory while a GPU's
    is short; on a CPU there is nothing to page."""
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
                "fsdp needs full fine-tuning: leave out the adapter, and give micro_batch_size a number, since auto "
                "measures a device that holds the complete model"
            )
        return self

    @model_validator(mode="after")
    def _fsdp_shards_the_optimizer(self) -> "FineTuning":
        # github.com/bitsandbytes-foundation/bitsandbytes/issues/1633
        if self.fsdp and self.optimizer != "adamw":
            raise ValueError(
                f"fsdp shards the state of the optimizer, which bitsandbytes ({self.optimizer}) does not support: set "
                "optimizer: adamw"
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
            raise ValueError("epochs: 0 trains nothing, so an adapter has no effect: leave out adapter, or set epochs")
        return self

    @field_validator("prompt")
    @classmethod
    def _holds_the_text_once(cls, value: str) -> str:
        if value.count("{text}") != 1:
            raise ValueError("a prompt must hold {text} exactly once")
        return value
