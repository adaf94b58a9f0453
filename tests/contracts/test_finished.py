"""What a recipe says of finished systems, and what a bundle made of them says of its members."""

import pytest
from pydantic import TypeAdapter, ValidationError

from textgate.components.contracts import EnsembleRuntime, Training, named_bundles, with_bundles

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
    assert named_bundles(training) == named
    other = with_bundles(training, lambda reference: f"{reference}!")
    assert named_bundles(other) == renamed
    assert with_bundles(other, lambda reference: reference.removesuffix("!")) == training


@pytest.mark.parametrize("weights", [[1.0], [0.5, 0.6], [0.2, 0.3, 0.5], [1.5, -0.5]])
def test_members_have_a_share_each(weights: list[float]) -> None:
    with pytest.raises(ValidationError):
        EnsembleRuntime(members=["members/0", "members/1"], weights=weights)
