"""What training took in energy, estimated from its time: what the processor says it draws at most, times the grid.

Lacoste, Luccioni, Schmidt and Dandres, "Quantifying the Carbon Emissions of Machine Learning" (2019, arXiv:1910.09700).
"""

from dataclasses import dataclass

from textgate.components.contracts import Recipe, TrainingCost

PROCESSOR_WATTS = 65
"""Thermal design power of a common desktop processor."""
ACCELERATOR_WATTS = 400
"""Of an NVIDIA A100 SXM."""
GRAMS_PER_KWH = 445
"""CO2 of the world's electricity in 2024 (IEA, Electricity 2025, iea.org/reports/electricity-2025/emissions)."""


@dataclass(frozen=True)
class Energy:
    """An estimate; the true figure is that of the machine and its grid."""

    machines: int
    accelerators: int
    """Of all machines."""
    watts: int
    kwh: float
    grams: float
    """Of CO2."""

    @classmethod
    def of(cls, cost: TrainingCost, recipe: Recipe) -> "Energy":
        """Of the machines that the recipe asks a cluster for, each at its most; a laptop takes less."""
        asked = recipe.resources
        devices = asked.accelerator.count if asked.accelerator and recipe.train.uses_accelerator else 0
        watts = asked.nodes * (PROCESSOR_WATTS + devices * ACCELERATOR_WATTS)
        kwh = cost.seconds / 3_600 * watts / 1_000
        return cls(asked.nodes, asked.nodes * devices, watts, kwh, kwh * GRAMS_PER_KWH)
