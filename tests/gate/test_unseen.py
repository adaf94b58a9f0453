"""The champion is compared on texts that neither it nor the new model was trained on."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from textgate.components.contracts import (
    Dataset,
    EnsembleTraining,
    Evaluation,
    Gate,
    GateDecision,
    LinearTraining,
    ModelBundle,
    Preprocess,
    Recipe,
    Row,
    Source,
    SplitUses,
    dataset_writer,
)
from textgate.components.contracts.measurement import Measurements
from textgate.components.contracts.text_keys import TRAINED_ON
from textgate.components.evaluate.evaluate import evaluate_bundle
from textgate.components.families import TrainingContext
from textgate.components.gate import gate
from textgate.components.gate.gate import ServedModelInputs, ServedModelOutputs, gate_served_model
from textgate.components.preprocess.preprocess import preprocess_dataset
from textgate.components.storage import Registry, Store
from textgate.components.train.train import train_bundle

GATE = Gate(min_f1=0.5, margin=0.01)
OVERFITTED = LinearTraining(family="linear", min_df=1, C=1_000)


@pytest.fixture(scope="module")
def raw(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """4,000 texts whose label depends on words and on chance, so that a model knows its training texts best."""
    rng = np.random.default_rng(5)
    weights = rng.normal(size=300)
    path = tmp_path_factory.mktemp("raw") / "raw"
    with dataset_writer(path, ["all"]) as writer:
        for index in range(4_000):
            words = rng.integers(0, 300, size=14)
            label = "good" if weights[words].sum() + rng.normal(scale=1.5) > 0 else "bad"
            writer.add("all", Row(str(index), " ".join(f"word{word}" for word in words), label))
        writer.finish("made up", ["bad", "good"])
    return path


def split(raw: Path, folder: Path, seed: int, train_share: float = 1) -> Dataset:
    settings = Preprocess(validation=0.1, test=0.3, seed=seed, train_share=train_share)
    preprocess_dataset(raw, settings, folder)
    return Dataset.open(folder)


def train(dataset: Dataset, training: Any, folder: Path, bundles: Sequence[Path] = ()) -> Path:
    train_bundle(
        dataset.path, "made-up", training, folder, TrainingContext(bundles={str(path): path for path in bundles})
    )
    return folder


def judge(dataset: Dataset, champion: Path, candidate: Path, store: Store, folder: Path) -> GateDecision:
    registry = Registry(store)
    version = registry.publish("model", champion)
    registry.update_channel("model", version, run="1", reason="first", expected=None)
    evaluate_bundle(dataset.path, candidate, folder / "evaluation")
    Measurements(served="linear", max_f1_loss=0.02, min_agreement=0.95, targets=[]).write(folder / "measurements")
    (folder / "merge").write_text("null")
    recipe = Recipe(
        name="made-up", description="", model="model", source=Source(uri="data.csv"), train=OVERFITTED, gate=GATE
    )
    inputs = ServedModelInputs(
        dataset=dataset.path,
        served=folder / "evaluation",
        trained=folder / "evaluation",
        merge=folder / "merge",
        measurements=folder / "measurements",
        exported=candidate,
    )
    outputs = ServedModelOutputs(folder / "decision", folder / "page.html", folder / "card.md")
    return gate_served_model(inputs, registry, recipe, "run", outputs)


@pytest.fixture
def compared(monkeypatch: pytest.MonkeyPatch) -> list[np.ndarray | None]:
    """The mask that gate 2 gives to its rules."""
    masks: list[np.ndarray | None] = []
    judge_served = gate.judge_served

    def record(*arguments: Any) -> GateDecision:
        masks.extend(champion.unseen for champion in arguments if isinstance(champion, gate.Champion))
        return judge_served(*arguments)

    monkeypatch.setattr(gate, "judge_served", record)
    return masks


def texts(dataset: Dataset, *splits: str) -> set[str]:
    return {row.text for split_ in splits for row in dataset.rows(split_)}


def test_the_mask_leaves_out_what_either_model_was_trained_or_validated_on(
    raw: Path, compared: list[np.ndarray | None], store: Store, tmp_path: Path
) -> None:
    old, new, third = (split(raw, tmp_path / str(seed), seed) for seed in (13, 14, 15))
    champion = train(old, OVERFITTED, tmp_path / "champion")
    members = [train(dataset, OVERFITTED, tmp_path / f"member-{n}") for n, dataset in enumerate((new, third))]
    ensemble = EnsembleTraining.model_validate(
        {"family": "ensemble", "members": [{"bundle": str(path), "weight": 1} for path in members]}
    )
    judge(new, champion, train(new, ensemble, tmp_path / "candidate", members), store, tmp_path)
    (mask,) = compared
    assert mask is not None
    known = texts(old, "train", "validation") | texts(third, "train", "validation")
    expected = [text not in known for text in Evaluation.open(tmp_path / "evaluation").texts]
    assert mask.tolist() == expected
    assert 0 < sum(expected) < 0.15 * len(expected)


@pytest.mark.parametrize("silent", ["champion", "candidate"])
def test_a_bundle_of_an_earlier_version_leaves_it_unknown(
    silent: str, raw: Path, compared: list[np.ndarray | None], store: Store, tmp_path: Path
) -> None:
    dataset = split(raw, tmp_path / "data", 13)
    other = LinearTraining(family="linear", C=1)
    bundles = {"champion": train(dataset, other, tmp_path / "champion")}
    bundles["candidate"] = train(dataset, OVERFITTED, tmp_path / "candidate")
    (bundles[silent] / TRAINED_ON).unlink()
    manifest = bundles[silent] / "bundle.json"
    ModelBundle.parse(manifest.read_bytes(), "here").write(bundles[silent])
    judge(dataset, bundles["champion"], bundles["candidate"], store, tmp_path)
    assert compared == [None]


def test_a_better_model_is_promoted_although_the_champion_knows_many_test_texts(
    raw: Path, store: Store, tmp_path: Path
) -> None:
    """The champion was trained with another seed, on a fifth of the training texts, and is worse on new texts."""
    champion = train(split(raw, tmp_path / "old", 14, train_share=0.4), OVERFITTED, tmp_path / "champion")
    new = split(raw, tmp_path / "new", 13)
    candidate = train(new, OVERFITTED, tmp_path / "candidate")
    decision = judge(new, champion, candidate, store, tmp_path)
    biased = evaluate_bundle(new.path, champion, tmp_path / "champion on all").manifest.f1.value
    assert biased > Evaluation.open(tmp_path / "evaluation").manifest.f1.value
    assert decision.passed, decision.message
    (held_out,) = (rule for rule in decision.rules if rule.name == "held_out")
    rows = sum(new.manifest.counts["test"].values())
    assert held_out.message.endswith(f"were trained or validated on 0 of the {rows:,} test texts")
    assert decision.score is not None
    assert decision.score.uses == SplitUses(candidates=0, full_uses=0, corrected=decision.score.value.value)
    (record,) = Registry(store).judgements("model").all()
    assert (record.run, record.rows, record.value) == ("run", rows, decision.score.value)
    card = (tmp_path / "card.md").read_text("utf-8")
    assert f"Of its {rows:,} texts, {rows:,} were not used in training or validation of the model." in card


def test_an_ensemble_that_knows_the_test_texts_is_not_promoted(raw: Path, store: Store, tmp_path: Path) -> None:
    """Its members were trained with another seed and are worse than the champion on new texts."""
    new, other = split(raw, tmp_path / "new", 13), split(raw, tmp_path / "other", 14, train_share=0.4)
    champion = train(new, OVERFITTED, tmp_path / "champion")
    members = [train(other, OVERFITTED.model_copy(update={"C": c}), tmp_path / str(c)) for c in (500.0, 1_000.0)]
    ensemble = EnsembleTraining.model_validate(
        {"family": "ensemble", "members": [{"bundle": str(path), "weight": 1} for path in members]}
    )
    decision = judge(new, champion, train(new, ensemble, tmp_path / "candidate", members), store, tmp_path)
    champions = evaluate_bundle(new.path, champion, tmp_path / "champion on all").manifest.f1.value
    assert Evaluation.open(tmp_path / "evaluation").manifest.f1.value > champions
    assert [rule.name for rule in decision.rules if not rule.passed] == ["held_out", "margin"]
    assert "its members or its teacher were trained or validated on" in decision.message
