"""The images that steps' containers start from."""

from dataclasses import dataclass

from textgate.components.version import __version__

IMAGE = f"textgate/pipeline:{__version__}"
GPU_IMAGE = f"textgate/train-gpu:{__version__}"


@dataclass(frozen=True)
class Images:
    """Their names, ``name:tag`` or ``name@sha256:…``."""

    cpu: str = IMAGE
    gpu: str = GPU_IMAGE
    """Of the steps that get an accelerator."""
    content: str = ""
    """What tells apart what one name stands for at different times, where the names hold no digest."""

    @property
    def digest(self) -> str:
        """An argument of every cached step, because KFP's cache knows an image by its name."""
        return self.content or " ".join(name.partition("@")[2] for name in (self.cpu, self.gpu) if "@" in name)
