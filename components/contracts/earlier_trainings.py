"""Trainings that a training builds on: those of the members of an ensemble, or of the teacher of a student."""

from collections.abc import Callable
from typing import Literal

from textgate.components.contracts.recipe.training import EnsembleTraining, Training, bundle_references
from textgate.components.contracts.training_cost import EarlierTraining, TrainingCost


def earlier_trainings(training: Training, cost: Callable[[str], TrainingCost | None]) -> list[EarlierTraining]:
    """Return the trainings that a training builds on.

    Args:
        training: Recipe section ``train``.
        cost: Function from a reference to the cost of its training, None if that is unknown.
    """
    role: Literal["member", "teacher"] = "member" if isinstance(training, EnsembleTraining) else "teacher"
    references = bundle_references(training)
    return [EarlierTraining(bundle=reference, role=role, cost=cost(reference)) for reference in references]


def with_earlier(cost: TrainingCost, training: Training) -> TrainingCost:
    """Return a cost that names the trainings it builds on, as unknown if it was recorded before textgate 0.2."""
    if cost.earlier:
        return cost
    return cost.model_copy(update={"earlier": earlier_trainings(training, lambda _: None)})
