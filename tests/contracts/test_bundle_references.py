"""References of a recipe to trained models, and the members of an ensemble bundle."""

import pytest
from pydantic import TypeAdapter, ValidationError

from textgate.components.contracts import EnsembleRuntime, Training, bundle_references, replace_bundle_references

ENSEMBLE = {"family": "ensemble", "members": [{"bundle": "a", "weight": 2}, {"bundle": "b@champion", "weight": 1}]}
STUDENT = {"family": "transformer", "base_model": "models/tiny", "distillation": {"teacher": "a", "weight": 0.3}}
ALONE = {"family": "transformer", "base_model": "models/tiny"}


@pytest.mark.parametrize(
    ("section", "references", "replaced"),
    [(ENSEMBLE, ["a", "b@champion"], ["a!", "b@champion!"]), (STUDENT, ["a"], ["a!"]), (ALONE, [], [])],
)
def test_references_are_listed_and_replaced_and_nothing_else_changes(
    section: object, references: list[str], replaced: list[str]
) -> None:
    training: Training = TypeAdapter(Training).validate_python(section)
    assert bundle_references(training) == references
    other = replace_bundle_references(training, lambda reference: f"{reference}!")
    assert bundle_references(other) == replaced
    assert replace_bundle_references(other, lambda reference: reference.removesuffix("!")) == training


@pytest.mark.parametrize("weights", [[1.0], [0.5, 0.6], [0.2, 0.3, 0.5], [1.5, -0.5]])
def test_an_ensemble_has_one_weight_per_member_and_they_sum_to_1(weights: list[float]) -> None:
    with pytest.raises(ValidationError):
        EnsembleRuntime(members=["members/0", "members/1"], weights=weights)
