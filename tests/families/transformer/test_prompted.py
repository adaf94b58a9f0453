"""Prompted decoders: predictions are the next-token logits of the label words, in training and when served."""

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from families.served import serve
from families.uncalibrated import uncalibrated
from transformers import AutoModelForCausalLM, AutoTokenizer

from textgate.components.contracts import (
    Adapter,
    Dataset,
    InputError,
    ModelBundle,
    PromptedTraining,
    Row,
    TextNormalizer,
    dataset_writer,
)
from textgate.components.contracts.metric_names import GATE_METRICS
from textgate.components.families import EXPORTABLE_FAMILIES, TrainingContext, open_predictor
from textgate.components.merge_quantize.merge_quantize import merge_bundle
from textgate.components.train.train import train_bundle

PROMPT = "Is this good?\n{text}\nAnswer:"
ODD_TEXTS = ["", "good", "</s> bad </s>", "word1 " * 60, "é 漢字"]


def training(base_model: Path, **changes: Any) -> PromptedTraining:
    settings: dict[str, Any] = {
        "family": "prompted",
        "base_model": str(base_model),
        "prompt": PROMPT,
        "label_words": {"bad": " no", "good": " yes"},
        "adapter": Adapter(r=8, alpha=16),
        "max_tokens": 64,
        "epochs": 2,
        "batch_size": 8,
        "learning_rate": 2e-2,
        "precision": "fp32",
    }
    return PromptedTraining(**{**settings, **changes})


@pytest.fixture(scope="module")
def trained(tiny: Callable[[str], Path], dataset: Dataset, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder, base_model = tmp_path_factory.mktemp("prompted") / "trained", tiny("llama")
    train_bundle(dataset.path, "tiny", training(base_model), folder, TrainingContext(base_model))
    return folder


def next_token_probabilities(
    model: Any, base_model: Path, texts: list[str], around: tuple[str, str], max_tokens: int
) -> Any:
    """Return the probabilities (texts, 2) of no and yes as next tokens, computed one text at a time.

    ``around`` is the prompt before and after the text.
    """
    tokenizer = AutoTokenizer.from_pretrained(base_model)
    ids = [tokenizer(word, add_special_tokens=False)["input_ids"][0] for word in (" no", " yes")]
    before, after = (tokenizer(part, add_special_tokens=False)["input_ids"] for part in around)
    answers = []
    for text in texts:
        inner = tokenizer(text, add_special_tokens=False)["input_ids"][: max_tokens - len(before) - len(after)]
        with torch.inference_mode():
            logits = model(input_ids=torch.tensor([[*before, *inner, *after]])).logits[0, -1, ids]
        answers.append(torch.softmax(logits.double(), dim=-1).numpy())
    return np.array(answers)


def test_an_untrained_prompt_predicts_the_next_token_logits_of_the_label_words(
    tiny: Callable[[str], Path], dataset: Dataset, tmp_path: Path
) -> None:
    base_model = tiny("llama")
    settings = training(base_model, epochs=0, adapter=None)
    bundle = train_bundle(dataset.path, "tiny", settings, tmp_path / "prompted", TrainingContext(base_model))
    assert bundle.base_model is None
    assert bundle.metrics.keys() == {f"validation_{name}" for name in GATE_METRICS}
    assert bundle.history == []
    texts = [dataset.normalizer(text) for text in [*dataset.columns("test")[1], *ODD_TEXTS]]
    answers = EXPORTABLE_FAMILIES["prompted"]().predictor(tmp_path / "prompted", bundle, None).predict_proba(texts)
    model = AutoModelForCausalLM.from_pretrained(base_model).eval()
    opening, _, closing = PROMPT.partition("{text}")
    expected = next_token_probabilities(model, base_model, texts, (opening, closing), 64)
    np.testing.assert_allclose(answers, expected, atol=1e-5)


def test_the_exported_model_predicts_like_the_trained_one(
    trained: Path, tiny: Callable[[str], Path], dataset: Dataset, tmp_path: Path
) -> None:
    bundle = ModelBundle.load(trained)
    assert bundle.metrics["validation_f1"] > 0.85
    texts = [*dataset.columns("test")[1], *ODD_TEXTS]
    answers = EXPORTABLE_FAMILIES["prompted"]().predictor(trained, bundle, tiny("llama")).predict_proba(texts)
    merge_bundle(trained, tmp_path / "merged")
    serve(dataset.path, tmp_path / "merged", tmp_path / "exported")
    together = uncalibrated(tmp_path / "exported", texts)
    np.testing.assert_allclose(together, answers, atol=1e-4)
    alone = np.concatenate([uncalibrated(tmp_path / "exported", [text]) for text in texts])
    np.testing.assert_allclose(together, alone, atol=1e-6)


def prompt_of(folder: Path) -> str:
    """Return the text \"bad\" with the prompt that the bundle's tokenizer puts around it."""
    tokenizer = AutoTokenizer.from_pretrained(folder)
    tokenizer.backend_tokenizer.no_truncation()
    return str(tokenizer.decode(tokenizer("bad")["input_ids"]))


def test_the_exported_model_keeps_its_shots(tiny: Callable[[str], Path], dataset: Dataset, tmp_path: Path) -> None:
    """It predicts the next-token probabilities of the base model after the prompt and its shots."""
    base_model, max_tokens = tiny("llama"), 100
    settings = training(base_model, adapter=None, epochs=0, shots=4, max_tokens=max_tokens, prompt="Q: {text}\nA:")
    train_bundle(dataset.path, "tiny", settings, tmp_path / "prompted", TrainingContext(base_model))
    serve(dataset.path, tmp_path / "prompted", tmp_path / "exported")
    texts = [dataset.normalizer(text) for text in [*dataset.columns("test")[1][:9], *ODD_TEXTS]]
    model = AutoModelForCausalLM.from_pretrained(base_model).eval()
    opening, _, closing = prompt_of(tmp_path / "prompted").rpartition("bad")
    assert opening.count("\nA:") == 4
    expected = next_token_probabilities(model, base_model, texts, (opening, closing), max_tokens)
    np.testing.assert_allclose(uncalibrated(tmp_path / "exported", texts), expected, atol=1e-4)


def test_shots_repeat_the_last_paragraph_of_the_prompt(
    tiny: Callable[[str], Path], dataset: Dataset, tmp_path: Path
) -> None:
    base_model = tiny("llama")
    prompt = "Yes or no.\n\n: {text}\n?"
    seen = []
    for seed in (1, 1, 2):
        settings = training(base_model, adapter=None, epochs=0, shots=6, max_tokens=120, prompt=prompt, seed=seed)
        folder = tmp_path / str(len(seen))
        train_bundle(dataset.path, "tiny", settings, folder, TrainingContext(base_model))
        seen.append(prompt_of(folder))
    opening, *paragraphs = seen[0].split("\n\n")
    assert opening == "Yes or no."
    assert paragraphs.pop() == ": bad\n?"
    label_of = dict(zip(*dataset.columns("train")[1:], strict=True))
    answers = []
    for paragraph in paragraphs:
        match = re.fullmatch(r": (.*)\n\? (yes|no)", paragraph)
        assert match
        (full_text,) = (text for text in label_of if text.startswith(match[1]))
        assert ["no", "yes"][label_of[full_text]] == match[2]
        answers.append(match[2])
    assert len(answers) == 6
    assert all({*answers[start : start + 2]} == {"yes", "no"} for start in (0, 2, 4))
    assert seen[0] == seen[1] != seen[2]


def test_an_adapter_keeps_the_shots_of_its_training(
    tiny: Callable[[str], Path], dataset: Dataset, tmp_path: Path
) -> None:
    base_model = tiny("llama")
    settings = training(base_model, epochs=0.2, shots=2)
    trained = train_bundle(dataset.path, "tiny", settings, tmp_path / "trained", TrainingContext(base_model))
    merge_bundle(tmp_path / "trained", tmp_path / "merged")
    assert prompt_of(tmp_path / "trained").count("Answer:") == 3
    assert prompt_of(tmp_path / "merged") == prompt_of(tmp_path / "trained")
    _, texts, _ = dataset.columns("test")
    answers = open_predictor(tmp_path / "trained", trained, base_model).predict_proba(texts)
    merged = ModelBundle.load(tmp_path / "merged")
    np.testing.assert_allclose(open_predictor(tmp_path / "merged", merged).predict_proba(texts), answers, atol=1e-4)


def test_long_shots_leave_room_for_the_text(tiny: Callable[[str], Path], tmp_path: Path) -> None:
    path = tmp_path / "dataset"
    with dataset_writer(path, ["train", "validation", "test"]) as writer:
        for number, split in enumerate(["train", "validation", "test"] * 2):
            words = " ".join(f"word{number}" for _ in range(90))
            writer.add(split, Row(str(number), words, ["bad", "good"][number // 3]))
        writer.finish("made up", ["bad", "good"], normalizer=TextNormalizer())
    base_model = tiny("llama")
    settings = training(base_model, adapter=None, epochs=0, shots=2, max_tokens=128, prompt="{text}\nAnswer:")
    train_bundle(path, "tiny", settings, tmp_path / "prompted", TrainingContext(base_model))
    tokenizer = AutoTokenizer.from_pretrained(tmp_path / "prompted")
    ids = tokenizer("word5 " * 99, truncation=True, max_length=128)["input_ids"]
    assert len(ids) == 128
    first, second, query = (paragraph.count("word") for paragraph in tokenizer.decode(ids).split("\n\n"))
    assert first == second
    assert 10 < first <= query < first + 3


def test_an_adapter_needs_epochs() -> None:
    with pytest.raises(ValueError, match="epochs: 0 trains nothing, so an adapter has no effect"):
        training(Path("tiny"), epochs=0)


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"label_words": {"bad": " no"}}, "train.label_words must name the labels of the dataset, bad, good"),
        ({"label_words": {"bad": " yes", "good": " yes"}}, "begin with the same token"),
        ({"label_words": {"bad": "", "good": " yes"}}, "train.label_words.bad is empty"),
        ({"max_tokens": 4}, "train.prompt takes [0-9]+ tokens, which leaves no room for a text in train.max_tokens=4"),
        ({"shots": 8}, "train.prompt with train.shots=8 takes [0-9]+ tokens, which leaves no room for a text in train"),
        ({"shots": 145}, "train.shots=145 is more than the 144 texts of the split train"),
    ],
)
def test_an_unusable_prompt_gives_a_one_line_error(
    changes: dict[str, Any], sentence: str, tiny: Callable[[str], Path], dataset: Dataset, tmp_path: Path
) -> None:
    base_model = tiny("llama")
    with pytest.raises(InputError, match=sentence):
        train_bundle(
            dataset.path, "x", training(base_model, **changes), tmp_path / "bundle", TrainingContext(base_model)
        )
    assert not (tmp_path / "bundle").exists()


def test_an_encoder_cannot_be_prompted(tiny: Callable[[str], Path], dataset: Dataset, tmp_path: Path) -> None:
    base_model = tiny("bert")
    with pytest.raises(InputError, match="is not a decoder, so it cannot be prompted"):
        train_bundle(dataset.path, "x", training(base_model), tmp_path / "bundle", TrainingContext(base_model))
