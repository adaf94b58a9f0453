"""A decoder that is asked: its answer is the next-token logits of the label words, in training and when served."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from families.served import serve
from families.uncalibrated import uncalibrated
from transformers import AutoModelForCausalLM, AutoTokenizer

from textgate.components.contracts import Adapter, Dataset, InputError, ModelBundle, PromptedTraining
from textgate.components.families import Surroundings, family
from textgate.components.merge_quantize.merge_quantize import merge_bundle
from textgate.components.train.train import train_bundle

PROMPT = "Is this good?\n{text}\nAnswer:"
ODD_TEXTS = ["", "good", "</s> bad </s>", "word1 " * 60, "é 漢字"]


def training(checkpoint: Path, **changes: Any) -> PromptedTraining:
    settings: dict[str, Any] = {
        "family": "prompted",
        "checkpoint": str(checkpoint),
        "prompt": PROMPT,
        "label_words": {"bad": " no", "good": " yes"},
        "adapter": Adapter(r=8, alpha=16),
        "max_tokens": 64,
        "epochs": 2,
        "batch_size": 8,
        "learning_rate": 2e-2,
    }
    return PromptedTraining(**{**settings, **changes})


@pytest.fixture(scope="module")
def trained(tiny: Callable[[str], Path], dataset: Dataset, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder, checkpoint = tmp_path_factory.mktemp("prompted") / "trained", tiny("llama")
    train_bundle(dataset.path, "tiny", training(checkpoint), folder, Surroundings(checkpoint))
    return folder


def next_token_probabilities(model: Any, checkpoint: Path, texts: list[str], words: list[str]) -> Any:
    """What a decoder gives for the words after the prompt, computed the long way, one text at a time."""
    tokenizer = AutoTokenizer.from_pretrained(checkpoint)
    ids = [tokenizer(word, add_special_tokens=False)["input_ids"][0] for word in words]
    before, after = (tokenizer(part, add_special_tokens=False)["input_ids"] for part in PROMPT.split("{text}"))
    answers = []
    for text in texts:
        inner = tokenizer(text, add_special_tokens=False)["input_ids"][: 64 - len(before) - len(after)]
        with torch.inference_mode():
            logits = model(input_ids=torch.tensor([[*before, *inner, *after]])).logits[0, -1, ids]
        answers.append(torch.softmax(logits.double(), dim=-1).numpy())
    return np.array(answers)


def test_an_untrained_one_answers_with_the_next_token_logits_of_the_label_words(
    tiny: Callable[[str], Path], dataset: Dataset, tmp_path: Path
) -> None:
    """The merged model, with its head put back among all tokens, is a language model that says the same."""
    checkpoint = tiny("llama")
    settings = training(checkpoint, learning_rate=1e-12, epochs=1, adapter=Adapter(r=4, alpha=8, quantization="none"))
    train_bundle(dataset.path, "tiny", settings, tmp_path / "trained", Surroundings(checkpoint))
    bundle = ModelBundle.load(tmp_path / "trained")
    texts = [dataset.normalizer(text) for text in [*dataset.columns("test")[1], *ODD_TEXTS]]
    answers = family("prompted").predictor(tmp_path / "trained", bundle, checkpoint).predict(texts)
    model = AutoModelForCausalLM.from_pretrained(checkpoint).eval()
    expected = next_token_probabilities(model, checkpoint, texts, [" no", " yes"])
    np.testing.assert_allclose(answers, expected, atol=1e-5)


def test_it_learns_and_the_served_one_answers_as_the_trained_one(
    trained: Path, tiny: Callable[[str], Path], dataset: Dataset, tmp_path: Path
) -> None:
    bundle = ModelBundle.load(trained)
    assert bundle.metrics["validation_f1"] > 0.85
    texts = [*dataset.columns("test")[1], *ODD_TEXTS]
    answers = family("prompted").predictor(trained, bundle, tiny("llama")).predict(texts)
    merge_bundle(trained, tmp_path / "merged")
    serve(dataset.path, tmp_path / "merged", tmp_path / "exported")
    together = uncalibrated(tmp_path / "exported", texts)
    np.testing.assert_allclose(together, answers, atol=1e-4)
    alone = np.concatenate([uncalibrated(tmp_path / "exported", [text]) for text in texts])
    np.testing.assert_allclose(together, alone, atol=1e-6)


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"label_words": {"bad": " no"}}, "train.label_words must name the labels of the dataset, bad, good"),
        ({"label_words": {"bad": " yes", "good": " yes"}}, "begin with the same token"),
        ({"label_words": {"bad": "", "good": " yes"}}, "train.label_words.bad is empty"),
        ({"max_tokens": 4}, "train.prompt takes [0-9]+ tokens, which leaves no room for a text in train.max_tokens=4"),
    ],
)
def test_what_cannot_be_asked_is_one_sentence(
    changes: dict[str, Any], sentence: str, tiny: Callable[[str], Path], dataset: Dataset, tmp_path: Path
) -> None:
    checkpoint = tiny("llama")
    with pytest.raises(InputError, match=sentence):
        train_bundle(dataset.path, "x", training(checkpoint, **changes), tmp_path / "bundle", Surroundings(checkpoint))
    assert not (tmp_path / "bundle").exists()


def test_an_encoder_cannot_be_asked(tiny: Callable[[str], Path], dataset: Dataset, tmp_path: Path) -> None:
    checkpoint = tiny("bert")
    with pytest.raises(InputError, match="is no decoder, so that no prompt can ask it"):
        train_bundle(dataset.path, "x", training(checkpoint), tmp_path / "bundle", Surroundings(checkpoint))
