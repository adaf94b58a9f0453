"""A classifier from a decoder that is asked: the prompt lies in the tokenizer, the label words in the head.

The next-token logits of the label words are a linear layer over the last token's state, whose rows are those words'
rows of the output embedding. So a prompted decoder is a decoder with a classification head, and everything that trains,
merges, exports and serves one takes it as it is. Answers by label words: Schick and Schütze, PET (EACL 2021).

Shots stand before the paragraph of the prompt that holds ``{text}``. Each is that paragraph with a text of its own and,
at the end of the prompt, its label word; a blank line follows. What the prompt says before that paragraph is said once:

    Tell how the critic liked the film.     prompt: Tell how the critic liked the film.

    Review: a moving film                           Review: {text}
    Opinion: good                                   Opinion:

    Review: …                               shots: 1
    Opinion:

Each shot's text is cut to as many tokens as there are for each of them and the text that is asked about, so that the
prompt takes no more of ``max_tokens`` with long examples than it may.
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


def put_prompt_around_texts(tokenizer: Any, training: PromptedTraining, dataset: Dataset, max_tokens: int) -> None:
    """Make ``tokenizer`` write the prompt around every text; what is cut at ``max_tokens`` is the text.

    The shots are drawn from the split ``train`` of ``dataset``.

    Raises:
        InputError: the prompt leaves no room for a text, or there are fewer training texts than shots.
    """
    opening, closing = training.prompt.split("{text}")
    if training.shots:
        opening = _with_shots(opening, closing, tokenizer, training, dataset, max_tokens)
    before, after = _ids(tokenizer, opening), _ids(tokenizer, closing)
    _check_room(len(before) + len(after), training, max_tokens)
    parts = {"[BEFORE]": before, "[AFTER]": after}
    tokenizer.backend_tokenizer.post_processor = TemplateProcessing(
        single=" ".join(name if name.startswith("[") else "$A" for name in ("[BEFORE]", "text", "[AFTER]")),
        special_tokens=[
            {"id": name, "ids": ids, "tokens": tokenizer.convert_ids_to_tokens(ids)} for name, ids in parts.items()
        ],
    )


def _with_shots(
    opening: str, closing: str, tokenizer: Any, training: PromptedTraining, dataset: Dataset, max_tokens: int
) -> str:
    """The prompt up to the text, shots included."""
    preamble, blank_line, paragraph = opening.rpartition(_BLANK_LINE)
    examples = _draw(dataset, training.shots, training.seed)

    def written(tokens: int) -> str:
        shots = [
            f"{paragraph}{_cut(text, tokenizer, tokens)}{closing}{training.label_words[label]}{_BLANK_LINE}"
            for text, label in examples
        ]
        return "".join([preamble, blank_line, *shots, paragraph])

    taken = len(_ids(tokenizer, written(0))) + len(_ids(tokenizer, closing))
    # The text that is asked about counts as one more.
    _check_room(taken + training.shots, training, max_tokens)
    return written((max_tokens - taken) // (training.shots + 1))


def _check_room(taken: int, training: PromptedTraining, max_tokens: int) -> None:
    if taken >= max_tokens:
        shots = f" with train.shots={training.shots}" if training.shots else ""
        raise InputError(
            f"train.prompt{shots} takes {taken} tokens, which leaves no room for a text in "
            f"train.max_tokens={max_tokens}"
        )


def _draw(dataset: Dataset, shots: int, seed: int) -> list[tuple[str, str]]:
    """Text and label of so many training texts: one of each class, in any order, and again."""
    _, texts, classes = dataset.columns("train")
    if shots > len(texts):
        raise InputError(f"train.shots={shots} is more than the {len(texts)} texts of the split train: lower it")
    rows = np.random.default_rng(seed).permutation(len(texts))
    rounds = np.empty(len(rows), dtype=np.int64)
    for number in range(len(dataset.manifest.labels)):
        own = classes[rows] == number
        rounds[own] = np.arange(own.sum())
    chosen = rows[np.argsort(rounds, kind="stable")][:shots]
    return [(texts[row], dataset.manifest.labels[classes[row]]) for row in chosen]


def _cut(text: str, tokenizer: Any, tokens: int) -> str:
    """The first ``tokens`` of ``text``."""
    places = tokenizer(text, add_special_tokens=False, return_offsets_mapping=True)["offset_mapping"][:tokens]
    return text[: places[-1][1]] if places else ""


def read_label_words(
    model: Any, tokenizer: Any, base_model: Path, training: PromptedTraining, labels: list[str]
) -> None:
    """Make the head of ``model`` give the next-token logits of the label words.

    Raises:
        InputError: a label has no word, or two label words begin with the same token.
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
            raise InputError(f"train.label_words.{label} is empty: give the word that stands for the label")
        if ids[0] in tokens:
            raise InputError(
                f"the label words {tokens[ids[0]]!r} and {word!r} begin with the same token, so that their logits are "
                "one: choose words that differ at once"
            )
        tokens[ids[0]] = word
    with torch.no_grad():
        model.score.weight.copy_(_output_rows(model, as_folder(base_model), list(tokens)))
    model.score.weight.requires_grad_(False)


def _ids(tokenizer: Any, text: str) -> list[int]:
    return list(tokenizer(text, add_special_tokens=False)["input_ids"])


def _output_rows(model: Any, base_model: Path, ids: list[int]) -> torch.Tensor:
    """Rows (len(ids), hidden) of the output embedding, which many decoders share with the input's."""
    if model.config.tie_word_embeddings:
        return torch.as_tensor(model.get_input_embeddings().weight[ids])
    file, index = base_model / "model.safetensors", base_model / "model.safetensors.index.json"
    if index.exists():
        file = base_model / json.loads(index.read_text("utf-8"))["weight_map"]["lm_head.weight"]
    with safe_open(file, "pt") as weights:
        rows = weights.get_slice("lm_head.weight")
        return torch.cat([rows[number : number + 1] for number in ids])
