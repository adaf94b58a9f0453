"""The recipe's section ``resources``: CPU, memory and accelerators that the steps request from a cluster."""

from typing import Annotated, Literal

from pydantic import Field

from textgate.components.contracts.recipe.section import RecipeSection

_MAX_SHARDS = 64

Memory = Annotated[str, Field(pattern=r"^[1-9][0-9]*([KMGTPE]i?)?$")]
"""Bytes as a Kubernetes quantity, such as 4G or 512Mi."""


class Compute(RecipeSection):
    """CPU, memory and time limit of a step."""

    cpu: Annotated[str, Field(pattern=r"^([1-9][0-9]*m?|[0-9]+\.[0-9]+)$")] = "2"
    """CPU cores of a step's pod, as a Kubernetes quantity such as 2, 0.5 or 500m."""
    memory: Memory = "4G"
    """Memory of a step's pod, as a Kubernetes quantity such as 4G or 512Mi."""
    hours: float = Field(default=6, gt=0, le=168)
    """Time limit of one attempt of the step, in hours; an attempt that runs longer is stopped."""


class Accelerator(RecipeSection):
    """Accelerator devices of a step."""

    type: str = "nvidia.com/gpu"
    """Kubernetes resource name of the device."""
    count: int = Field(gt=0)
    """Devices per machine."""


class Toleration(RecipeSection):
    """Taint that the step's pod tolerates, as in the Kubernetes API."""

    key: str | None = None
    """Key of the taint; without it every key matches."""
    operator: Literal["Exists", "Equal"] = "Equal"
    """``Equal`` matches a taint with this key and ``value``, ``Exists`` one with this key and any value."""
    value: str | None = None
    """Value of the taint, for the operator ``Equal``."""
    effect: Literal["NoSchedule", "PreferNoSchedule", "NoExecute"] | None = None
    """Effect of the taint; without it every effect matches."""


class Resources(Compute):
    """Resources of the steps that run the model in PyTorch (train, evaluate, merge); ignored on a laptop.

    The export step requests the same accelerator when it measures a Hugging Face folder.
    """

    hours: float = Field(default=24, gt=0, le=168)
    """Time limit of one attempt of a step, in hours; an attempt that runs longer is stopped."""
    accelerator: Accelerator | None = None
    """Accelerator to request; families that compute on the CPU (linear, word2vec, ensemble) do not request it."""
    shm: Memory | None = None
    """Size of ``/dev/shm``, through which the processes of one machine exchange tensors, as a Kubernetes quantity. It
    counts towards ``memory``. Without it a container has 64 MB."""
    nodes: int = Field(default=1, ge=1)
    """Machines for data-parallel fine-tuning, each with the CPU, memory and accelerator given here."""
    shards: int = Field(default=1, ge=1, le=_MAX_SHARDS)
    """Parallel tasks in which ingest and preprocess read a source of several files. The result does not depend on
    it."""
    node_selector: dict[str, str] = {}
    """Labels that a Kubernetes node must have to run the step."""
    tolerations: list[Toleration] = []
    """Taints of Kubernetes nodes that the step tolerates, besides that of nodes with the accelerator: its type as key,
    with the effect ``NoSchedule``."""
    export: Compute = Compute()
    """CPU, memory and time limit of the steps that export, measure and judge the served model."""

    def pod_tolerations(self) -> list[Toleration]:
        """Return ``tolerations``, and the one for nodes with the accelerator.

        GKE taints nodes that have GPUs, and clusters on EKS and AKS usually do. The toleration is that of Kubernetes'
        admission plugin ``ExtendedResourceToleration``, which not every cluster enables.
        """
        if not self.accelerator:
            return self.tolerations
        implied = Toleration(key=self.accelerator.type, operator="Exists", effect="NoSchedule")
        return self.tolerations if implied in self.tolerations else [*self.tolerations, implied]
