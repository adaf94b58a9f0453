"""Training on several machines: the TrainJob that the step creates, follows and deletes."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from train.cluster import NAMESPACE, Cluster, serving

from textgate.components.contracts import Distillation, InputError, ModelBundle, Resources, TransformerTraining
from textgate.components.contracts.training_cost import read_training_cost
from textgate.components.storage import Store
from textgate.components.train import multi_node
from textgate.components.train.launch import TrainingJob, run
from textgate.components.train.multi_node import run_on_nodes

RESOURCES = Resources.model_validate(
    {
        "cpu": "8",
        "memory": "32G",
        "nodes": 2,
        "node_selector": {"pool": "gpu"},
        "tolerations": [{"key": "nvidia.com/gpu", "operator": "Exists", "effect": "NoSchedule"}],
    }
)


@pytest.fixture
def cluster(tmp_path: Path, environment: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> Iterator[Cluster]:
    """A cluster as the train step's pod sees it, with the store's keys in a secret."""
    folder = tmp_path / "cluster"
    folder.mkdir()
    cluster = Cluster(folder)
    keys = ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY")
    cluster.secrets["store"] = {key: environment[key] for key in keys}
    cluster.pod = {
        "metadata": {"name": "films-train-1", "uid": "a-uid", "namespace": NAMESPACE},
        "spec": {
            "serviceAccountName": "pipeline-runner",
            "containers": [
                {"name": "wait", "image": "argoexec:1"},
                {
                    "name": "main",
                    "image": "registry.example/train@sha256:1",
                    "securityContext": {"runAsNonRoot": True},
                    "env": [
                        {"name": "KFP_POD_NAME", "valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}}},
                        {"name": "AWS_ROLE_ARN", "value": "what the cluster gives by itself"},
                        *({"name": name, "value": value} for name, value in environment.items() if name not in keys),
                        *({"name": key, "valueFrom": {"secretKeyRef": {"name": "store", "key": key}}} for key in keys),
                    ],
                },
            ],
        },
        "status": {"phase": "Running"},
    }
    with serving(cluster) as kubeconfig:
        monkeypatch.setenv("KUBERNETES_SERVICE_HOST", "127.0.0.1")
        monkeypatch.setenv("KUBECONFIG", str(kubeconfig))
        monkeypatch.setenv("KFP_POD_NAME", "films-train-1")
        yield cluster


@pytest.fixture
def job(dataset: Path, training: TransformerTraining, store: Store, tmp_path: Path) -> TrainingJob:
    (tmp_path / "logs").mkdir()
    return TrainingJob(dataset, "films", training, "code", store.bucket, tmp_path / "model", tmp_path / "logs")


@pytest.mark.slow
def test_two_machines_reach_the_loss_of_one_process(
    job: TrainingJob,
    cluster: Cluster,
    without_dropout: Path,
    store: Store,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
    scalars: Callable[[Path], dict[str, dict[int, float]]],
) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    settings = job.training.model_copy(
        update={"base_model": str(without_dropout), "micro_batch_size": None, "epochs": 1}
    )
    alone = run(
        TrainingJob(job.dataset, "films", settings, "code", store.bucket, tmp_path / "1/model", tmp_path / "1/logs")
    )
    capfd.readouterr()
    together = run_on_nodes(
        TrainingJob(job.dataset, "films", settings, "code", store.bucket, job.model, job.logs), RESOURCES
    )
    output = capfd.readouterr().out

    expected, actual = scalars(tmp_path / "1/logs"), scalars(job.logs)
    assert actual.keys() == expected.keys()
    for tag, values in expected.items():
        assert actual[tag] == pytest.approx(values, rel=1e-3, abs=1e-4), tag
    assert together.metrics == pytest.approx(alone.metrics, abs=1e-4)
    assert ModelBundle.load(job.model) == together

    # Each line is printed once, in the step's own output.
    assert output.count("8 texts an update, 4 at once on 2 device(s)") == 1
    assert output.count("\nepoch 0.35") == 1
    assert "textgate worked seconds" not in output
    (name,) = cluster.deleted
    assert f"created the TrainJob {name} on 2 nodes" in output
    # No data or checkpoints are left in the store, and the manifest holds no secret.
    assert list(store.objects("")) == []
    assert cluster.secrets["store"]["AWS_SECRET_ACCESS_KEY"] not in json.dumps(cluster.created)


def test_the_cost_counts_the_accelerators_of_all_machines_and_leaves_open_what_the_step_cannot_know(
    job: TrainingJob,
    store: Store,
    write_bundle: Callable[[Path, bytes], Path],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def train(_name: str, command: list[str], _resources: Resources) -> None:
        store.upload_folder(write_bundle(tmp_path / "made", b"1"), f"{command[-1]}/made/model")
        store.put(f"{command[-1]}/made/logs/README.md", b"logs")

    monkeypatch.setattr(multi_node, "run_train_job", train)
    student = job.training.model_copy(update={"distillation": Distillation(teacher=str(tmp_path / "teacher"))})
    accelerator = Resources.model_validate({"accelerator": {"count": 4}}).accelerator
    run_on_nodes(replace(job, training=student), RESOURCES.model_copy(update={"accelerator": accelerator}))
    cost = read_training_cost(job.model)
    assert cost is not None
    assert (cost.accelerators, cost.cpu_seconds) == (8, None)
    assert [(each.role, each.cost) for each in cost.earlier] == [("teacher", None)]


def test_the_pods_copy_the_step_and_get_the_requested_resources(job: TrainingJob, cluster: Cluster) -> None:
    cluster.script = ([["textgate error: enough"], []], [])
    gpus = RESOURCES.model_copy(
        update={"accelerator": Resources.model_validate({"accelerator": {"count": 4}}).accelerator}
    )
    with pytest.raises(InputError, match=r"^enough$"):
        run_on_nodes(job, gpus)
    (created,) = cluster.created
    assert created["metadata"]["ownerReferences"] == [
        {"apiVersion": "v1", "kind": "Pod", "name": "films-train-1", "uid": "a-uid"}
    ]
    trainer = created["spec"]["trainer"]
    assert trainer["image"] == "registry.example/train@sha256:1"
    assert trainer["command"][:3] == ["torchrun", "-m", "textgate.components.train.node"]
    assert (trainer["numNodes"], trainer["numProcPerNode"]) == (2, 4)
    assert trainer["resourcesPerNode"]["limits"] == {"cpu": "8", "memory": "32G", "nvidia.com/gpu": "4"}
    variables = {variable["name"] for variable in trainer["env"]}
    assert "AWS_SECRET_ACCESS_KEY" in variables
    assert variables.isdisjoint({"KFP_POD_NAME", "AWS_ROLE_ARN"})
    (patch,) = created["spec"]["runtimePatches"]
    (node,) = patch["trainingRuntimeSpec"]["template"]["spec"]["replicatedJobs"]
    pod = node["template"]["spec"]["template"]["spec"]
    assert pod["serviceAccountName"] == "pipeline-runner"
    assert pod["nodeSelector"] == {"pool": "gpu"}
    assert pod["tolerations"] == [{"key": "nvidia.com/gpu", "operator": "Exists", "effect": "NoSchedule"}]
    (container,) = pod["containers"]
    assert container["securityContext"] == {"runAsNonRoot": True}
    assert container["volumeMounts"] == [{"name": pod["volumes"][0]["name"], "mountPath": "/dev/shm"}]


def test_an_input_error_of_a_node_is_the_error_of_the_step(
    job: TrainingJob, cluster: Cluster, store: Store, capfd: pytest.CaptureFixture[str]
) -> None:
    cluster.script = ([["loading"], ["textgate error: the checkpoint x cannot be loaded"]], [])
    with pytest.raises(InputError, match=r"^the checkpoint x cannot be loaded$"):
        run_on_nodes(job, RESOURCES)
    assert "loading" in capfd.readouterr().out
    assert len(cluster.deleted) == 1
    assert list(store.objects("")) == []
    assert not job.model.exists()


def test_a_job_that_fails_is_one_sentence_with_its_last_lines(job: TrainingJob, cluster: Cluster, store: Store) -> None:
    failed = {"type": "Failed", "status": "True", "reason": "JobSetFailed", "message": "a pod was killed"}
    cluster.script = ([["training", "CUDA out of memory"], ["Connection reset"]], [failed])
    with pytest.raises(InputError) as error:
        run_on_nodes(job, RESOURCES)
    assert str(error.value) == (
        f"the TrainJob {cluster.deleted[0]} failed (JobSetFailed: a pod was killed); "
        "its last lines: training | CUDA out of memory | node 1: Connection reset"
    )
    assert list(store.objects("")) == []


def test_a_rejected_job_leaves_nothing_in_the_store(job: TrainingJob, cluster: Cluster, store: Store) -> None:
    cluster.refusals.append(("POST", 422, "said the server"))
    with pytest.raises(InputError, match=r"Kubernetes answered 422 \(said the server\)$"):
        run_on_nodes(job, RESOURCES)
    assert cluster.created == []
    assert list(store.objects("")) == []


def test_transient_api_errors_are_retried_while_the_job_runs(
    job: TrainingJob, cluster: Cluster, capfd: pytest.CaptureFixture[str]
) -> None:
    failed = {"type": "Failed", "status": "True", "reason": "r", "message": "m"}
    cluster.script = ([["only once"], ["a second"]], [failed])
    # Reject one request for the state, then one for the log of the second pod, after that of the first was read.
    cluster.refusals += [("GET /apis", 503, "try again"), ("-node-0-1-", 500, "try again")]
    with pytest.raises(InputError, match="failed"):
        run_on_nodes(job, RESOURCES)
    output = capfd.readouterr().out
    assert output.count("only once") == 1
    assert output.count("node 1: a second") == 1


def test_a_log_that_is_not_readable_yet_is_skipped(job: TrainingJob, cluster: Cluster) -> None:
    failed = {"type": "Failed", "status": "True", "reason": "r", "message": "m"}
    cluster.script = ([["of the first"], ["of the second"]], [failed])
    cluster.refusals.append(("-node-0-0-", 400, "container node is waiting to start"))
    with pytest.raises(InputError, match="its last lines: node 1: of the second"):
        run_on_nodes(job, RESOURCES)


STEP = """
import sys
from types import SimpleNamespace
from textgate.components.train.component import train

dataset, settings, bucket, folder, nodes = sys.argv[1:]
artifact = lambda path: SimpleNamespace(path=path, metadata={})
train.python_func(
    artifact(dataset), "films", settings, "code", bucket, artifact(folder + "/m"), artifact(folder + "/l"), nodes
)
"""


def test_a_terminated_step_deletes_its_job(job: TrainingJob, cluster: Cluster, store: Store, tmp_path: Path) -> None:
    cluster.script = ([["training"], []], [])
    arguments = [str(job.dataset), job.training.model_dump_json(), store.bucket, str(tmp_path)]
    step = subprocess.Popen([sys.executable, "-c", STEP, *arguments, RESOURCES.model_dump_json()], env=os.environ)
    assert cluster.polled.wait(60)
    step.send_signal(signal.SIGTERM)
    assert step.wait() == 128 + signal.SIGTERM
    assert cluster.deleted == [created["metadata"]["name"] for created in cluster.created]
    assert len(cluster.deleted) == 1
    assert list(store.objects("")) == []
