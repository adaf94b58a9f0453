"""The quickstart on real texts and with real weights from the package index."""

from typing import Any

import pytest


def test_the_gate_rejects_tfidf_on_the_quickstart_split(workspace: Any) -> None:
    result = workspace.run_json("run", "quickstart-tfidf")
    assert result["verdict"] == "reject"
    value = result["metrics"]["min_f1"]["value"]
    assert 0.75 < value < 0.82
    assert f"has F1 of 'positive' {value:.4f}" in result["decision"]
    assert "the point estimate does not reach the threshold 0.82" in result["decision"]
    assert workspace.registry() == {}


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_the_fine_tuned_encoder_passes_on_the_same_split_and_a_second_run_promotes_nothing(workspace: Any) -> None:
    baseline = workspace.run_json("run", "quickstart-tfidf")
    first = workspace.run_json("run", "quickstart")
    assert first["verdict"] == "promote"
    assert first["metrics"]["min_f1"]["value"] > baseline["metrics"]["min_f1"]["value"]
    assert {decision["dataset"] for decision in first["decisions"] + baseline["decisions"]} == {
        first["decisions"][0]["dataset"]
    }
    answers = workspace.run_json("predict", "quickstart", "a moving, beautifully acted film", "dull and far too long")
    assert [answer["label"] for answer in answers["predictions"]] == ["positive", "negative"]

    before = workspace.registry()
    second = workspace.run_json("run", "quickstart")
    assert second["version"] is None
    assert {step["name"] for step in second["steps"] if step["outcome"] == "done"} == {
        *("gate-trained", "gate-served", "record")
    }
    strict = workspace.run_json("run", "quickstart", "--set", "gate.min_f1=0.99")
    assert "does not reach the threshold 0.99" in strict["decision"]
    assert workspace.registry() == before
