"""Findings name recipe keys that exist."""

import ast
import re
from pathlib import Path

from textgate.components.contracts.recipe.reference import recipe_keys
from textgate.pipelines.inspection import findings

SECTIONS = ("source", "preprocess", "train", "gate")


def test_every_recipe_key_that_a_finding_may_name_exists() -> None:
    tree = ast.parse(Path(findings.__file__).read_text("utf-8"))
    strings = {node.value for node in ast.walk(tree) if isinstance(node, ast.Constant) and isinstance(node.value, str)}
    named = {text for text in strings if re.fullmatch(rf"({'|'.join(SECTIONS)})(\.[a-z_0-9]+)+", text)}
    assert len(named) > 10
    assert named <= {key.path for key in recipe_keys()}
