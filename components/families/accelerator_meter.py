"""Memory, utilization and speed of the GPUs of a training, over all of its processes.

Model FLOPs utilization (MFU) is the share of the peak FLOP/s that the forward and backward pass need: 6 FLOPs per
trained weight and token, 4 per frozen weight, and attention. Recomputation by gradient checkpointing does not count
(Kaplan et al., Scaling Laws for Neural Language Models, 2020, section 2.1; Chowdhery et al., PaLM, 2022, appendix B).
"""

import time
from statistics import mean
from typing import NamedTuple

from textgate.components.contracts import Training
from textgate.components.contracts.training_cost import AcceleratorUse
from textgate.components.families.distributed import all_gather

PEAK_FLOPS = {
    "NVIDIA A10": 125e12,
    "NVIDIA A10G": 70e12,
    "NVIDIA A100 80GB PCIe": 312e12,
    "NVIDIA A100-PCIE-40GB": 312e12,
    "NVIDIA A100-SXM4-40GB": 312e12,
    "NVIDIA A100-SXM4-80GB": 312e12,
    "NVIDIA B200": 2_250e12,
    "NVIDIA H100 80GB HBM3": 989.5e12,
    "NVIDIA H100 NVL": 835.5e12,
    "NVIDIA H100 PCIe": 756.5e12,
    "NVIDIA H200": 989.5e12,
    "NVIDIA H200 NVL": 835.5e12,
    "NVIDIA L4": 121e12,
    "NVIDIA L40S": 362e12,
    "Tesla T4": 65e12,
    "Tesla V100-SXM2-16GB": 125e12,
    "Tesla V100-SXM2-32GB": 125e12,
}
"""Peak FLOP/s of the tensor cores in 16 bits without sparsity, from NVIDIA's data sheets, by name of the device. A
partition of a GPU (MIG) has another name, and no entry."""
_SAMPLE_SECONDS = 1.0
"""Seconds between two samples of the utilization. NVML averages over up to a second."""


class Work(NamedTuple):
    """Work of one process in the updates that were timed."""

    tokens: int
    """Tokens without padding."""
    texts: int
    flops: float | None
    """Model FLOPs; None in fp32, which has another peak."""
    seconds: float


class AcceleratorMeter:
    """Meter of this process's GPU, which starts when it is created. PyTorch's peak memory counters start anew."""

    def __init__(self) -> None:
        import torch

        self.work: Work | None = None
        """Set by the training loop; None for families without one."""
        self._utilization: list[float] = []
        self._last_sample = time.perf_counter()
        torch.cuda.reset_peak_memory_stats()

    @classmethod
    def for_training(cls, training: Training) -> "AcceleratorMeter | None":
        """Return a meter, or None if the training does not use a GPU."""
        if not training.uses_accelerator:
            return None
        import torch

        return cls() if torch.cuda.is_available() else None

    def sample(self) -> None:
        """Sample the utilization, at most once a second."""
        now = time.perf_counter()
        if now - self._last_sample >= _SAMPLE_SECONDS:
            self._last_sample = now
            if (utilization := _utilization()) is not None:
                self._utilization.append(utilization)

    def use(self) -> AcceleratorUse:
        """Return what the GPUs did since the start; every process of the training must call this."""
        import torch

        memory = (torch.cuda.max_memory_allocated(), torch.cuda.max_memory_reserved())
        processes = all_gather((memory, self._utilization, self.work))
        utilization = [sample for _, samples, _ in processes for sample in samples]
        name = torch.cuda.get_device_name()
        use = AcceleratorUse(
            name=name,
            peak_allocated=max(allocated for (allocated, _), _, _ in processes),
            peak_reserved=max(reserved for (_, reserved), _, _ in processes),
            utilization=mean(utilization) if utilization else None,
        )
        works = [work for _, _, work in processes if work]
        return use.model_copy(update=_speed(works, PEAK_FLOPS.get(name))) if works else use


def _speed(works: list[Work], peak: float | None) -> dict[str, float | None]:
    """Return the fields of ``AcceleratorUse`` for the work of all processes, each on a device with this peak."""
    seconds = max(work.seconds for work in works)
    flops = [work.flops for work in works if work.flops is not None]
    return {
        "tokens_per_second": sum(work.tokens for work in works) / seconds,
        "texts_per_second": sum(work.texts for work in works) / seconds,
        "mfu": sum(flops) / seconds / (peak * len(works)) if flops and peak else None,
    }


def _utilization() -> float | None:
    """Return the share of the last moments in which a kernel ran, measured by NVML; None if that is not known.

    It needs the package nvidia-ml-py, and a whole GPU instead of a partition.
    """
    import torch

    try:
        import pynvml
    except ModuleNotFoundError:
        return None
    try:
        return torch.cuda.utilization() / 100
    except (RuntimeError, ModuleNotFoundError, pynvml.NVMLError):
        return None
