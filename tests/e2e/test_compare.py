"""The command `textgate compare` on a real store."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from e2e.conftest import RECIPE

from textgate.components.compare.ranking import compare_pairs, pareto_front
from textgate.components.contracts import Evaluation, ModelBundle

TRAININGS = {
    "words": "{family: linear, min_df: 1}",
    "rare": "{family: linear, min_df: 5000}",
    "topics": "{family: linear, min_df: 1, components: 2}",
}
FILES = [f"{name}.yaml" for name in TRAININGS]


@pytest.mark.slow
def test_systems_are_compared_on_one_split_and_the_winner_is_promoted(workspace: Any) -> None:
    for name, training in TRAININGS.items():
        recipe = RECIPE.replace("name: films", f"name: {name}").replace("{family: linear, min_df: 1}", training)
        (workspace.folder / f"{name}.yaml").write_text(recipe.replace("min_f1: 0.8", "min_f1: 0.7"))
    first = workspace.run_json("compare", *FILES)
    run = Path(first["folder"])
    results = {
        name: run / f"for-loop-2-iteration-{index}" / "system" / "result" for index, name in enumerate(TRAININGS)
    }
    systems = {system["recipe"]: system for system in first["systems"]}

    # The failed system is the last row and has no result.
    assert list(systems)[-1] == "rare"
    assert systems["rare"]["measured"] is None
    assert "no n-gram of the " in systems["rare"]["failed"]
    assert not results["rare"].exists()

    # The rows hold the metrics on the same texts. The order and the significance tests are of the validation split.
    served, validation = (
        {name: Evaluation.open(results[name] / folder) for name in ("words", "topics")}
        for folder in ("served", "validation")
    )
    assert validation["words"].ids == validation["topics"].ids
    assert not set(validation["words"].ids) & set(served["words"].ids)
    assert list(systems) == [*sorted(validation, key=lambda name: -validation[name].manifest.f1.value), "rare"]
    for name, evaluation in served.items():
        metrics = systems[name]["measured"]
        assert metrics["f1"] == evaluation.manifest.f1.model_dump()
        assert metrics["validation_f1"] == validation[name].manifest.f1.model_dump()
        assert metrics["bytes"] == ModelBundle.load(results[name] / "exported").size
        assert metrics["training"] == Evaluation.open(results[name] / "trained").manifest.training_cost.model_dump()  # type: ignore[union-attr]
    names = list(systems)[:2]
    assert first["pairs"] == [pair.model_dump() for pair in compare_pairs({name: validation[name] for name in names})]
    scores = [systems[name]["measured"]["validation_f1"]["value"] for name in names]
    for cost, front in (("latency_ms", "on_latency_front"), ("training", "on_training_front")):
        costs = [systems[name]["measured"][cost] for name in names]
        paid = [one["seconds"] if isinstance(one, dict) else one for one in costs]
        assert [systems[name]["measured"][front] for name in names] == pareto_front(scores, paid)

    # The bundle that was judged is promoted, under the model's name.
    assert first["winner"] == names[0]
    champion = workspace.run_json("models", "show", "films")
    assert champion["bundle"]["name"] == first["winner"]
    assert ModelBundle.load(results[first["winner"]] / "exported") == ModelBundle.load(run / "compare" / "exported")
    assert [decision["gate"] for decision in first["decisions"]] == ["served"]
    # The winner is shown beside the TF-IDF baseline, as in a training run.
    assert first["decisions"][0]["score"]["baseline"]["value"] > 0.7
    for name in ("comparison.json", "comparison.html", "report.html"):
        assert workspace.store.get(f"runs/{first['run']}/{name}").data == (run / name).read_bytes()

    # Second run: completed systems come from the cache, the failed one runs again, and the champion stays.
    second = workspace.run("compare", *FILES, "--max-size-mb", "0.000001", "--fail-on-reject")
    assert second.returncode == 3, second.stderr
    lines = second.stderr.splitlines()
    assert {"system (words): cached", "system (topics): cached", "system (rare): started"} <= set(lines)
    output = [" ".join(line.split()) for line in second.stdout.splitlines()]
    assert f"failed rare: {systems['rare']['failed']}" in output
    assert "winner nothing won: no system is within 1e-06 MB" in output
    assert sum(line.endswith("beyond the limits") for line in output) == 2
    assert workspace.run_json("models", "show", "films")["version"] == champion["version"]
    record = json.loads(
        max(workspace.folder.rglob("comparison.json"), key=lambda path: path.stat().st_mtime).read_text()
    )
    assert record["winner"] is None


@pytest.mark.slow
def test_when_every_system_fails_the_command_does(workspace: Any) -> None:
    shutil.copy(workspace.folder / "films.yaml", workspace.folder / "again.yaml")
    again = workspace.folder / "again.yaml"
    again.write_text(again.read_text().replace("name: films", "name: again"))
    done = workspace.run("compare", "films.yaml", "again.yaml", "--set", "train.min_df=5000", "--json")
    assert done.returncode == 1
    result = json.loads(done.stdout)
    assert (result["winner"], result["version"], result["decisions"], result["pairs"]) == (None, None, [], [])
    assert all("no n-gram of the " in system["failed"] for system in result["systems"])
    assert workspace.registry() == {}
