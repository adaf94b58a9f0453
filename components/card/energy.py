"""Estimate of the energy and emissions of a training: busy time, times power of the hardware, times emissions.

Lannelongue, Grealey and Inouye, "Green Algorithms: Quantifying the Carbon Footprint of Computation" (Advanced Science
8, 2021), without memory and cooling. CPU cores count while they work. The busy time of accelerators is not measured:
each counts for the whole training, which is an upper bound.
"""

from dataclasses import dataclass

from textgate.components.contracts import Recipe, TrainingCost

CORE_WATTS = 12
"""Power of a busy CPU core: the mean over processors in Green Algorithms' table TDP_cpu.csv, "Any"."""
ACCELERATOR_WATTS = 400
"""Thermal design power of an NVIDIA A100 SXM."""
GRAMS_PER_KWH = 445
"""CO2 emissions of the world's electricity in 2024 (IEA, Electricity 2025,
iea.org/reports/electricity-2025/emissions)."""


@dataclass(frozen=True)
class Energy:
    """Estimated energy of a training; the true value depends on the machine and its grid."""

    core_seconds: float
    """Seconds that CPU cores worked, summed over the cores; an upper bound if it was not ``measured``."""
    measured: bool
    """Whether the CPU time was measured; otherwise all cores that the recipe requests count for the whole training."""
    accelerators: int
    """Accelerators of all machines."""
    accelerator_seconds: float
    """Seconds summed over the accelerators, as if all worked for the whole training."""
    kwh: float
    grams: float
    """CO2 emissions in grams."""

    @classmethod
    def of(cls, cost: TrainingCost, recipe: Recipe) -> "Energy":
        """Estimate the energy of a training with the accelerators that the recipe requests.

        A run without them, such as on a laptop, uses less.
        """
        resources = recipe.resources
        devices = resources.accelerator.count if resources.accelerator and recipe.train.uses_accelerator else 0
        accelerators = resources.nodes * devices
        requested = resources.nodes * _cores(resources.cpu)
        core_seconds = cost.seconds * requested if cost.cpu_seconds is None else cost.cpu_seconds
        joules = core_seconds * CORE_WATTS + accelerators * cost.seconds * ACCELERATOR_WATTS
        kwh = joules / 3.6e6
        return cls(
            core_seconds,
            cost.cpu_seconds is not None,
            accelerators,
            accelerators * cost.seconds,
            kwh,
            kwh * GRAMS_PER_KWH,
        )


def _cores(quantity: str) -> float:
    """Return the cores of a Kubernetes quantity such as 2, 0.5 or 500m."""
    return float(quantity[:-1]) / 1_000 if quantity.endswith("m") else float(quantity)
