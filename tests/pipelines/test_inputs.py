"""Inputs of the compiled pipeline, which people change in Kubeflow Pipelines."""

import json
import random
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import yaml
from click.testing import CliRunner
from kfp import components, local
from kfp.local import config as local_config
from pipelines.cluster_workspace import ClusterWorkspace
from pipelines.specification import missing_inputs, tasks

from textgate.components.contracts import Recipe, RunRecord
from textgate.components.contracts.recipe.run_inputs import RunInput, run_inputs
from textgate.components.sources import content_version
from textgate.components.storage import Store
from textgate.components.storage.runs import load_record
from textgate.pipelines import recipes
from textgate.pipelines.cli import main
from textgate.pipelines.sweep import combinations
from textgate.pipelines.training import compile_pipeline


def compiled(folder: Path, recipe: Recipe, *swept: str, name: str = "quickstart-tfidf") -> dict[str, Any]:
    sweep = combinations(swept, lambda chosen: recipes.load(name, chosen)) if swept else []
    path = folder / "pipeline.yaml"
    compile_pipeline(recipe, path, sweep=sweep, inputs=run_inputs(recipe, trained_once=not sweep))
    specification = next(yaml.load_all(path.read_text(), yaml.CSafeLoader))
    assert missing_inputs(specification) == []
    return dict(specification)


def test_inputs_have_types_the_recipes_values_and_descriptions(tmp_path: Path) -> None:
    specification = compiled(tmp_path, recipes.load("quickstart"))
    inputs = specification["root"]["inputDefinitions"]["parameters"]
    kinds = {"NUMBER_DOUBLE": float, "STRUCT": dict, "STRING": str}
    shown = {name: (kinds[one["parameterType"]], one["defaultValue"]) for name, one in inputs.items()}
    assert {**shown, "source": None} == {
        "bucket": (str, "textgate"),
        "source_version": (str, "present"),
        "source": None,
        "model": (str, "quickstart"),
        "learning_rate": (float, 0.0001),
        "epochs": (float, 2),
        "batch_size": (float, 16),
        "min_f1": (float, 0.82),
        "margin": (float, 0.02),
        "min_test_rows": (float, 20),
    }
    assert shown["source"] == (str, recipes.load("quickstart").source.uri)
    assert all(len(one["description"]) > 20 for one in inputs.values())
    assert inputs["min_f1"]["description"].startswith(
        "gate.min_f1: F1 on the test split that the trained model and the"
    )


def test_each_step_gets_its_section_from_configure_and_nothing_else_of_the_recipe(tmp_path: Path) -> None:
    recipe = recipes.load("quickstart-tfidf")
    with_inputs = tasks(compiled(tmp_path, recipe))
    compile_pipeline(recipe, tmp_path / "plain.yaml")
    plain = tasks(next(yaml.load_all((tmp_path / "plain.yaml").read_text(), yaml.CSafeLoader)))
    assert set(with_inputs) - set(plain) == {"configure"}
    assert "cachingOptions" not in with_inputs["configure"] or not with_inputs["configure"]["cachingOptions"]

    changed = {}
    for name, task in plain.items():
        for key, value in task.get("inputs", {}).get("parameters", {}).items():
            other = with_inputs[name]["inputs"]["parameters"][key]
            if other != value:
                source = other.get("taskOutputParameter", {}).get("outputParameterKey")
                changed[f"{name}.{key}"] = source or other["componentInputParameter"].removeprefix(
                    "pipelinechannel--configure-"
                )
    assert changed == {
        "ingest.source": "source",
        "ingest.source_version": "source_version",
        "train.training": "training",
        "gate-trained.recipe": "recipe",
        "gate-served.recipe": "recipe",
        "promote.model": "model",
    }


def test_only_configure_and_ingest_get_the_secrets_of_every_source_that_may_be_given(tmp_path: Path) -> None:
    recipe = recipes.load("quickstart-tfidf")

    def secrets(inputs: Sequence[RunInput]) -> dict[str, set[str]]:
        path = tmp_path / "pipeline.yaml"
        compile_pipeline(recipe, path, inputs=inputs)
        _, platform = yaml.load_all(path.read_text(), yaml.CSafeLoader)
        executors = platform["platforms"]["kubernetes"]["deploymentSpec"]["executors"]
        return {name: {one["secretName"] for one in pod.get("secretAsEnv", [])} for name, pod in executors.items()}

    complete = {"textgate-s3", "textgate-hub", "textgate-sources"}
    assert secrets(run_inputs(recipe)) == {
        **secrets([]),
        "exec-configure": complete | {"textgate-s3-configure"},
        "exec-ingest": complete | {"textgate-s3-data"},
    }


@pytest.mark.parametrize(
    ("overrides", "swept"),
    [
        ([], ["train.C=1,10"]),
        ([], ["preprocess.normalizer.lowercase=true,false"]),
        (["resources.shards=3"], []),
        (["resources.shards=3"], ["preprocess.normalizer.lowercase=true,false"]),
    ],
)
def test_a_sweep_and_shards_have_inputs_but_what_a_sweep_decides_is_none(
    overrides: list[str], swept: list[str], tmp_path: Path
) -> None:
    recipe = recipes.load("quickstart-tfidf", overrides)
    specification = compiled(tmp_path, recipe, *swept)
    inputs = set(specification["root"]["inputDefinitions"]["parameters"])
    assert {"source", "model", "min_f1"} <= inputs
    assert ("C" in inputs) is not bool(swept)
    reader = tasks(specification)["shards" if overrides else "ingest"]
    assert reader["inputs"]["parameters"]["source"]["taskOutputParameter"]["producerTask"] == "configure"


@pytest.mark.parametrize(
    ("overrides", "sentence"),
    [
        (
            ["source.uri=films.csv"],
            "the source {folder}/films.csv is on this machine, where the steps of a cluster cannot",
        ),
        (["source.uri=file:///films.csv"], "the source file:///films.csv is on this machine"),
        (["source.corrections=fixed.csv"], "the file {folder}/fixed.csv is on this machine"),
        (["source.also={more: {uri: more.csv}}"], "and give --set source.also.more.uri=s3://bucket/key"),
        (["evaluate.out_of_domain={tweets: {uri: tweets.csv}}"], "give --set evaluate.out_of_domain.tweets.uri=s3://"),
        (
            ["train={family: embedding, base_model: ./minilm, head: {kind: logistic}}"],
            "the base model ./minilm is on this machine",
        ),
        (
            ["train={family: ensemble, members: [{bundle: films}, {bundle: ./dull}]}"],
            "the bundle {folder}/dull is on this machine",
        ),
    ],
)
def test_compile_refuses_a_path_of_this_machine_as_submit_does(
    overrides: list[str], sentence: str, workspace: ClusterWorkspace
) -> None:
    options = [option for override in overrides for option in ("--set", override)]
    refused = CliRunner().invoke(main, ["compile", "films.yaml", *options, "-o", "films.pipeline.yaml"])
    submitted = workspace.run("submit", "films.yaml", *options)
    assert (refused.exit_code, submitted.exit_code) == (2, 2), refused.output
    assert sentence.format(folder=workspace.folder) in refused.stderr
    assert refused.stderr == submitted.stderr
    assert len(refused.stderr.splitlines()) == 1
    assert not (workspace.folder / "films.pipeline.yaml").exists()
    assert workspace.server.runs == {}


def test_each_combination_of_a_sweep_is_checked_for_paths(workspace: ClusterWorkspace) -> None:
    sweep = "train.distillation.teacher=films@0123456789ab,./teacher"
    overrides = "train={family: transformer, base_model: s3://b/m/, distillation: {teacher: films@0123456789ab}}"
    options = ["--set", overrides, "--sweep", sweep, "-o", "films.pipeline.yaml"]
    refused = CliRunner().invoke(main, ["compile", "films.yaml", *options])
    assert refused.exit_code == 2
    assert f"the bundle {workspace.folder}/teacher is on this machine" in refused.stderr


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::UserWarning", "ignore::RuntimeWarning")
def test_runs_that_plain_kfp_starts_with_changed_inputs_run_only_what_they_change(
    workspace: ClusterWorkspace,
    environment: dict[str, str],
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    store, folder = workspace.store, workspace.folder
    store.put("films.csv", films(wrong=30))
    monkeypatch.setenv("HOME", str(folder))  # kfp.Client writes a file there.
    monkeypatch.setattr(local_config.LocalExecutionConfig, "instance", None)
    none = ("explained_errors", "top_word_texts", "map_texts", "baseline_texts", "label_check_texts")
    analyses = "evaluate={robustness: [], " + ", ".join(f"{name}: 0" for name in none) + "}"
    options = ["--set", analyses, "-o", "films.pipeline.yaml"]
    assert CliRunner().invoke(main, ["compile", "films.yaml", *options]).exit_code == 0

    def run(**arguments: Any) -> tuple[RunRecord, set[str]]:
        recorded = start(workspace, folder / "films.pipeline.yaml", {"bucket": store.bucket, **arguments})
        assert recorded["runtime_config"]["parameters"] == {"bucket": store.bucket, **arguments}
        return run_locally(store, folder, recorded)

    # A changed threshold; the step check-labels is off.
    to_the_gate = {"configure", "ingest", "preprocess", "train", "evaluate", "gate-trained", "record"}
    strict, steps = run(min_f1=0.99)
    assert steps == to_the_gate
    assert strict.changes == ["gate.min_f1 0.99 instead of 0.8"]
    assert strict.recipe["gate"]["min_f1"] == 0.99
    assert strict.source_version == content_version(f"s3://{store.bucket}/films.csv")
    (decision,) = strict.decisions
    assert decision.rules[0].threshold == 0.99
    assert decision.message.startswith("reject: ")
    assert decision.message.endswith("; changed for this run: gate.min_f1 0.99 instead of 0.8")

    # The recipe's threshold and another model: everything before the gate comes from the cache, train included.
    promoted, steps = run(model="films-2")
    after_the_gate = {"merge-quantize", "export-onnx", "evaluate-2", "gate-served", "promote"}
    assert steps == {"configure", "gate-trained", "record"} | after_the_gate
    assert promoted.promotion is not None
    assert promoted.promotion.model == "films-2"
    assert promoted.decisions[-1].changes == ["model films-2 instead of films"]
    assert [decision.rules[0].threshold for decision in promoted.decisions] == [0.8, 0.8]

    # A changed hyper-parameter: train and what follows.
    trained, steps = run(C=0.5, min_f1=0.99)
    assert steps == to_the_gate - {"ingest", "preprocess"}
    assert trained.recipe["train"]["C"] == 0.5
    assert trained.changes == ["train.C 0.5 instead of 10", "gate.min_f1 0.99 instead of 0.8"]

    # A wrong value: only the record is written.
    capfd.readouterr()
    failed, steps = run(min_f1=2.0)
    assert steps == {"record"}
    assert (failed.state, failed.decisions, failed.recipe["gate"]["min_f1"]) == ("FAILED", [], 0.8)
    sentence = "an input of this run is wrong: gate.min_f1: input should be less than or equal to 1, but it is 2.0\n"
    assert f"textgate error: {sentence}" in capfd.readouterr().out


def start(workspace: ClusterWorkspace, file: Path, arguments: dict[str, Any]) -> dict[str, Any]:
    """Start a run by kfp's own client; return what the server received."""
    with warnings.catch_warnings(action="ignore"):
        from kfp import Client

        client = Client(host=workspace.server.address)
        started = client.create_run_from_pipeline_package(str(file), arguments=arguments, run_name="films by hand")
    return dict(workspace.server.runs[started.run_id])


def run_locally(store: Store, folder: Path, recorded: dict[str, Any]) -> tuple[RunRecord, set[str]]:
    """Run what the server received by kfp.local alone; return the run's record and the steps that were not cached."""
    root = folder / "runs"
    local.init(
        runner=local.SubprocessRunner(use_venv=False),
        pipeline_root=str(root),
        enable_caching=True,
        cache_root=str(folder / "cache"),
        raise_on_error=False,
    )
    file, specification = folder / "recorded.yaml", recorded["pipeline_spec"]["pipeline_spec"]
    for task in tasks(specification).values():
        task.pop("retryPolicy", None)  # kfp.local would wait between the attempts of a step that fails.
    file.write_text(json.dumps(specification))
    before, records = set(root.glob("*")), set(store.prefixes("runs/"))
    components.load_component_from_file(str(file))(**recorded["runtime_config"]["parameters"])
    (run,) = set(store.prefixes("runs/")) - records
    (created,) = set(root.glob("*")) - before
    return load_record(store, run.removeprefix("runs/").rstrip("/")), {path.name for path in created.glob("*")}


def films(rows: int = 300, wrong: int = 0) -> bytes:
    """Return reviews that a bag of words separates, except for the first ``wrong`` ones."""
    rng = random.Random(13)
    lines = ["text,label"]
    for index in range(rows):
        label = index % 2
        sentiment = label if index >= wrong else 1 - label
        words = rng.sample([f"word{n}" for n in range(150)], 6)
        lines.append(f"{' '.join(words)} {'good' if sentiment else 'bad'},{['bad', 'good'][label]}")
    return "\n".join([*lines, ""]).encode()
