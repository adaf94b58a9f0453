"""Uses of the test split: what is recorded, counted and stated, and the reported score of simulated champions."""

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from gate.evaluations import MEASURED, ROWS, champion, evaluation, wrong_at
from gate.retrainings import TRUE_F1, MemoryStore, Regime, retrain

from textgate.components.contracts import Gate
from textgate.components.gate.rules import judge_served, judge_trained
from textgate.components.gate.split_uses import PresentUse
from textgate.components.storage import Judgements

GATE = Gate(min_f1=0.5, margin=0.02)
KEYS = np.random.default_rng(3).integers(0, 2**64, 3 * ROWS, dtype=np.uint64)
FIRST = KEYS[:ROWS]
NEW = evaluation(wrong_at(range(200)), bundle="new")


@pytest.fixture
def judgements() -> Judgements:
    return Judgements(MemoryStore(), "model")  # type: ignore[arg-type]


def open_use(judgements: Judgements, run: str, *bundles: str, keys: np.ndarray | None = FIRST) -> Any:
    dataset: Any = SimpleNamespace(manifest=SimpleNamespace(counts={"test": {}}), keys=lambda split: keys)
    evaluations = [evaluation(wrong_at(range(200)), bundle=bundle) for bundle in bundles]
    return PresentUse.open(judgements, run, dataset, evaluations)


def judge(judgements: Judgements, run: str, *bundles: str, keys: np.ndarray | None = FIRST) -> Any:
    """Return the uses that gate 1 (one bundle) or gate 2 (two bundles) states."""
    decision = judge_trained(NEW, GATE) if len(bundles) == 1 else judge_served(NEW, NEW, MEASURED, None, GATE)
    recorded = open_use(judgements, run, *bundles, keys=keys).record(decision)
    assert recorded.score is not None
    return recorded.score.uses


def test_each_candidate_counts_once_with_the_share_of_the_present_texts_that_it_was_judged_on(
    judgements: Judgements,
) -> None:
    first = judge(judgements, "run-1", "trained-1", "served-1")
    assert (first.candidates, first.full_uses, first.corrected) == (0, 0.0, pytest.approx(0.8))
    assert first.message == "no other candidate was judged on these test texts before"
    second = judge(judgements, "run-2", "trained-2", "served-2")
    assert second.message == (
        "1 other candidate was judged on these test texts before, worth 1.0 full use; corrected for selection: 0.8000"
    )
    moved = judge(judgements, "run-3", "trained-3", "served-3", keys=KEYS[ROWS // 2 :][:ROWS])
    assert moved.candidates == 2
    assert moved.full_uses == pytest.approx(1.0, abs=0.2)
    assert judge(judgements, "run-4", "trained-4", "served-4", keys=KEYS[2 * ROWS :]).candidates == 0


def test_a_damaged_judgement_counts_as_a_use_of_all_texts(judgements: Judgements) -> None:
    for number in (1, 2):
        judge(judgements, f"run-{number}", f"trained-{number}", f"served-{number}")
    for damage in (b"", b'{"run": "run-1"}'):
        judgements.store.put("judgements/model/run-1.json", damage)
        uses = judge(judgements, "run-3", "trained-3", "served-3")
        assert (uses.candidates, uses.full_uses, uses.corrected) == (2, pytest.approx(2.0), pytest.approx(0.8))
    # The run itself is repeated and writes its judgement anew.
    assert judge(judgements, "run-1", "trained-1", "served-1").candidates == 2
    assert judge(judgements, "run-4", "trained-4", "served-4").candidates == 3


def test_a_repeated_run_and_a_repeated_candidate_are_no_second_use(judgements: Judgements) -> None:
    for _ in range(2):
        judge(judgements, "run-1", "trained-1")
        judge(judgements, "run-1", "trained-1", "served-1")
    judge(judgements, "run-2", "trained-1", "served-1")
    assert judge(judgements, "run-2", "trained-1", "served-1").candidates == 0
    assert judge(judgements, "run-3", "trained-1").candidates == 0
    assert judge(judgements, "run-4", "trained-2", "served-2").candidates == 1
    # A run that is repeated may train another model, if its first one was lost.
    assert judge(judgements, "run-4", "trained-4", "served-4").candidates == 1
    # The same trained model with another threshold or format has another score.
    assert judge(judgements, "run-5", "trained-1", "served-3").candidates == 2


def test_a_model_that_gate_1_rejects_is_a_use_of_the_test_split(judgements: Judgements) -> None:
    assert judge(judgements, "run-1", "trained-1").corrected is None
    uses = judge(judgements, "run-2", "trained-2")
    assert uses.message == "1 other candidate was judged on these test texts before, worth 1.0 full use"


def test_of_a_dataset_without_keys_nothing_is_counted_or_recorded(judgements: Judgements) -> None:
    assert judge(judgements, "run-1", "trained-1", "served-1", keys=None) is None
    assert judgements.all() == []
    assert "uses" not in judge_trained(NEW, GATE).model_dump_json()


def test_a_record_holds_no_text_and_a_damaged_one_is_named_and_left_out(
    judgements: Judgements, caplog: pytest.LogCaptureFixture
) -> None:
    judge(judgements, "run-1", "trained-1", "served-1")
    store: Any = judgements.store
    ((key, content),) = store.content.items()
    assert key == "judgements/model/run-1.json"
    assert b"alert" not in content
    assert len(content) < 10_000
    store.put(key, b"{}")
    assert judgements.all() == []
    assert "judgements/model/run-1.json is not a judgement" in caplog.text


def test_the_noise_of_a_score_is_what_other_models_on_the_same_texts_do_not_share(judgements: Judgements) -> None:
    """Both models are wrong on the same 180 texts, and each on 20 others."""
    new, old = wrong_at(range(200)), wrong_at(range(180), range(200, 220))
    for run, current in (("run-1", None), ("run-2", champion(old))):
        served = evaluation(new)
        decision = judge_served(served, served, MEASURED, current, GATE)
        open_use(judgements, run, run).record(decision)
    paired, alone = (judgement.noise for judgement in judgements.all())
    assert alone == pytest.approx(np.sqrt(0.2 * 0.8 / ROWS), rel=0.1)
    assert paired == pytest.approx(np.sqrt(0.04 / 2 / ROWS), rel=0.1)


def test_scores_on_other_texts_count_less_and_on_mostly_other_texts_not_at_all(judgements: Judgements) -> None:
    def corrected_after(first: int) -> float:
        """Return the corrected score of a model that is judged after ten better ones on texts from ``first`` on."""
        store: Any = judgements.store
        store.content.clear()
        better = evaluation(wrong_at(range(180)))
        decision = judge_served(better, better, MEASURED, champion(wrong_at(range(190))), GATE)
        for run in map(str, range(10)):
            open_use(judgements, run, run).record(decision)
        decision = judge_served(NEW, NEW, MEASURED, champion(wrong_at(range(190))), GATE)
        recorded = open_use(judgements, "last", "last", keys=KEYS[first:][:ROWS]).record(decision)
        assert recorded.score is not None
        assert recorded.score.uses is not None
        assert recorded.score.uses.corrected is not None
        return recorded.score.uses.corrected

    same, slid, other = (corrected_after(first) for first in (0, ROWS // 3, 2 * ROWS // 3))
    assert same > slid + 0.0005 > other + 0.001
    assert other == pytest.approx(NEW.manifest.f1.value)


def test_the_reported_f1_of_equal_retrainings_is_corrected() -> None:
    weeks = [retrain("same", GATE, 40, seed) for seed in range(2)]
    assert np.mean([week.plain for simulated in weeks for week in simulated]) > 0.01
    assert abs(np.mean([week.corrected for simulated in weeks for week in simulated])) < 0.005


def test_a_truly_better_model_is_promoted_and_its_f1_is_not_hidden() -> None:
    for improvement in ([], ["f1"]):
        gate = Gate.model_validate({"min_f1": 0.5, "margin": 0.02, "improvement": improvement})
        last = retrain("same", gate, 26, 1, better={25: TRUE_F1 + 0.07})[-1]
        assert last.decision.passed
        assert last.corrected == pytest.approx(last.plain, abs=0.005)


@pytest.mark.long
@pytest.mark.timeout(7_200)
@pytest.mark.parametrize(
    ("regime", "new_rows", "improvement"),
    [
        ("same", 0, []),
        ("growing", 16, []),
        ("growing", 64, []),
        ("sliding", 16, []),
        ("sliding", 64, []),
        ("same", 0, ["f1"]),
        ("growing", 16, ["f1"]),
        ("sliding", 64, ["f1"]),
    ],
)
def test_the_reported_f1_of_200_equal_retrainings_is_within_5_thousandths(
    regime: Regime, new_rows: int, improvement: list[str]
) -> None:
    gate = Gate.model_validate({"min_f1": 0.5, "margin": 0.02, "improvement": improvement})
    weeks = [week for seed in range(20) for week in retrain(regime, gate, 200, seed, new_rows=new_rows)]
    plain, corrected = np.mean([(week.plain, week.corrected) for week in weeks], axis=0)
    promoted = sum(week.decision.passed for week in weeks) / 20
    print(
        f"{regime}, {new_rows} new texts a week, improvement {improvement}: {promoted:.1f} promotions, reported minus "
        f"true F1 {plain:+.4f}, corrected {corrected:+.4f}"
    )
    assert abs(corrected) < 0.005


@pytest.mark.long
@pytest.mark.timeout(3_600)
@pytest.mark.parametrize(("improvement", "gain"), [([], 0.05), (["f1"], 0.07)])
def test_a_better_model_after_50_equal_ones_is_promoted_with_its_true_f1(improvement: list[str], gain: float) -> None:
    gate = Gate.model_validate({"min_f1": 0.5, "margin": 0.02, "improvement": improvement})
    last = [retrain("same", gate, 51, seed, better={50: TRUE_F1 + gain})[-1] for seed in range(40)]
    promoted = [week for week in last if week.decision.passed]
    error = np.mean([week.corrected for week in promoted])
    print(f"better by {gain}, improvement {improvement}: {len(promoted)} of 40 promoted, corrected {error:+.4f}")
    assert len(promoted) >= 32
    assert abs(error) < 0.015
