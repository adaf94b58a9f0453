"""The commands `textgate run --sweep` and `textgate compile --sweep` on a real store."""

import json
import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from textgate.components.contracts import Dataset, Evaluation, ModelBundle

UNCACHED = {"gate-trained", "gate-served", "promote", "record"}
SWEEP = ("--sweep", "train.min_df=4,1", "--sweep", "train.C=0.01,10")
SETTINGS = [{"train.min_df": min_df, "train.C": C} for min_df in (4, 1) for C in (0.01, 10)]
TITLES = [f"train (train.min_df={one['train.min_df']}, train.C={one['train.C']:g})" for one in SETTINGS]


def bundle_bytes(folder: Path) -> dict[str, bytes]:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_the_best_model_of_a_sweep_is_promoted_and_a_second_sweep_is_cached(workspace: Any) -> None:
    first = workspace.run_json("run", "films.yaml", *SWEEP)
    run = Path(first["folder"])
    candidates = [run / f"for-loop-2-iteration-{index}" / "train" / "model" for index in range(4)]
    bundles = [ModelBundle.load(folder) for folder in candidates]
    scores = [bundle.metrics["validation_f1"] for bundle in bundles]
    best = scores.index(max(scores))
    assert best > 0, "the case must not be decided by the order"
    assert [(bundle.recipe["train"]["min_df"], bundle.recipe["train"]["C"]) for bundle in bundles] == [
        tuple(one.values()) for one in SETTINGS
    ]
    assert first["sweep"] == [
        {"settings": swept, "metric": "f1", "score": score, "chosen": index == best}
        for index, (swept, score) in enumerate(zip(SETTINGS, scores, strict=True))
    ]
    assert json.loads((run / "sweep.json").read_text()) == first["sweep"]

    # The selected bundle is judged and promoted unchanged.
    assert bundle_bytes(run / "select" / "model") == bundle_bytes(candidates[best])
    champion = workspace.run_json("models", "show", "films")["bundle"]
    assert champion["recipe"]["train"] == bundles[best].recipe["train"]
    assert champion["metrics"] == bundles[best].metrics

    # The dataset is preprocessed once; each training has its own duration and log lines.
    steps = {step["name"]: step for step in first["steps"]}
    assert {name for name in steps if name.startswith(("preprocess", "train"))} == {"preprocess", *TITLES}
    assert all(step["outcome"] == "done" for step in steps.values())
    log = (run / "log.txt").read_text("utf-8").splitlines()
    for title in TITLES:
        combination = title.removeprefix("train (").removesuffix(")")
        (worked,) = [line for line in log if re.fullmatch(rf"{combination}:\s+textgate worked seconds: [\d.]+", line)]
        assert float(worked.split()[-1]) == steps[title]["work_seconds"] > 0
    for path in run.rglob("*"):
        if path.is_file():
            stored = workspace.store.get(f"runs/{first['run']}/{path.relative_to(run).as_posix()}")
            assert stored is not None, path
            assert stored.data == path.read_bytes(), path

    # The table of a cached sweep is printed too.
    second = workspace.run("run", "films.yaml", *SWEEP)
    assert second.returncode == 0, second.stderr
    lines = [" ".join(line.split()) for line in second.stdout.splitlines()]
    for title, score, chosen in zip(TITLES, scores, (index == best for index in range(4)), strict=True):
        combination = title.removeprefix("train (").removesuffix(")")
        assert f"{combination} {score:.4f}" + " chosen" * chosen in lines
        assert f"{title}: cached" in second.stderr.splitlines()
    done = {line.split(":")[0] for line in second.stderr.splitlines() if ": done in " in line}
    assert done == UNCACHED - {"promote"}
    (again,) = [path for path in run.parent.glob("films-*/sweep.json") if path.parent != run]
    assert again.read_bytes() == (run / "sweep.json").read_bytes()


@pytest.mark.slow
def test_a_sweep_of_preprocess_continues_with_the_dataset_of_the_best_model(workspace: Any) -> None:
    films = workspace.folder / "films.csv"
    films.write_text(films.read_text().replace(" good,", " @good,").replace(" bad,", " @bad,"))
    swept = ("--sweep", "preprocess.normalizer.remove_mentions=true,false", "--sweep", "train.min_df=4")
    result = workspace.run_json("run", "films.yaml", *swept)
    run = Path(result["folder"])
    scores = [row["score"] for row in result["sweep"]]
    assert scores[1] > scores[0], "the case must not be decided by the order"
    assert [row["chosen"] for row in result["sweep"]] == [False, True]
    chosen = Dataset.open(run / "select-with-dataset" / "dataset").manifest
    assert chosen == Dataset.open(run / "for-loop-2-iteration-1" / "preprocess" / "dataset").manifest
    assert chosen != Dataset.open(run / "for-loop-2-iteration-0" / "preprocess" / "dataset").manifest
    model = ModelBundle.load(run / "select-with-dataset" / "model")
    assert (model.dataset, model.recipe["train"]["min_df"]) == (chosen.fingerprint, 4)
    assert Evaluation.open(run / "evaluate" / "evaluation").manifest.dataset == chosen.fingerprint


@pytest.mark.slow
def test_a_sweep_of_train_share_is_a_learning_curve(workspace: Any) -> None:
    result = workspace.run_json("run", "films.yaml", "--sweep", "preprocess.train_share=0.05,0.4,1")
    assert [row["settings"] for row in result["sweep"]] == [
        {"preprocess.train_share": share} for share in (0.05, 0.4, 1)
    ]
    scores = [row["score"] for row in result["sweep"]]
    best = scores.index(max(scores))
    assert [row["chosen"] for row in result["sweep"]] == [index == best for index in range(3)]
    run = Path(result["folder"])
    datasets = [Dataset.open(run / f"for-loop-2-iteration-{index}" / "preprocess" / "dataset") for index in range(3)]
    train = [{row.id for row in dataset.rows("train")} for dataset in datasets]
    assert train[0] < train[1] < train[2]
    for dataset in datasets:
        assert dataset.manifest.rows_in == 300
        for split in ("validation", "test"):
            assert list(dataset.rows(split)) == list(datasets[2].rows(split))
    chosen = Dataset.open(run / "select-with-dataset" / "dataset").manifest
    assert chosen == datasets[best].manifest
    assert Evaluation.open(run / "evaluate" / "evaluation").manifest.dataset == chosen.fingerprint


def test_an_error_in_a_combination_ends_the_sweep_with_a_sentence_that_names_it(workspace: Any) -> None:
    # Two combinations train at a time. Both fail, so it does not depend on their speed which others have started.
    done = workspace.run("run", "films.yaml", "--sweep", "train.min_df=5000,6000,1,2")
    assert done.returncode == 2, done.stderr
    (error,) = [line for line in done.stderr.splitlines() if line.startswith("Error: ")]
    assert re.match(r"Error: train\.min_df=(5000|6000): no n-gram of the \d+ training texts occurs in ", error)
    assert "Traceback" not in done.stdout + done.stderr
    assert "(train.min_df=1)" not in done.stderr
    assert "(train.min_df=2)" not in done.stderr
    (key,) = [item.key for item in workspace.store.objects("runs/") if item.key.endswith("record.json")]
    record = json.loads(workspace.store.get(key).data)
    assert (record["state"], record["promotion"], record["decisions"]) == ("FAILED", None, [])
    assert workspace.registry() == {}


@pytest.mark.parametrize(
    ("sweep", "sentence"),
    [
        ("train.C=1", "--sweep takes 2 to 64 combinations"),
        ("gate.min_f1=0.5,0.6", "only keys of preprocess and train can be swept"),
        ("train.CC=1,2", "unknown key train.CC; did you mean train.C?"),
        ("train.C=1,-1", "--sweep train.C=-1: films.yaml: train.C: input should be greater than 0"),
    ],
)
def test_a_wrong_sweep_starts_nothing(workspace: Any, sweep: str, sentence: str) -> None:
    done = workspace.run("run", "films.yaml", "--sweep", sweep)
    assert done.returncode == 2
    (error,) = done.stderr.splitlines()
    assert sentence in error
    assert not (workspace.folder / ".textgate").exists()


def test_compile_writes_the_sweep_as_a_loop(workspace: Any) -> None:
    source = ("--source", "s3://textgate/films.csv")
    done = workspace.run("compile", "films.yaml", *source, *SWEEP, "-o", "sweep.yaml")
    assert done.returncode == 0, done.stderr
    specification = next(yaml.safe_load_all((workspace.folder / "sweep.yaml").read_text()))
    loop = specification["components"]["comp-sweep"]["dag"]["tasks"]["for-loop-2"]
    trainings = [json.loads(item) for item in json.loads(loop["parameterIterator"]["items"]["raw"])]
    assert [{"train.min_df": one["min_df"], "train.C": one["C"]} for one in trainings] == SETTINGS
