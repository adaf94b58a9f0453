"""Comparison with the reference, the champion that no later one was shown to be better than."""

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from gate.evaluations import LABELS, MEASURED, TRUTH, evaluation, failed, wrong_at
from safetensors.numpy import save_file
from words import linear_bundle, write_words

from textgate.components.contracts import (
    Dataset,
    Evaluation,
    Gate,
    GateDecision,
    InputError,
    LinearTraining,
    ModelBundle,
    NextReference,
    Recipe,
    Row,
    Source,
    TextNormalizer,
    dataset_writer,
)
from textgate.components.contracts.text_keys import key_array, text_key, write_trained_on
from textgate.components.gate.champion_rules import Champion
from textgate.components.gate.gate import ServedModelInputs, ServedModelOutputs, gate_served_model
from textgate.components.gate.reference import check_reference
from textgate.components.gate.rules import judge_served
from textgate.components.promote.promote import promote_bundle
from textgate.components.storage import REFERENCE, Registry, Store, StoreConnectionError, reference_version, roll_back

RECIPE = Recipe(
    name="letters",
    description="",
    model="model",
    source=Source(uri="words.csv"),
    train=LinearTraining(family="linear"),
    gate=Gate(min_f1=0.5, margin=0.02),
)
TEXTS = [f"word{index}" for index in range(len(TRUTH))]


class Promotions:
    """A model in a registry, and candidates that are wrong on the first test texts."""

    def __init__(self, folder: Path, store: Store) -> None:
        self.folder, self.registry, self.judged = folder, Registry(store), 0
        with dataset_writer(folder / "dataset", ["train", "validation", "test"], keyed=True) as writer:
            for index, text in enumerate(TEXTS):
                writer.add("test", Row(str(index), text, LABELS[TRUTH[index]], key=text_key(text)))
            writer.finish("<source>", LABELS, normalizer=TextNormalizer())
        MEASURED.write(folder / "measurements")
        (folder / "merge").write_text("null")

    @property
    def channels(self) -> dict[str, str]:
        """Versions by channel."""
        return self.registry.models().get("model", {})

    def bundle(self, wrong: int, *, silent: bool = False, knows: int = 0) -> Path:
        """Write a bundle that is wrong on ``wrong`` texts.

        Args:
            wrong: Number of wrong texts; it decides the fingerprint.
            silent: Whether it does not say what it was trained on, as a bundle of an earlier version.
            knows: Number of test texts that it was trained on.
        """
        folder = self.folder / f"bundle {wrong}"
        if not folder.exists():
            folder.mkdir()
            weights = np.ascontiguousarray(np.eye(2)[wrong_at(range(wrong))].T * 5.0)
            arrays = {"idf": np.ones(len(TEXTS)), "weights": weights, "bias": np.zeros(2)}
            save_file(arrays, folder / "model.safetensors")
            (folder / "vocabulary.json").write_text(json.dumps(TEXTS))
            if not silent:
                write_trained_on(folder, key_array([text_key(text) for text in TEXTS[:knows]]))
            linear_bundle("words", LABELS).write(folder)
        return folder

    def version(self, wrong: int) -> str:
        """Return the version of the bundle that is wrong on this many texts."""
        return ModelBundle.load(self.bundle(wrong)).fingerprint[:12]

    def judge(self, wrong: int, margin: float = 0.02) -> GateDecision:
        """Return the decision of gate 2 on the bundle that is wrong on this many texts."""
        self.judged += 1
        folder = self.folder / f"evaluation {self.judged}"
        judged = evaluation(wrong_at(range(wrong)), ModelBundle.load(self.bundle(wrong)).fingerprint)
        dataset = Dataset.open(self.folder / "dataset").manifest.fingerprint
        manifest = judged.manifest.model_copy(update={"dataset": dataset})
        Evaluation(manifest, judged.ids, TEXTS, judged.truth, judged.probabilities).write(folder)
        inputs = ServedModelInputs(
            dataset=self.folder / "dataset",
            served=folder,
            trained=folder,
            merge=self.folder / "merge",
            measurements=self.folder / "measurements",
            exported=self.bundle(wrong),
        )
        outputs = ServedModelOutputs(self.folder / "decision", self.folder / "page.html", self.folder / "card.md")
        recipe = RECIPE.model_copy(update={"gate": Gate(min_f1=0.5, margin=margin)})
        return gate_served_model(inputs, self.registry, recipe, f"run-{self.judged}", outputs)

    def run(self, wrong: int, margin: float = 0.02) -> GateDecision:
        """Judge the bundle that is wrong on this many texts, and promote it if it passes."""
        decision = self.judge(wrong, margin)
        if decision.passed:
            promote_bundle(self.registry, "model", self.bundle(wrong), decision, f"run-{self.judged}")
        return decision


@pytest.fixture
def promotions(tmp_path: Path, store: Store) -> Promotions:
    return Promotions(tmp_path, store)


def rule(decision: GateDecision, name: str) -> str:
    (message,) = (rule.message for rule in decision.rules if rule.name == name)
    return message


def slide(weeks: int, *, kept: bool) -> list[float]:
    """Return the true F1 of the champion, week by week, if every candidate is worse than it by 60 % of the margin.

    Args:
        weeks: Number of candidates, each judged on 4,000 new texts.
        kept: Whether the reference is kept; without it, every champion becomes the reference.
    """
    rng, rows, gate = np.random.default_rng(16), 4_000, RECIPE.gate
    champion = reference = 0.05
    course = []
    for week in range(weeks):
        truth, difficulty = rng.integers(0, 2, rows), rng.random(rows)

        def predictions(error: float, truth: np.ndarray = truth, difficulty: np.ndarray = difficulty) -> np.ndarray:
            return np.where(difficulty < error, 1 - truth, truth)

        def load(error: str, predictions: Callable[[float], np.ndarray] = predictions) -> Champion:
            return Champion(error, f"old {error}", LABELS, predictions(float(error)))

        candidate = champion + 0.6 * gate.margin
        served = evaluation(predictions(candidate), f"week {week}", truth)
        current = load(str(champion))
        decision = judge_served(served, served, MEASURED, current, gate)
        decision = check_reference(decision, served, current, str(reference), load, RECIPE)
        if decision.passed:
            champion = candidate
            moved = decision.reference is not None and decision.reference.version != str(reference)
            reference = candidate if moved or not kept else reference
        course.append(1 - champion)
    return course


def test_champions_that_are_each_a_little_worse_slide_without_a_reference_and_stop_with_it() -> None:
    """The errors of two classes of equal size and difficulty are 1 - F1."""
    assert slide(12, kept=False)[-1] < 0.95 - 5 * RECIPE.gate.margin
    course = slide(12, kept=True)
    assert min(course) >= 0.95 - RECIPE.gate.margin
    assert course[0] < 0.95


def test_a_model_within_the_margin_of_the_champion_but_not_of_the_reference_is_rejected(
    promotions: Promotions,
) -> None:
    first = promotions.run(100)
    version = promotions.version(100)
    assert first.reference == NextReference(version=version, message="it is the first champion of the model")
    assert promotions.channels == {"champion": version, "reference": version}

    second = promotions.run(110)
    assert second.passed
    assert second.reference == NextReference(
        version=version, message=f"{promotions.version(110)} was not shown to be better than the reference {version}"
    )
    assert promotions.channels == {"champion": promotions.version(110), "reference": version}

    third = promotions.run(120)
    assert failed(third) == ["reference_margin"]
    assert f"the F1 of 'good' differs from reference {version} by -0.0200 [-0.0" in third.message
    assert "(paired, 95 %): may be worse by more than 0.02, judged on 1,000 of 1,000 test texts" in third.message
    assert third.message.endswith(
        f"; no later champion was shown to be better than the reference (textgate models move model reference "
        f"{promotions.version(110)} gives it up)"
    )
    assert third.champion == promotions.version(110)
    page, card = ((promotions.folder / name).read_text("utf-8") for name in ("page.html", "card.md"))
    assert f"the F1 of &#39;good&#39; differs from reference {version} by -0.0200" in page
    assert f"Failed: the F1 of 'good' differs from reference {version} by -0.0200" in card

    promotions.registry.update_channel(
        *("model", promotions.version(110)), run="move", reason="cheaper", expected=version, channel=REFERENCE
    )
    assert promotions.run(120).passed


def test_the_reference_moves_only_to_a_champion_that_is_shown_to_be_better(promotions: Promotions) -> None:
    promotions.run(100)
    assert promotions.run(99).reference is not None
    assert promotions.channels == {"champion": promotions.version(99), "reference": promotions.version(100)}
    better = promotions.run(60)
    assert rule(better, "reference_margin").startswith("the F1 of 'good' differs from reference")
    assert better.reference is not None
    assert better.reference.message.startswith(
        f"its F1 of 'good' is higher than that of the reference {promotions.version(100)} by +0.0400 [+0.0"
    )
    assert promotions.channels == {"champion": promotions.version(60), "reference": promotions.version(60)}
    moves = [update for update in promotions.registry.history("model") if update.channel == REFERENCE]
    assert [(update.version, update.reason) for update in moves] == [
        (promotions.version(60), better.reference.message),
        (promotions.version(100), "it is the first champion of the model"),
    ]


def test_a_run_that_yields_the_champion_or_the_reference_is_not_compared_with_the_reference(
    promotions: Promotions,
) -> None:
    promotions.run(100)
    promotions.run(105)
    again = promotions.run(105)
    assert (again.unchanged, again.reference) == (True, None)
    back = promotions.run(100)
    assert back.passed
    assert "reference_margin" not in [rule.name for rule in back.rules]
    assert promotions.channels == dict.fromkeys(("champion", "reference"), promotions.version(100))


def test_the_reference_is_compared_on_texts_on_which_neither_was_trained(promotions: Promotions) -> None:
    """The first champion was trained on 200 of these test texts, as before a change of the split."""
    version = promotions.registry.publish("model", promotions.bundle(100, knows=200))
    promotions.registry.update_channel("model", version, run="run-0", reason="it passed", expected=None)
    assert promotions.run(101).passed
    assert "judged on 800 of 1,000 test texts, on which neither was" in rule(promotions.run(102), "reference_margin")


def test_after_a_rollback_of_the_reference_the_one_before_it_is_the_reference(promotions: Promotions) -> None:
    promotions.run(100)
    promotions.run(108)
    promotions.run(50)
    assert promotions.channels["reference"] == promotions.version(50)
    roll_back(promotions.registry, "model", run="back", reason="it calls praise a complaint")
    assert promotions.channels == {"champion": promotions.version(108), "reference": promotions.version(100)}
    assert failed(promotions.run(118)) == ["reference_margin"]
    with pytest.raises(InputError, match="was rolled back on"):
        promotions.registry.update_channel(
            *("model", promotions.version(50)),
            run="move",
            reason="by hand",
            expected=promotions.version(100),
            channel=REFERENCE,
        )


def test_the_champion_of_an_earlier_version_of_textgate_is_the_reference(promotions: Promotions) -> None:
    registry = promotions.registry
    old = registry.publish("model", promotions.bundle(100))
    registry.update_channel("model", old, run="run-0", reason="it passed", expected=None)
    assert reference_version(registry, "model") == old
    assert promotions.run(105).passed
    assert promotions.channels == {"champion": promotions.version(105), "reference": old}


def test_a_reference_that_does_not_say_what_it_was_trained_on_gives_way(promotions: Promotions) -> None:
    """It may know the test texts, so a later model need not be shown to be better."""
    promotions.bundle(100, silent=True)
    promotions.run(100)
    decision = promotions.run(105)
    assert decision.reference is not None
    assert decision.reference.message == f"it is unknown what the reference {promotions.version(100)} was trained on"
    assert promotions.channels == dict.fromkeys(("champion", "reference"), promotions.version(105))


def test_a_reference_with_other_labels_or_without_its_files_is_not_compared_and_gives_way(
    promotions: Promotions, tmp_path: Path
) -> None:
    promotions.run(100)
    promotions.run(105)
    (other := write_words(tmp_path / "other")).joinpath("bundle.json").unlink()
    linear_bundle("words", ["ham", "spam"]).write(other)
    registry = promotions.registry
    registry.update_channel(
        *("model", registry.publish("model", other)),
        run="move",
        reason="by hand",
        expected=promotions.version(100),
        channel=REFERENCE,
    )
    reference = promotions.channels["reference"]
    decision = promotions.judge(104)
    assert decision.passed
    assert rule(decision, "reference_margin") == (
        f"the reference {reference} cannot be compared with, because it answers ham, spam, not bad, good"
    )
    registry.store.put(f"models/model/versions/{reference}/model.safetensors", b"damaged")
    decision = promotions.run(104)
    assert rule(decision, "reference_margin").startswith(f"the reference {reference} cannot be compared with: ")
    assert promotions.channels == dict.fromkeys(("champion", "reference"), promotions.version(104))


def test_a_store_that_cannot_be_reached_is_no_reason_to_skip_the_reference() -> None:
    served = evaluation(TRUTH, "new")
    champion = Champion("v2", "old", LABELS, TRUTH)
    decision = judge_served(served, served, MEASURED, champion, RECIPE.gate)

    def load(version: str) -> Champion:
        raise StoreConnectionError(f"no connection for {version}")

    with pytest.raises(StoreConnectionError, match="no connection for v1"):
        check_reference(decision, served, champion, "v1", load, RECIPE)
