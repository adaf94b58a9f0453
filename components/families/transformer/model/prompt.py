"""Prompted classifiers: the prompt is part of the tokenizer, the label words are the weights of the head.

The next-token logits of the label words are a linear layer over the state of the last token. Its rows are the rows of
the output embedding for these words. A prompted decoder is therefore a decoder with a classification head, and is
trained, merged, exported and served like any other. Label words as answers: Schick and Schütze, PET (EACL 2021).

The paragraph of the prompt with ``{text}`` is the query. Each shot repeats that paragraph with a training text and adds
the text's label word and a blank line. The paragraphs before the query are written once:

    Tell how the critic liked the film.     prompt: Tell how the critic liked the film.

    Review: a moving film                           Review: {text}
    Opinion: good                                   Opinion:

    Review: …                               shots: 1
    Opinion:

The texts of the shots and the query share the token budget of ``max_tokens`` equally, so long shots are truncated and
always leave room for the query.
"""

import json
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import safe_open
from tokenizers.processors import TemplateProcessing

from textgate.components.contracts import Dataset, InputError, PromptedTraining
from textgate.components.families.transformer.model.pretrained import as_folder

_BLANK_LINE = "\n\n"


def set_prompt_template(tokenizer: Any, training: PromptedTraining, dataset: Dataset, max_tokens: int) -> None:
    """Make ``tokenizer`` put the prompt around every text, in place. Truncation shortens the text, not the prompt.

    Args:
        tokenizer: Fast tokenizer of the base model.
        training: The recipe's prompt and number of shots.
        dataset: Dataset whose split ``train`` the shots are sampled from.
        max_tokens: Length in tokens of the prompt, shots and text together.

    Raises:
        InputError: If the prompt leaves no room for a text, or there are fewer training texts than shots.
    """
    opening, closing = training.prompt.split("{text}")
    if training.shots:
        opening = _opening_with_shots(opening, closing, tokenizer, training, dataset, max_tokens)
    before, after = _ids(tokenizer, opening), _ids(tokenizer, closing)
    _check_room(len(before) + len(after), training, max_tokens)
    parts = {"[BEFORE]": before, "[AFTER]": after}
    tokenizer.backend_tokenizer.post_processor = TemplateProcessing(
        single="[BEFORE] $A [AFTER]",
        special_tokens=[
            {"id": name, "ids": ids, "tokens": tokenizer.convert_ids_to_tokens(ids)} for name, ids in parts.items()
        ],
    )


def _opening_with_shots(
    opening: str, closing: str, tokenizer: Any, training: PromptedTraining, dataset: Dataset, max_tokens: int
) -> str:
    """Return the part of the prompt before the query text, with the shots."""
    preamble, blank_line, paragraph = opening.rpartition(_BLANK_LINE)
    examples = _sample_shots(dataset, training.shots, training.seed)

    def opening_with(tokens: int) -> str:
        """Return the opening with each shot's text truncated to ``tokens``."""
        shots = [
            f"{paragraph}{_truncate(text, tokenizer, tokens)}{closing}{training.label_words[label]}{_BLANK_LINE}"
            for text, label in examples
        ]
        return "".join([preamble, blank_line, *shots, paragraph])

    prompt_tokens = len(_ids(tokenizer, opening_with(0))) + len(_ids(tokenizer, closing))
    # Each shot and the query need at least one token.
    _check_room(prompt_tokens + training.shots, training, max_tokens)
    return opening_with((max_tokens - prompt_tokens) // (training.shots + 1))


def _check_room(prompt_tokens: int, training: PromptedTraining, max_tokens: int) -> None:
    if prompt_tokens >= max_tokens:
        shots = f" with train.shots={training.shots}" if training.shots else ""
        raise InputError(
            f"train.prompt{shots} takes {prompt_tokens} tokens, which leaves no room for a text in "
            f"train.max_tokens={max_tokens}"
        )


def _sample_shots(dataset: Dataset, shots: int, seed: int) -> list[tuple[str, str]]:
    """Return texts and labels of ``shots`` random training texts, as evenly divided among the classes as possible."""
    _, texts, classes = dataset.columns("train")
    if shots > len(texts):
        raise InputError(f"train.shots={shots} is more than the {len(texts)} texts of the split train: lower it")
    rows = np.random.default_rng(seed).permutation(len(texts))
    rounds = np.empty(len(rows), dtype=np.int64)
    for index in range(len(dataset.manifest.labels)):
        in_class = classes[rows] == index
        rounds[in_class] = np.arange(in_class.sum())
    chosen = rows[np.argsort(rounds, kind="stable")][:shots]
    return [(texts[row], dataset.manifest.labels[classes[row]]) for row in chosen]


def _truncate(text: str, tokenizer: Any, tokens: int) -> str:
    """Return the first ``tokens`` tokens of ``text``, as text."""
    offsets = tokenizer(text, add_special_tokens=False, return_offsets_mapping=True)["offset_mapping"][:tokens]
    return text[: offsets[-1][1]] if offsets else ""


def set_label_word_head(
    model: Any, tokenizer: Any, base_model: Path, training: PromptedTraining, labels: list[str]
) -> None:
    """Set the head of ``model`` to the output embeddings of the label words' first tokens, and freeze it.

    Args:
        model: Decoder with a linear ``score`` head without bias.
        tokenizer: Tokenizer of the base model.
        base_model: Folder or GGUF file of the base model, which holds the output embedding.
        training: The recipe's label words.
        labels: Labels of the dataset, in the order of the logits.

    Raises:
        InputError: If a label has no word, or two label words begin with the same token.
    """
    if set(training.label_words) != set(labels):
        raise InputError(
            f"train.label_words must name the labels of the dataset, {', '.join(labels)}, but it names "
            f"{', '.join(training.label_words)}"
        )
    tokens: dict[int, str] = {}
    for label in labels:
        word = training.label_words[label]
        ids = _ids(tokenizer, word)
        if not ids:
            raise InputError(f"train.label_words.{label} is empty: give a word for the label")
        if ids[0] in tokens:
            raise InputError(
                f"the label words {tokens[ids[0]]!r} and {word!r} begin with the same token, so their logits are the "
                "same: choose words whose first tokens differ"
            )
        tokens[ids[0]] = word
    with torch.no_grad():
        model.score.weight.copy_(_output_rows(model, as_folder(base_model), list(tokens)))
    model.score.weight.requires_grad_(False)


def _ids(tokenizer: Any, text: str) -> list[int]:
    return list(tokenizer(text, add_special_tokens=False)["input_ids"])


def _output_rows(model: Any, base_model: Path, ids: list[int]) -> torch.Tensor:
    """Return the rows (ids, hidden) of the output embedding, which many decoders tie to the input embedding."""
    if model.config.tie_word_embeddings:
        return torch.as_tensor(model.get_input_embeddings().weight[ids])
    file, index = base_model / "model.safetensors", base_model / "model.safetensors.index.json"
    if index.exists():
        file = base_model / json.loads(index.read_text("utf-8"))["weight_map"]["lm_head.weight"]
    with safe_open(file, "pt") as weights:
        rows = weights.get_slice("lm_head.weight")
        return torch.cat([rows[token : token + 1] for token in ids])
