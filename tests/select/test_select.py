"""Selecting the best model of a sweep, and the table of all of them."""

import json
from pathlib import Path
from typing import Any

import pytest
from artifacts import without_checksums
from kfp import dsl

from textgate.components.contracts import InputError, LinearRuntime, ModelBundle, TextNormalizer
from textgate.components.select.component import select, select_with_dataset
from textgate.components.select.select import select_best


def bundle(folder: Path, strength: float, f1: float, **metrics: float) -> Path:
    (folder / "arrays").mkdir(parents=True)
    (folder / "arrays" / "weights.bin").write_bytes(b"%f" % strength)
    ModelBundle(
        name="films",
        family="linear",
        runtime=LinearRuntime(ngrams=(1, 1), sublinear=True),
        labels=["no", "yes"],
        normalizer=TextNormalizer(),
        recipe={"train": {"family": "linear", "C": strength, "nested": {"r": 8}}},
        metrics={"validation_f1": f1} | {f"validation_{name}": value for name, value in metrics.items()},
        dataset="0" * 64,
        versions={},
    ).write(folder)
    return folder


def content(folder: Path) -> dict[str, bytes]:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def settings(*strengths: float) -> list[dict[str, Any]]:
    return [{"train.C": strength, "preprocess.seed": 13, "train.nested.r": 8} for strength in strengths]


def test_the_best_is_copied_byte_for_byte_and_every_score_is_listed(tmp_path: Path) -> None:
    models = [bundle(tmp_path / str(C), C, f1) for C, f1 in ((0.1, 0.7), (1, 0.9), (10, 0.8))]
    best = select_best(models, settings(0.1, 1, 10), "f1", tmp_path / "model", tmp_path / "table")
    assert best == 1
    assert content(tmp_path / "model") == content(models[1])
    assert json.loads((tmp_path / "table").read_text()) == [
        {"settings": swept, "metric": "f1", "score": f1, "chosen": f1 == 0.9}
        for swept, f1 in zip(settings(0.1, 1, 10), (0.7, 0.9, 0.8), strict=True)
    ]


def test_the_metric_of_the_gate_chooses(tmp_path: Path) -> None:
    models = [
        bundle(tmp_path / str(C), C, f1, accuracy=accuracy) for C, f1, accuracy in ((0.1, 0.9, 0.7), (1, 0.8, 0.8))
    ]
    assert select_best(models, settings(0.1, 1), "accuracy", tmp_path / "model", tmp_path / "table") == 1
    table = json.loads((tmp_path / "table").read_text())
    assert [(row["metric"], row["score"]) for row in table] == [("accuracy", 0.7), ("accuracy", 0.8)]
    with pytest.raises(InputError, match="cannot choose by pr_auc, because a label has no text"):
        select_best(models, settings(0.1, 1), "pr_auc", tmp_path / "other", tmp_path / "table")


def test_the_first_of_equal_models_is_selected(tmp_path: Path) -> None:
    models = [bundle(tmp_path / str(C), C, f1) for C, f1 in ((10, 0.7), (1, 0.9), (0.1, 0.9), (0.01, 0.9))]
    assert select_best(models, settings(10, 1, 0.1, 0.01), "f1", tmp_path / "model", tmp_path / "table") == 1
    again = [models[0], *reversed(models[1:])]
    assert select_best(again, settings(10, 0.01, 0.1, 1), "f1", tmp_path / "again", tmp_path / "table") == 1
    assert ModelBundle.load(tmp_path / "again").recipe["train"]["C"] == 0.01


def test_models_in_another_order_than_their_settings_are_rejected(tmp_path: Path) -> None:
    models = [bundle(tmp_path / str(C), C, C) for C in (0.1, 0.2)]
    with pytest.raises(ValueError, match=r"was trained with train\.C = 0\.1"):
        select_best(models, settings(0.2, 0.1), "f1", tmp_path / "model", tmp_path / "table")
    with pytest.raises(ValueError, match="shorter"):
        select_best(models, settings(0.1), "f1", tmp_path / "model", tmp_path / "table")
    assert not (tmp_path / "model").exists()
    assert not (tmp_path / "table").exists()


def test_a_damaged_best_model_is_not_copied(tmp_path: Path) -> None:
    models = [bundle(tmp_path / str(C), C, C) for C in (0.1, 0.2)]
    (models[1] / "arrays" / "weights.bin").write_bytes(b"other")
    with pytest.raises(InputError, match=r"0\.2 does not match its manifest: arrays/weights.bin has been changed"):
        select_best(models, settings(0.1, 0.2), "f1", tmp_path / "model", tmp_path / "table")
    assert not (tmp_path / "model").exists()


def test_the_components_copy_the_model_its_metadata_and_its_dataset(tmp_path: Path) -> None:
    models, datasets = [], []
    for strength, f1 in ((0.1, 0.9), (1, 0.7)):
        trained = bundle(tmp_path / f"model-{strength}", strength, f1)
        models.append(dsl.Model(uri=str(trained), metadata={"validation_f1": f1}))
        folder = tmp_path / f"dataset-{strength}"
        (folder / "train").mkdir(parents=True)
        (folder / "train" / "part-00000.parquet").write_bytes(b"%f" % strength)
        datasets.append(dsl.Dataset(uri=str(folder), metadata={"rows_in": strength}))
    swept = json.dumps(settings(0.1, 1))

    model, table = dsl.Model(uri=str(tmp_path / "m1")), dsl.Artifact(uri=str(tmp_path / "t1"))
    select.python_func(models=models, settings=swept, metric="f1", code="", model=model, table=table)
    assert content(Path(model.path)) == content(Path(models[0].path))
    assert without_checksums(model) == {"validation_f1": 0.9}

    model, dataset = dsl.Model(uri=str(tmp_path / "m2")), dsl.Dataset(uri=str(tmp_path / "d2"))
    select_with_dataset.python_func(
        models=models,
        datasets=datasets,
        settings=swept,
        metric="f1",
        code="",
        model=model,
        dataset=dataset,
        table=table,
    )
    assert content(Path(model.path)) == content(Path(models[0].path))
    assert content(Path(dataset.path)) == content(Path(datasets[0].path))
    assert without_checksums(dataset) == {"rows_in": 0.1}
    assert [row["chosen"] for row in json.loads(Path(table.path).read_text())] == [True, False]
