"""What a recipe says of finished systems, and what a bundle made of them says of its members."""

import pytest
from pydantic import TypeAdapter, ValidationError

from textgate.components.contracts import EnsembleRuntime, Training, bundle_references, replace_bundle_references

ENSEMBLE = {"family": "ensemble", "members": [{"bundle": "a", "weight": 2}, {"bundle": "b@champion", "weight": 1}]}
STUDENT = {"family": "transformer", "base_model": "models/tiny", "distillation": {"teacher": "a", "weight": 0.3}}
ALONE = {"family": "transformer", "base_model": "models/tiny"}


@pytest.mark.parametrize(
    ("section", "named", "renamed"),
    [(ENSEMBLE, ["a", "b@champion"], ["a!", "b@champion!"]), (STUDENT, ["a"], ["a!"]), (ALONE, [], [])],
)
def test_finished_systems_are_found_and_renamed_and_nothing_else_changes(
    section: object, named: list[str], renamed: list[str]
) -> None:
    training: Training = TypeAdapter(Training).validate_python(section)
    assert bundle_references(training) == named
    other = replace_bundle_references(training, lambda reference: f"{reference}!")
    assert bundle_references(other) == renamed
    assert replace_bundle_references(other, lambda reference: reference.removesuffix("!")) == training


@pytest.mark.parametrize("weights", [[1.0], [0.5, 0.6], [0.2, 0.3, 0.5], [1.5, -0.5]])
def test_members_have_a_share_each(weights: list[float]) -> None:
    with pytest.raises(ValidationError):
        EnsembleRuntime(members=["members/0", "members/1"], weights=weights)
