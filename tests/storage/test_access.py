"""Each role of ``access`` tries what it may and what it may not do, on a real S3 server with the generated policies."""

import json
import re
from collections.abc import Callable, Iterator
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from serving.server_process import start_server
from storage.test_judgements import judgement
from words import write_words

from textgate.components.contracts import GateDecision, ModelBundle, Rule, StoreError
from textgate.components.contracts.run_configuration import RunConfiguration
from textgate.components.promote.promote import promote_bundle
from textgate.components.record.record import record_run
from textgate.components.storage import EmbeddedStore, Registry, Store, repaired_channel
from textgate.components.storage.access import ROLES, Role, SourceFolder, policy, seaweedfs_config
from textgate.components.storage.deletion import delete_objects, incomplete_uploads
from textgate.components.storage.errors import AccessDeniedError
from textgate.components.storage.runs import save_configuration, save_decision, save_promotion
from textgate.components.storage.s3_settings import ROLE_VARIABLES
from textgate.components.train.checkpoints import StoreCheckpoints
from textgate.pipelines.cli import main
from textgate.pipelines.garbage import Retention, find_store_garbage
from textgate.pipelines.pods import ROLES as STEP_ROLES
from textgate.pipelines.runners.retraining import record_retraining
from textgate.pipelines.runners.step_processes import StepProcesses

BUCKET = "textgate"
SOURCES = [SourceFolder(BUCKET, "data/"), SourceFolder("corpora", "films/")]
KEYS: dict[Role, tuple[str, str]] = {role: (f"{role}-access", f"{role}-secret") for role in ROLES}
ADMIN = {"name": "admin", "credentials": [{"accessKey": "admin", "secretKey": "secret"}], "actions": ["Admin"]}
Stores = dict[Role | None, Store]


@pytest.fixture(scope="module")
def environment(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str]]:
    """Return the variables of a server that knows a key for everything, which they name, and one for each role."""
    workspace = tmp_path_factory.mktemp("workspace")
    config = seaweedfs_config(KEYS, BUCKET, SOURCES)
    config["identities"].insert(0, ADMIN)
    (workspace / "store").mkdir(mode=0o700)
    (workspace / "store/s3.json").write_text(json.dumps(config))
    embedded = EmbeddedStore(workspace)
    embedded.start()
    yield embedded.environment()
    embedded.stop()


@pytest.fixture(scope="module")
def stores(environment: dict[str, str]) -> Stores:
    """Return the store as a pod with the key of each role opens it; that of None has the key for everything."""
    opened: Stores = {}
    with pytest.MonkeyPatch.context() as patch:
        for name, value in environment.items():
            patch.setenv(name, value)
        opened[None] = Store.from_environment(BUCKET)
        for role, (access, secret) in KEYS.items():
            patch.setenv(ROLE_VARIABLES["AWS_ACCESS_KEY_ID"], access)
            patch.setenv(ROLE_VARIABLES["AWS_SECRET_ACCESS_KEY"], secret)
            opened[role] = Store.from_environment(BUCKET)
    for bucket in (BUCKET, "corpora"):
        Store(opened[None].client, bucket).ensure_bucket()
    return opened


def _move(store: Store) -> None:
    registry, (version,) = Registry(store), Registry(store).versions("words")
    champion = registry.channel("words")
    registry.update_channel("words", version, run="run", reason="x", expected=champion.version if champion else None)


# What each operation needs, and who may do it: the table of docs/cluster.md.
OPERATIONS: dict[str, tuple[Callable[[Store, Path], Any], set[Role]]] = {
    "read the data of a source": (
        lambda store, _: (list(store.objects("data/")), store.get("data/texts.csv")),
        {"configure", "data", "train", "retrain"},
    ),
    "read feedback and logged texts": (
        lambda store, _: [store.get(item.key) for item in store.objects("feedback/words/")],
        {"configure", "data", "retrain"},
    ),
    "save a checkpoint": (lambda store, _: store.put("checkpoints/a/checkpoint.json", b""), {"train"}),
    "save what the inputs of a run changed": (
        lambda store, _: save_configuration(store, "run", RunConfiguration(recipe={}, source_version="v")),
        {"configure", "gate"},
    ),
    "write a run's files": (lambda store, _: store.put("runs/run/record.json", b""), {"gate"}),
    "count a use of the test split": (
        lambda store, _: Registry(store).judgements("words").save(judgement("run", "2026-11-27", "a")),
        {"gate"},
    ),
    "publish a version": (lambda store, folder: Registry(store).publish("words", folder), {"promote"}),
    "move a channel": (lambda store, _: _move(store), {"promote"}),
    "overwrite a channel": (lambda store, _: store.put("models/old/channels/champion.json", b""), {"promote"}),
    "read models": (
        lambda store, _: Registry(store).bundle("words", Registry(store).versions("words")[0]),
        {"train", "gate", "promote", "endpoint", "retrain", "gc"},
    ),
    "write feedback": (lambda store, _: store.put("feedback/words/2026-11-27/b.parquet", b"1"), {"endpoint"}),
    "record a retraining": (
        lambda store, _: record_retraining(store, "words", "run", "v", [], datetime.now(UTC), None, None),
        {"retrain"},
    ),
    "delete a version": (lambda store, _: delete_objects(store, ["models/old/versions/1/bundle.json"]), {"gc"}),
    "delete an audit entry": (lambda store, _: delete_objects(store, ["models/old/audit/1.json"]), set()),
    "list incomplete uploads": (lambda store, _: list(incomplete_uploads(store)), {"gc"}),
    "write artifacts of steps": (lambda store, _: store.put("pipelines/run/artifact", b""), {"launcher"}),
    "list the complete bucket": (lambda store, _: list(store.objects("")), set()),
}

ROOT = Path(__file__).parents[2]
PASSED = Rule(name="min_f1", threshold=None, value=None, passed=True, message="good")


@pytest.fixture
def words(tmp_path: Path) -> Path:
    return write_words(tmp_path / "words")


@pytest.fixture
def filled(stores: Stores, words: Path) -> None:
    """Fill the bucket with what the operations read, move and delete."""
    store = stores[None]
    Registry(store).publish("words", words)
    keys = ("data/texts.csv", "feedback/words/2026-11-27/a.parquet", "models/old/audit/1.json")
    for key in (*keys, "models/old/versions/1/bundle.json"):
        store.put(key, b"1")


@pytest.mark.usefixtures("filled")
@pytest.mark.parametrize("operation", OPERATIONS)
def test_an_operation_is_allowed_to_the_roles_that_need_it_and_refused_to_all_others(
    operation: str, stores: Stores, words: Path
) -> None:
    work, meant = OPERATIONS[operation]
    allowed = set()
    for role in ROLES:
        with suppress(AccessDeniedError):
            work(stores[role], words)
            allowed.add(role)
    assert allowed == meant


def test_the_documentation_has_the_table_that_was_tried() -> None:
    page = (ROOT / "docs/cluster.md").read_text("utf-8")
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in page.splitlines() if line.startswith("|")]
    header = next(row for row in rows if row[0] == "operation" and set(row[1:]) == ROLES.keys())
    documented = {
        row[0]: {role for role, cell in zip(header[1:], row[1:], strict=True) if cell == "yes"}
        for row in rows
        if row[0] in OPERATIONS
    }
    assert documented == {operation: meant for operation, (_, meant) in OPERATIONS.items()}


def test_the_steps_of_a_run_do_their_work_with_the_keys_of_their_roles(
    stores: Stores, words: Path, tmp_path: Path
) -> None:
    checkpoints = StoreCheckpoints(stores["train"], "checkpoints/training")
    assert not checkpoints.restore(tmp_path / "none")
    (tmp_path / "checkpoint").mkdir()
    (tmp_path / "checkpoint/weights").write_bytes(b"1")
    checkpoints.save(tmp_path / "checkpoint")
    checkpoints.wait()
    assert checkpoints.restore(tmp_path / "restored")
    checkpoints.clear()

    gate = stores["gate"]
    judged = Registry(gate).judgements("films").save(judgement("run", "2026-11-27", "a"))
    assert Registry(gate).judgements("films").all() == [judged]
    bundle = ModelBundle.load(words)
    decision = GateDecision(gate="served", bundle=bundle.fingerprint, dataset="d", rules=[PASSED])
    save_decision(gate, "films-run", decision)

    promote = stores["promote"]
    promotion = promote_bundle(Registry(promote), "films", words, decision, "films-run")
    save_promotion(promote, "films-run", promotion)

    record = record_run(stores["gate"], "films-run", {}, "", "SUCCEEDED", None)
    assert (record.promotion, record.decisions) == (promotion, [decision])

    champion = Registry(stores["endpoint"]).channel("films")
    assert champion
    assert champion.version == promotion.version == bundle.fingerprint[:12]


def test_a_refusal_names_the_operation_the_key_and_the_role_that_is_meant(stores: Stores, words: Path) -> None:
    train = stores["train"]
    with pytest.raises(StoreError) as refused:
        Registry(train).publish("words", words)
    version = ModelBundle.load(words).fingerprint[:12]
    assert re.fullmatch(
        f"the store at http://127.0.0.1:\\d+ does not let this S3 key write s3://textgate/claims/words/{version}: "
        r"only the role promote may \(textgate store access\)",
        str(refused.value),
    )
    with pytest.raises(
        StoreError, match=r"let this S3 key list s3://textgate/: no role of textgate may, only a key for"
    ):
        list(train.objects(""))
    with pytest.raises(StoreError, match=r"read s3://textgate/judgements/a: only the role gate may"):
        stores["promote"].get("judgements/a")
    with pytest.raises(StoreError, match=r"delete s3://textgate/models/a/versions/b/c: only the role gc may"):
        delete_objects(stores["endpoint"], ["models/a/versions/b/c"])


def test_a_gate_compares_with_the_last_intact_champion_if_it_may_not_repair_the_channel(
    stores: Stores, words: Path
) -> None:
    registry = Registry(stores[None])
    version = registry.publish("torn", words)
    registry.update_channel("torn", version, run="run", reason="x", expected=None)
    registry.store.put("models/torn/channels/champion.json", b"{")
    gate = Registry(stores["gate"])
    found = repaired_channel(gate, "torn", run="later")
    assert found
    assert (found.version, found.run) == (version, "run")
    stored = gate.store.get("models/torn/channels/champion.json")
    assert stored
    assert stored.data == b"{"
    repaired = repaired_channel(Registry(stores["promote"]), "torn", run="later")
    assert repaired
    assert (repaired.version, repaired.run) == (version, "later")


def test_the_server_serves_and_logs_with_the_key_of_the_endpoint(
    environment: dict[str, str], stores: Stores, words: Path, tmp_path: Path
) -> None:
    registry = Registry(stores[None])
    version = registry.publish("served", words)
    registry.update_channel("served", version, run="run", reason="x", expected=None)
    access, secret = KEYS["endpoint"]
    # As the manifests do: there the key has the names of boto3.
    key = {**environment, "AWS_ACCESS_KEY_ID": access, "AWS_SECRET_ACCESS_KEY": secret}
    with start_server(key, BUCKET, tmp_path, words, "served", "--log-predictions=100", model="served") as server:
        answer = server.classify(["good"]).json()
        body = {"request_id": answer["request_id"], "label": "bad", "model": "served"}
        assert server.post("/v1/feedback", body).status_code in (200, 202)
    for kind in ("feedback", "predictions"):
        assert len(list(registry.store.objects(f"{kind}/served/"))) == 1
    assert not [line for line in server.log_lines if line.get("level") in ("warning", "error")]


def test_gc_removes_with_its_key_what_nothing_needs(stores: Stores, words: Path) -> None:
    store = stores[None]
    for key in ("audit/1.json", "channels/champion.json"):  # damaged, so that no run would be removed
        store.delete(f"models/old/{key}")
    version = Registry(store).publish("forgotten", words)
    store.put("runs/forgotten/train/log.txt", b"1")
    store.put("checkpoints/forgotten/checkpoint.json", b"1")
    store.client.create_multipart_upload(Bucket=BUCKET, Key="models/forgotten/versions/1/weights")
    found = find_store_garbage(stores["gc"], Retention(timedelta(0), timedelta(0), 0))
    mine = [item for item in found.items if "forgotten" in item.name]
    assert sorted(item.kind for item in mine) == ["checkpoint", "run", "upload", "version"]
    assert all(item.remove() for item in mine)
    left = [item.key for item in store.objects("") if "forgotten" in item.key]
    assert [key.rpartition("/")[0] for key in left] == ["models/forgotten/removals"]
    assert version in left[0]


def test_an_object_that_does_not_exist_is_absent_where_s3_hides_that(stores: Stores) -> None:
    """Amazon answers 403 to a role that may list prefixes only; SeaweedFS and MinIO answer 404."""
    store = stores["endpoint"]

    def hide(http_response: Any, parsed: dict[str, Any], **_: Any) -> None:
        if http_response.status_code == 404:
            parsed["Error"] = {"Code": "403"}
            parsed["ResponseMetadata"]["HTTPStatusCode"] = 403

    store.client.meta.events.register("after-call.s3", hide)
    assert store.get("models/none/channels/champion.json") is None
    assert store.head("models/none") is None
    with pytest.raises(AccessDeniedError, match="read s3://textgate/runs/none"):
        store.get("runs/none")


def test_every_folder_of_sources_is_read_with_the_key_for_data(stores: Stores) -> None:
    admin = stores[None]
    Store(admin.client, "corpora").put("films/texts.csv", b"1")
    Store(admin.client, "corpora").put("secret/texts.csv", b"1")
    corpora = Store(stores["data"].client, "corpora")
    assert [item.key for item in corpora.objects("films/")] == ["films/texts.csv"]
    assert corpora.get("films/texts.csv")
    with pytest.raises(AccessDeniedError):
        corpora.get("secret/texts.csv")


def test_a_role_finds_the_bucket_without_the_right_to_list_it(stores: Stores) -> None:
    stores["gc"].ensure_bucket()
    with pytest.raises(AccessDeniedError, match="list s3://textgate/models/"):
        stores["launcher"].ensure_bucket()


RECIPE = """
name: films
description: made-up film reviews
model: films
source: {uri: s3://textgate/data/films.csv, labels: {"0": bad, "1": good}}
train: {family: linear, min_df: 1}
gate: {min_f1: 0.8}
"""
INGEST = {"ingest": "data", "ingest_part": "data"}


@pytest.mark.slow
def test_a_run_needs_no_more_than_the_keys_of_its_steps(
    stores: Stores, environment: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each step of two real runs, the second judged against the first's champion, holds the secrets of its pod."""
    rows = [f"word{index % 40} word{index % 23} {['bad', 'good'][index % 2]},{index % 2}" for index in range(300)]
    stores[None].put("data/films.csv", "\n".join(["text,label", *rows, ""]).encode())
    (tmp_path / "films.yaml").write_text(RECIPE)
    for name, value in {**environment, "TEXTGATE_BUCKET": BUCKET}.items():
        monkeypatch.setenv(name, value)
    held: dict[str, str | None] = {}
    run_process = StepProcesses.run_process

    def with_own_key(processes: StepProcesses, command: list[str], variables: dict[str, str] | None = None) -> int:
        step = command[command.index("--function_to_execute") + 1]
        role = {**INGEST, **STEP_ROLES}.get(step) or STEP_ROLES.get(step.replace("_", "-"))
        held[step] = role
        # A key for everything must not be used, and is invalid.
        names = dict(zip(ROLE_VARIABLES, (f"{role}-access", f"{role}-secret"), strict=False)) if role else {}
        key = {ROLE_VARIABLES[name]: value for name, value in names.items()}
        without = {"AWS_ACCESS_KEY_ID": "none", "AWS_SECRET_ACCESS_KEY": "none"}
        return run_process(processes, command, {**(variables or {}), **without, **key})

    monkeypatch.setattr(StepProcesses, "run_process", with_own_key)
    arguments = ["run", str(tmp_path / "films.yaml"), "--workspace", str(tmp_path / "workspace")]
    for overrides in ((), ("--set", "train.C=0.01")):
        result = CliRunner().invoke(main, [*arguments, *overrides])
        assert result.exit_code == 0, result.output
    assert Registry(stores["endpoint"]).channel("films")
    without = {"preprocess", "check_labels", "evaluate", "merge_quantize", "export_onnx"}
    assert {step for step, role in held.items() if role is None} == without
    assert set(held.values()) == {None, "data", "train", "gate", "promote"}


def test_no_policy_grants_more_than_objects_of_named_prefixes() -> None:
    for role in ROLES:
        for statement in policy(role, BUCKET, SOURCES)["Statement"]:
            assert statement["Effect"] == "Allow"
            assert not [action for action in statement["Action"] if "*" in action]
            if statement["Action"] == ["s3:ListBucket"]:
                assert all("/" in prefix for prefix in statement["Condition"]["StringLike"]["s3:prefix"])
        assert len(json.dumps(policy(role, BUCKET, SOURCES))) < 2_048  # IAM's limit for the policies of a user
