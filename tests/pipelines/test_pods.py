"""Pod settings of the steps of every shipped recipe: resources, credentials, images, retries and cache keys."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import yaml
from pipelines.specification import ALWAYS_RUN, missing_inputs, tasks

from textgate.components.contracts import Compute, InputError, Recipe, bundle_references
from textgate.components.image import Images
from textgate.components.sources import SOURCE_URLS
from textgate.components.tracking.services import VARIABLES
from textgate.pipelines import recipes
from textgate.pipelines.code_version import code_version, step_module
from textgate.pipelines.sweep import Combination, combinations
from textgate.pipelines.training import compile_pipeline

DIGESTS = [f"sha256:{'1' * 64}", f"sha256:{'2' * 64}"]
IMAGES = Images(f"registry.example/steps@{DIGESTS[0]}", f"registry.example/gpu@{DIGESTS[1]}")
ON_DEVICE = {"train", "evaluate", "merge-quantize"}
SERVED = {"export-onnx", "evaluate-2", "gate-served"}
LIGHT = {"ingest", "preprocess", "check-labels", "gate-trained", "record"}
STEPS = ON_DEVICE | SERVED | LIGHT | {"promote"}
STEP_ROLES = {
    "configure": "configure",
    "gate-trained": "gate",
    "gate-served": "gate",
    "record": "gate",
    "promote": "promote",
    "train": "train",
}
SELECTS = {"select", "select-with-dataset"}
CLASSICAL = {"imdb-tfidf", "quickstart-ensemble", "quickstart-tfidf", "toxic-lsa", "toxic-word2vec"}
ON_GPU = {
    *("agnews-distilbert", "clickbait-bert-base", "clickbait-bert-large", "clickbait-llama2-7b", "clickbait-llama3-8b"),
    *("clickbait-mistral-7b", "imdb-distilbert", "reviews-flan-t5-large", "reviews-stella-logreg"),
    *("reviews-stella-mlp", "reviews-stella-qlora", "reviews-stella-svm", "toxic-bert", "toxic-llama-1b-prompt"),
}
# Recipes that may serve a Hugging Face folder, which is exported and judged on the accelerator too.
WITH_FOLDER = {"clickbait-llama2-7b", "clickbait-llama3-8b", "clickbait-mistral-7b"}


class Step(NamedTuple):
    """A step in the compiled pipeline."""

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


def environment_keys(sources: list[dict[str, Any]], name: str, key: str) -> dict[str, str]:
    """Return the key of each variable from the secret or config map of this name, which must be optional."""
    (source,) = (one for one in sources if one[f"{name}Name"] == key)
    assert source["optional"] is True
    return {pair["envVar"]: pair.get("secretKey") or pair["configMapKey"] for pair in source["keyToEnv"]}


@pytest.mark.parametrize("name", recipes.names())
def test_the_steps_of_every_recipe_request_what_they_need(name: str, tmp_path: Path) -> None:
    recipe = recipes.load(name)
    specification, platform = compiled(tmp_path, recipe)
    assert missing_inputs(specification) == []
    assert platform["pipelineConfig"] == {"resourceTtlOnCompletion": 604_800, "activeDeadlineSeconds": 604_800}
    assert tasks(specification)["record"]["triggerPolicy"]["strategy"] == "ALL_UPSTREAM_TASKS_COMPLETED"
    found = {step.name: step for step in steps(specification, platform)}
    assert found.keys() == STEPS
    for step in found.values():
        check_step(step, recipe)

    # Only the steps that run the model in PyTorch get a GPU, and only for families that use one.
    resources = recipe.resources
    placed = {step.name for step in found.values() if "accelerator" in step.container["resources"]}
    expected = (ON_DEVICE if name in ON_GPU else set()) | (SERVED if name in WITH_FOLDER else set())
    assert placed == expected
    for step in placed:
        requested = found[step].container["resources"]["accelerator"]
        assert resources.accelerator
        assert (requested["resourceType"], requested["resourceCount"]) == (
            "nvidia.com/gpu",
            str(resources.accelerator.count),
        )
        assert found[step].platform["emptyDirMounts"] == [
            {"volumeName": "shm", "mountPath": "/dev/shm", "medium": "Memory", "sizeLimit": resources.shm}
        ]
        # The taint of nodes with GPUs, which no recipe has to name.
        assert found[step].platform["tolerations"] == [
            {"key": "nvidia.com/gpu", "operator": "Exists", "effect": "NoSchedule"}
        ]
    for step in found.keys() - placed:
        assert not {"emptyDirMounts", "nodeSelector", "tolerations"} & found[step].platform.keys()
    images = {step.name: step.container["image"] for step in found.values()}
    assert images == {step: IMAGES.gpu if step in placed else IMAGES.cpu for step in STEPS}


def check_step(step: Step, recipe: Recipe, *, swept: bool = False) -> None:
    compute = recipe.resources if step.name in ON_DEVICE else recipe.resources.export
    if step.name in LIGHT | SELECTS:
        compute = Compute()
    requested = step.container["resources"]
    assert (requested["resourceCpuRequest"], requested["resourceCpuLimit"]) == (compute.cpu, compute.cpu)
    assert (requested["resourceMemoryRequest"], requested["resourceMemoryLimit"]) == (compute.memory, compute.memory)
    seconds = int(compute.hours * 3600)
    assert int(step.platform["activeDeadlineSeconds"]) == seconds
    # Three attempts; Argo's time limit covers all of them.
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
    check_secrets(step, recipe)
    variable = "TEXTGATE_RUN_GROUP" if swept else "TEXTGATE_RUN"
    runs = [(one["name"], one["fieldPath"]) for one in step.platform.get("fieldPathAsEnv", [])]
    assert runs == [(variable, "metadata.labels['pipeline/runid']")] * (step.name == "train")
    settings = ["AWS_ENDPOINT_URL", "AWS_ENDPOINT_URL_S3", "AWS_REGION"]
    assert environment_keys(step.platform["configMapAsEnv"], "configMap", "textgate") == {key: key for key in settings}

    cached = step.task.get("cachingOptions", {}).get("enableCache", False)
    # Shipped recipes name bundles without a version, which may be others in the next run.
    assert cached is (step.name not in (ALWAYS_RUN | {"train"} if bundle_references(recipe.train) else ALWAYS_RUN))
    arguments = step.task["inputs"]["parameters"]
    if cached:
        code = arguments["code"]["runtimeValue"]["constant"]
        component = step.name.removesuffix("-2").removesuffix("-with-dataset").replace("-", "_")
        families = {recipe.train.family}
        assert code == " ".join([code_version(step_module(component), families), *DIGESTS])
    elif "run" in arguments:
        assert arguments["run"]["runtimeValue"]["constant"] == "{{$.pipeline_job_uuid}}"


def check_secrets(step: Step, recipe: Recipe) -> None:
    """Check that a step gets the key of its role, the hub's token and the URLs only if it needs them."""
    read = [getattr(recipe.train, "base_model", "")] if step.name in ON_DEVICE else []
    read += bundle_references(recipe.train) if step.name == "train" else []
    read += [recipe.source.uri] if step.name == "ingest" else []
    role = STEP_ROLES.get(step.name) or ("data" if any(uri.startswith(("s3:", "feedback:")) for uri in read) else None)
    expected = {"textgate-s3", f"textgate-s3-{role}"} if role else set()
    expected |= {"textgate-hub"} if any(uri.startswith("hf:") for uri in read) else set()
    expected |= {"textgate-sources"} if any(uri.startswith("http") for uri in read) else set()
    # Only the steps that log to the tracking services get their keys.
    tracks = step.name in {"train", "record"}
    expected |= {"textgate-tracking"} if tracks else set()
    secrets = step.platform.get("secretAsEnv", [])
    assert {secret["secretName"] for secret in secrets} == expected
    if tracks:
        assert environment_keys(secrets, "secret", "textgate-tracking") == {name: name for name in VARIABLES}
    if "bucket" in step.task["inputs"]["parameters"]:
        assert role, "a step that uses the store needs a role"
    if role:
        names = ["ACCESS_KEY_ID", "SECRET_ACCESS_KEY", "SESSION_TOKEN"]
        simple = {f"AWS_{name}": f"AWS_{name}" for name in names}
        assert environment_keys(secrets, "secret", "textgate-s3") == simple
        of_role = {f"TEXTGATE_{name}": f"AWS_{name}" for name in names}
        assert environment_keys(secrets, "secret", f"textgate-s3-{role}") == of_role
    if "textgate-hub" in expected:
        assert environment_keys(secrets, "secret", "textgate-hub") == {"HF_TOKEN": "HF_TOKEN"}
    if "textgate-sources" in expected:
        assert environment_keys(secrets, "secret", "textgate-sources") == {SOURCE_URLS: SOURCE_URLS}
    # Argo merges the variables of one name into one, whose secret may not exist.
    variables = [pair["envVar"] for secret in secrets for pair in secret["keyToEnv"]]
    assert len(variables) == len(set(variables))


@pytest.mark.parametrize(
    ("overrides", "step", "secrets"),
    [
        (["source.uri=s3://textgate/data/films.csv"], "ingest", ["textgate-s3", "textgate-s3-data"]),
        (["source.uri=feedback://films"], "ingest", ["textgate-s3", "textgate-s3-data"]),
        (["source.uri=https://example.org/films.csv"], "ingest", ["textgate-sources"]),
        (["source.uri=hf://org/films"], "ingest", ["textgate-hub"]),
        (["source.corrections=s3://textgate/data/fixes.csv"], "ingest", ["textgate-s3", "textgate-s3-data"]),
        (["train.base_model=s3://textgate/data/bert/"], "evaluate", ["textgate-s3", "textgate-s3-data"]),
        (["train.base_model=s3://textgate/data/bert/"], "evaluate-2", []),
        (["evaluate.out_of_domain={other: {uri: hf://org/films}}"], "ingest", ["textgate-hub"]),
    ],
    ids=str,
)
def test_a_step_gets_the_secrets_of_what_it_reads(
    overrides: list[str], step: str, secrets: list[str], tmp_path: Path
) -> None:
    # A pipeline may have several steps of one name: those in a loop.
    found = [one for one in steps(*compiled(tmp_path, recipes.load("quickstart", overrides))) if one.name == step]
    held = [sorted(secret["secretName"] for secret in one.platform.get("secretAsEnv", [])) for one in found]
    assert secrets in held


def test_the_lists_of_recipes_are_complete() -> None:
    families = {name: recipes.load(name).train.uses_accelerator for name in recipes.names()}
    assert {name for name, uses in families.items() if not uses} == CLASSICAL
    assert {name for name in families if recipes.load(name).resources.accelerator} == ON_GPU


OVERRIDES = [
    "resources.cpu=500m",
    "resources.memory=32Gi",
    "resources.hours=0.5",
    "resources.shm=8G",
    "resources.accelerator={type: amd.com/gpu, count: 2}",
    "resources.node_selector={pool: gpu}",
    "resources.tolerations=[{key: pool, value: gpu}, {key: amd.com/gpu, operator: Exists, effect: NoSchedule}]",
    "resources.export={cpu: '4', memory: 6G, hours: 2}",
]
SWEEPS = [(), ("train.epochs=1,2",), ("preprocess.normalizer.lowercase=true,false",)]


@pytest.mark.parametrize("swept", SWEEPS, ids=str)
def test_only_steps_on_an_accelerator_get_a_node_selector(swept: tuple[str, ...], tmp_path: Path) -> None:
    found = combinations(swept, lambda chosen: recipes.load("quickstart", [*OVERRIDES, *chosen])) if swept else []
    recipe = recipes.load("quickstart", OVERRIDES)
    seen = set()
    for step in steps(*compiled(tmp_path, recipe, found)):
        check_step(step, recipe, swept=bool(swept))
        seen.add(step.name)
        if step.name in ON_DEVICE:
            requested = step.container["resources"]["accelerator"]
            assert (requested["resourceType"], requested["resourceCount"]) == ("amd.com/gpu", "2")
            assert step.platform["nodeSelector"] == {"labels": {"pool": "gpu"}}
            assert step.platform["tolerations"] == [
                {"key": "pool", "operator": "Equal", "value": "gpu"},
                {"key": "amd.com/gpu", "operator": "Exists", "effect": "NoSchedule"},
            ]
            assert step.platform["emptyDirMounts"][0]["sizeLimit"] == "8G"
        else:
            assert "nodeSelector" not in step.platform
    assert seen - SELECTS == STEPS


def test_exporting_a_folder_gets_an_accelerator_unless_the_family_uses_none(tmp_path: Path) -> None:
    # promote only copies the folder and gets no accelerator.
    folder = recipes.load("quickstart", [*OVERRIDES, "export.targets=[onnx-int8, hf]"])
    on_device = {step.name for step in steps(*compiled(tmp_path, folder)) if "nodeSelector" in step.platform}
    assert on_device == ON_DEVICE | SERVED

    classical = recipes.load("quickstart-tfidf", OVERRIDES)
    for step in steps(*compiled(tmp_path, classical)):
        assert "accelerator" not in step.container["resources"]
        assert "nodeSelector" not in step.platform
        assert step.container["image"] == IMAGES.cpu


@pytest.mark.parametrize(
    "override", ["resources.memory=lots", "resources.cpu='0'", "resources.shm=1 GB", "resources.hours=0"]
)
def test_quantities_that_kubernetes_would_reject_are_errors(override: str) -> None:
    with pytest.raises(InputError, match="resources\\.") as raised:
        recipes.load("quickstart", [override])
    assert "\n" not in str(raised.value)
