"""URLs with secrets in a recipe: what the compiled pipeline and the run record hold."""

import os
from pathlib import Path

import pytest

from textgate.components.contracts import InputError
from textgate.components.record.record import record_run
from textgate.components.sources import SOURCE_URLS
from textgate.components.storage import Store
from textgate.pipelines import recipes
from textgate.pipelines.recipes import with_absolute_paths
from textgate.pipelines.training import compile_pipeline

URLS = ["https://ann:5ec2e7@host/data.csv", "https://host/other.csv?sig=5ec2e7"]


@pytest.fixture(autouse=True)
def own_variable(monkeypatch: pytest.MonkeyPatch) -> None:
    """Restore the variable after the test."""
    monkeypatch.setenv(SOURCE_URLS, "")


def test_a_compiled_pipeline_holds_no_secret_of_a_source(tmp_path: Path) -> None:
    settings = [f"source.uri={URLS[0]}", f"evaluate.out_of_domain={{news: {{uri: '{URLS[1]}'}}}}"]
    recipe = with_absolute_paths(recipes.load("quickstart-tfidf", settings))
    assert recipe.source.uri == "https://****@host/data.csv"
    assert recipe.evaluate.out_of_domain["news"].uri == "https://host/other.csv?****"
    assert sorted(os.environ[SOURCE_URLS].split()) == URLS
    compile_pipeline(recipe, tmp_path / "pipeline.yaml")
    compiled = (tmp_path / "pipeline.yaml").read_text()
    assert "https://host/other.csv?****" in compiled
    assert "5ec2e7" not in compiled


def test_a_base_model_or_bundle_with_a_secret_is_refused() -> None:
    members = "train.members=[{bundle: 'https://host/a?sig=5ec2e7'}, {bundle: b}]"
    for name, setting in (
        ("quickstart", "train.base_model=https://host/model?sig=5ec2e7"),
        ("quickstart-ensemble", members),
    ):
        with pytest.raises(InputError, match="only the URL of a source may have a query") as error:
            with_absolute_paths(recipes.load(name, [setting]))
        assert "5ec2e7" not in str(error.value)


def test_a_wrong_recipe_names_no_secret() -> None:
    with pytest.raises(InputError) as error:
        recipes.load("quickstart", ["source.label=1", f"source.uri=[{URLS[1]}]"])
    assert "5ec2e7" not in str(error.value)


def test_the_error_of_a_run_record_holds_no_secret(store: Store) -> None:
    record = record_run(store, "run", {}, "1", "FAILED", f"no connection to {URLS[1]}")
    assert record.error == "no connection to https://host/other.csv?****"
