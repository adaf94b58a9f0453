"""Estimate of the energy and emissions of a training: busy time, times power of the hardware, times emissions.

Lannelongue, Grealey and Inouye, "Green Algorithms: Quantifying the Carbon Footprint of Computation" (Advanced Science
8, 2021), without memory and cooling. CPU cores count while they work. The busy time of accelerators is not measured:
each counts for the whole training, which is an upper bound. The trainings of an ensemble's members are included.
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
    """Seconds that CPU cores worked, summed over the cores and the trainings; an upper bound if not ``measured``."""
    measured: bool
    """Whether the CPU time was measured; otherwise all cores that the recipe requests count for the whole training."""
    requested_accelerators: int | None
    """Accelerators of all machines that the recipe requests; None if it is known how many the training could use."""
    accelerator_seconds: float
    """Seconds summed over the accelerators and the trainings, as if all worked for the whole training."""
    kwh: float
    grams: float
    """CO2 emissions in grams."""

    @classmethod
    def of(cls, cost: TrainingCost, recipe: Recipe) -> "Energy":
        """Estimate the energy of a training and of those of the members whose cost is known.

        What a cost does not say, such as the accelerators before textgate 0.2, is what the recipe requests. A run with
        less, such as on a laptop, uses less.
        """
        resources = recipe.resources
        devices = resources.accelerator.count if resources.accelerator and recipe.train.uses_accelerator else 0
        requested_accelerators, cores = resources.nodes * devices, resources.nodes * _cores(resources.cpu)
        core_seconds = accelerator_seconds = 0.0
        for part in cost.parts:
            core_seconds += part.seconds * cores if part.cpu_seconds is None else part.cpu_seconds
            accelerators = requested_accelerators if part.accelerators is None else part.accelerators
            accelerator_seconds += part.seconds * accelerators
        kwh = (core_seconds * CORE_WATTS + accelerator_seconds * ACCELERATOR_WATTS) / 3.6e6
        return cls(
            core_seconds=core_seconds,
            measured=all(part.cpu_seconds is not None for part in cost.parts),
            requested_accelerators=requested_accelerators if cost.accelerators is None else None,
            accelerator_seconds=accelerator_seconds,
            kwh=kwh,
            grams=kwh * GRAMS_PER_KWH,
        )


def _cores(quantity: str) -> float:
    """Return the cores of a Kubernetes quantity such as 2, 0.5 or 500m."""
    return float(quantity[:-1]) / 1_000 if quantity.endswith("m") else float(quantity)
