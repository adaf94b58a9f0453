"""What every shipped recipe asks of a cluster, in the file that is compiled: the specification and its platform."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import yaml
from pipelines.specification import ALWAYS_RUN, missing_inputs, tasks

from textgate.components.contracts import Compute, InputError, Recipe, bundle_references
from textgate.components.image import Images
from textgate.pipelines import recipes
from textgate.pipelines.code_version import code_version, step_module
from textgate.pipelines.sweep import Combination, combinations
from textgate.pipelines.training import compile_pipeline

DIGESTS = [f"sha256:{'1' * 64}", f"sha256:{'2' * 64}"]
IMAGES = Images(f"registry.example/steps@{DIGESTS[0]}", f"registry.example/gpu@{DIGESTS[1]}")
ON_DEVICE = {"train", "evaluate", "merge-quantize"}
SERVED = {"export-onnx", "evaluate-2", "gate-served"}
LIGHT = {"ingest", "preprocess", "gate-trained", "record"}
STEPS = ON_DEVICE | SERVED | LIGHT | {"promote"}
SELECTS = {"select", "select-with-dataset"}
CLASSICAL = {"imdb-tfidf", "quickstart-ensemble", "quickstart-tfidf", "toxic-lsa", "toxic-word2vec"}
ON_GPU = {
    *("agnews-distilbert", "clickbait-bert-base", "clickbait-bert-large", "clickbait-llama2-7b", "clickbait-llama3-8b"),
    *("clickbait-mistral-7b", "imdb-distilbert", "reviews-flan-t5-large", "reviews-stella-logreg"),
    *("reviews-stella-mlp", "reviews-stella-qlora", "reviews-stella-svm", "toxic-bert", "toxic-llama-1b-prompt"),
}
# What they serve may be a folder, which is made and judged on the device as well.
WITH_FOLDER = {"clickbait-llama2-7b", "clickbait-llama3-8b", "clickbait-mistral-7b"}


class Step(NamedTuple):
    """One step, as a cluster reads it."""

    name: str
    task: dict[str, Any]
    container: dict[str, Any]
    platform: dict[str, Any]


def compiled(
    tmp_path: Path, recipe: Recipe, sweep: Sequence[Combination] = ()
) -> tuple[dict[str, Any], dict[str, Any]]:
    path = tmp_path / "pipeline.yaml"
    compile_pipeline(recipe, path, IMAGES, sweep)
    specification, platform = yaml.load_all(path.read_text(), yaml.CSafeLoader)
    return specification, platform["platforms"]["kubernetes"]


def steps(specification: dict[str, Any], platform: dict[str, Any]) -> Iterator[Step]:
    for name, task in tasks(specification).items():
        component = specification["components"][task["componentRef"]["name"]]
        if label := component.get("executorLabel"):
            container = specification["deploymentSpec"]["executors"][label]["container"]
            yield Step(name, task, container, platform["deploymentSpec"]["executors"][label])


def given_keys(sources: list[dict[str, Any]], name: str, key: str) -> dict[str, str]:
    """Variable to key, of the one secret or config map of that name, which may be missing."""
    (source,) = (one for one in sources if one[f"{name}Name"] == key)
    assert source["optional"] is True
    return {pair["envVar"]: pair.get("secretKey") or pair["configMapKey"] for pair in source["keyToEnv"]}


@pytest.mark.parametrize("name", recipes.names())
def test_every_recipe_asks_for_what_its_steps_need(name: str, tmp_path: Path) -> None:
    recipe = recipes.load(name)
    specification, platform = compiled(tmp_path, recipe)
    assert missing_inputs(specification) == []
    assert platform["pipelineConfig"] == {"resourceTtlOnCompletion": 604_800, "activeDeadlineSeconds": 604_800}
    assert tasks(specification)["record"]["triggerPolicy"]["strategy"] == "ALL_UPSTREAM_TASKS_COMPLETED"
    found = {step.name: step for step in steps(specification, platform)}
    assert found.keys() == STEPS
    for step in found.values():
        check_step(step, recipe)

    # A GPU only for the families that compute on one, and only for the steps in which they do.
    resources = recipe.resources
    placed = {step.name for step in found.values() if "accelerator" in step.container["resources"]}
    expected = (ON_DEVICE if name in ON_GPU else set()) | (SERVED if name in WITH_FOLDER else set())
    assert placed == expected
    for step in placed:
        asked = found[step].container["resources"]["accelerator"]
        assert resources.accelerator
        assert (asked["resourceType"], asked["resourceCount"]) == ("nvidia.com/gpu", str(resources.accelerator.count))
        assert found[step].platform["emptyDirMounts"] == [
            {"volumeName": "shm", "mountPath": "/dev/shm", "medium": "Memory", "sizeLimit": resources.shm}
        ]
    for step in found.keys() - placed:
        assert not {"emptyDirMounts", "nodeSelector", "tolerations"} & found[step].platform.keys()
    images = {step.name: step.container["image"] for step in found.values()}
    assert images == {step: IMAGES.gpu if step in placed else IMAGES.cpu for step in STEPS}


def check_step(step: Step, recipe: Recipe) -> None:
    compute = recipe.resources if step.name in ON_DEVICE else recipe.resources.export
    if step.name in LIGHT | SELECTS:
        compute = Compute()
    asked = step.container["resources"]
    assert (asked["resourceCpuRequest"], asked["resourceCpuLimit"]) == (compute.cpu, compute.cpu)
    assert (asked["resourceMemoryRequest"], asked["resourceMemoryLimit"]) == (compute.memory, compute.memory)
    seconds = int(compute.hours * 3600)
    assert int(step.platform["activeDeadlineSeconds"]) == seconds
    # Three tries, and no try is cut short by Argo's limit for all of them.
    assert step.task["retryPolicy"] == {
        "maxRetryCount": 2,
        "backoffDuration": "60s",
        "backoffFactor": 2.0,
        "backoffMaxDuration": f"{3 * seconds + 240}s",
    }
    assert step.platform["podMetadata"]["labels"] == {
        "app.kubernetes.io/name": "textgate",
        "app.kubernetes.io/instance": recipe.name,
        "app.kubernetes.io/component": step.name,
    }
    assert step.platform["securityContext"] == {"runAsUser": "10001", "runAsGroup": "10001", "runAsNonRoot": True}
    keys = ["AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN"]
    secrets = step.platform["secretAsEnv"]
    assert given_keys(secrets, "secret", "textgate-s3") == {key: key for key in keys}
    assert given_keys(secrets, "secret", "textgate-hub") == {"HF_TOKEN": "HF_TOKEN"}
    settings = ["AWS_ENDPOINT_URL", "AWS_ENDPOINT_URL_S3", "AWS_REGION"]
    assert given_keys(step.platform["configMapAsEnv"], "configMap", "textgate") == {key: key for key in settings}

    cached = step.task.get("cachingOptions", {}).get("enableCache", False)
    # The finished systems that shipped recipes name may be others by the next run.
    assert cached is (step.name not in (ALWAYS_RUN | {"train"} if bundle_references(recipe.train) else ALWAYS_RUN))
    arguments = step.task["inputs"]["parameters"]
    if cached:
        code = arguments["code"]["runtimeValue"]["constant"]
        component = step.name.removesuffix("-2").removesuffix("-with-dataset").replace("-", "_")
        families = {recipe.train.family}
        assert code == " ".join([code_version(step_module(component), families), *DIGESTS])
    elif "run" in arguments:
        assert arguments["run"]["runtimeValue"]["constant"] == "{{$.pipeline_job_uuid}}"


def test_the_recipes_above_are_all_there_are() -> None:
    families = {name: recipes.load(name).train.uses_accelerator for name in recipes.names()}
    assert {name for name, uses in families.items() if not uses} == CLASSICAL
    assert {name for name in families if recipes.load(name).resources.accelerator} == ON_GPU


ASKED = [
    "resources.cpu=500m",
    "resources.memory=32Gi",
    "resources.hours=0.5",
    "resources.shm=8G",
    "resources.accelerator={type: amd.com/gpu, count: 2}",
    "resources.node_selector={pool: gpu}",
    "resources.tolerations=[{key: amd.com/gpu, operator: Exists, effect: NoSchedule}]",
    "resources.export={cpu: '4', memory: 6G, hours: 2}",
]
SWEEPS = [(), ("train.epochs=1,2",), ("preprocess.normalizer.lowercase=true,false",)]


@pytest.mark.parametrize("swept", SWEEPS, ids=str)
def test_a_node_is_chosen_for_the_steps_on_a_device(swept: tuple[str, ...], tmp_path: Path) -> None:
    found = combinations(swept, lambda chosen: recipes.load("quickstart", [*ASKED, *chosen])) if swept else []
    recipe = recipes.load("quickstart", ASKED)
    seen = set()
    for step in steps(*compiled(tmp_path, recipe, found)):
        check_step(step, recipe)
        seen.add(step.name)
        if step.name in ON_DEVICE:
            asked = step.container["resources"]["accelerator"]
            assert (asked["resourceType"], asked["resourceCount"]) == ("amd.com/gpu", "2")
            assert step.platform["nodeSelector"] == {"labels": {"pool": "gpu"}}
            assert step.platform["tolerations"] == [
                {"key": "amd.com/gpu", "operator": "Exists", "effect": "NoSchedule"}
            ]
            assert step.platform["emptyDirMounts"][0]["sizeLimit"] == "8G"
        else:
            assert "nodeSelector" not in step.platform
    assert seen - SELECTS == STEPS


def test_a_device_is_given_where_a_folder_is_made_but_not_to_a_family_without_use_for_it(tmp_path: Path) -> None:
    # Copying a Hugging Face folder takes no device.
    folder = recipes.load("quickstart", [*ASKED, "export.targets=[onnx-int8, hf]"])
    on_device = {step.name for step in steps(*compiled(tmp_path, folder)) if "nodeSelector" in step.platform}
    assert on_device == ON_DEVICE | SERVED

    classical = recipes.load("quickstart-tfidf", ASKED)
    for step in steps(*compiled(tmp_path, classical)):
        assert "accelerator" not in step.container["resources"]
        assert "nodeSelector" not in step.platform
        assert step.container["image"] == IMAGES.cpu


@pytest.mark.parametrize(
    "override", ["resources.memory=lots", "resources.cpu='0'", "resources.shm=1 GB", "resources.hours=0"]
)
def test_what_kubernetes_would_refuse_is_refused_before(override: str) -> None:
    with pytest.raises(InputError, match="resources\\.") as raised:
        recipes.load("quickstart", [override])
    assert "\n" not in str(raised.value)
