"""Estimate of the energy and emissions of a training: time, times power of the hardware, times emissions of the grid.

Lacoste, Luccioni, Schmidt and Dandres, "Quantifying the Carbon Emissions of Machine Learning" (2019, arXiv:1910.09700).
"""

from dataclasses import dataclass

from textgate.components.contracts import Recipe, TrainingCost

PROCESSOR_WATTS = 65
"""Thermal design power of a common desktop processor."""
ACCELERATOR_WATTS = 400
"""Thermal design power of an NVIDIA A100 SXM."""
GRAMS_PER_KWH = 445
"""CO2 emissions of the world's electricity in 2024 (IEA, Electricity 2025,
iea.org/reports/electricity-2025/emissions)."""


@dataclass(frozen=True)
class Energy:
    """Estimated energy of a training; the true value depends on the machine and its grid."""

    machines: int
    accelerators: int
    """Accelerators of all machines."""
    watts: int
    """Power of all machines."""
    kwh: float
    grams: float
    """CO2 emissions in grams."""

    @classmethod
    def of(cls, cost: TrainingCost, recipe: Recipe) -> "Energy":
        """Estimate the energy of a training on the machines that the recipe requests, each at its full power.

        A run on a laptop uses less.
        """
        resources = recipe.resources
        devices = resources.accelerator.count if resources.accelerator and recipe.train.uses_accelerator else 0
        watts = resources.nodes * (PROCESSOR_WATTS + devices * ACCELERATOR_WATTS)
        kwh = cost.seconds / 3_600 * watts / 1_000
        return cls(resources.nodes, resources.nodes * devices, watts, kwh, kwh * GRAMS_PER_KWH)
