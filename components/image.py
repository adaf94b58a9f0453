"""Container images of the pipeline steps."""

from dataclasses import dataclass

from textgate.components.version import __version__

IMAGE = f"textgate/pipeline:{__version__}"
GPU_IMAGE = f"textgate/train-gpu:{__version__}"


@dataclass(frozen=True)
class Images:
    """Names of the container images, ``name:tag`` or ``name@sha256:…``."""

    cpu: str = IMAGE
    """Image of the steps that run on the CPU."""
    gpu: str = GPU_IMAGE
    """Image of the steps that request an accelerator."""
    content: str = ""
    """Identifier of the content of the images, for names with a movable tag."""

    @property
    def digest(self) -> str:
        """Identifier of the content, passed to every cached step because KFP's cache compares image names only."""
        return self.content or " ".join(name.partition("@")[2] for name in (self.cpu, self.gpu) if "@" in name)
