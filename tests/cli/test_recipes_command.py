"""`textgate recipes`: the shipped recipes, their YAML, and the reference of recipe keys."""

import json
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from textgate.components.contracts.recipe.reference import recipe_keys
from textgate.pipelines import recipes
from textgate.pipelines.cli import main


def run(*arguments: str) -> Result:
    return CliRunner().invoke(main, ["recipes", *arguments])


@pytest.mark.parametrize("arguments", [(), ("list",)])
def test_the_recipes_are_listed(arguments: tuple[str, ...]) -> None:
    listed = run(*arguments)
    assert listed.exit_code == 0
    assert "quickstart-tfidf" in listed.stdout
    as_json = json.loads(run(*arguments, "--json").stdout)
    assert [recipe["name"] for recipe in as_json["recipes"]] == recipes.names()


@pytest.mark.parametrize("name", recipes.names())
def test_a_recipe_is_shown_as_it_ships_with_its_comments(name: str) -> None:
    shown = run("show", name)
    assert shown.exit_code == 0
    assert shown.stdout == (Path(recipes.__file__).parent / f"{name}.yaml").read_text("utf-8")


def test_an_unknown_recipe_is_answered_with_the_nearest() -> None:
    for name in ("quikstart", "../recipes/quikstart", ""):
        unknown = run("show", name)
        assert unknown.exit_code == 2
        assert unknown.stderr.startswith(f"Error: no recipe {name!r}; did you mean ")
    assert "did you mean quickstart?" in run("show", "quikstart").stderr


def test_keys_are_shown_with_type_default_and_meaning() -> None:
    shown = run("keys")
    assert shown.exit_code == 0
    for key in recipe_keys():
        assert f"{key.path}  {key.type}, " in shown.stdout
        assert key.description.split()[0].replace("``", "`") in shown.stdout
    assert "gate.min_f1  number (≥ 0, ≤ 1) or null, default null\n" in shown.stdout
    assert "source.uri  text, required\n" in shown.stdout
    assert "train.adapter.r  integer (> 0), default 16  [transformer, prompted]\n" in shown.stdout


def test_keys_of_a_section_are_a_part_of_all_keys() -> None:
    everything = json.loads(run("keys", "--json").stdout)["keys"]
    for section in ("train", "train.adapter", "gate", "resources.tolerations", "train.members[]", "source.uri"):
        keys = json.loads(run("keys", section, "--json").stdout)["keys"]
        plain = section.removesuffix("[]")
        assert keys == [key for key in everything if key["path"].startswith(plain)]
        assert {"path", "type", "default", "required", "description", "families", "kinds"} == set(keys[0])


def test_an_unknown_section_is_answered_with_the_nearest() -> None:
    for wrong, nearest in (("trian", "train"), ("train.adaptr", "train.adapter"), ("gate.minf1", "gate.min_f1")):
        unknown = run("keys", wrong)
        assert (unknown.exit_code, unknown.stdout) == (2, "")
        assert f"no recipe key {wrong!r}; did you mean {nearest}?" in unknown.stderr
