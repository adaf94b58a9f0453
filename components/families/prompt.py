"""A classifier from a decoder that is asked: the prompt lies in the tokenizer, the label words in the head.

The next-token logits of the label words are a linear layer over the last token's state, whose rows are those words'
rows of the output embedding. So a prompted decoder is a decoder with a classification head, and everything that trains,
merges, exports and serves one takes it as it is. Answers by label words: Schick and Schütze, PET (EACL 2021).
"""

import json
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open
from tokenizers.processors import TemplateProcessing

from textgate.components.contracts import InputError, PromptedTraining
from textgate.components.families.checkpoint import as_folder


def put_prompt_around_texts(tokenizer: Any, training: PromptedTraining) -> None:
    """Make ``tokenizer`` write the prompt around every text; what is cut at ``max_tokens`` is the text.

    Raises:
        InputError: the prompt leaves no room for a text.
    """
    before, after = (_ids(tokenizer, part) for part in training.prompt.split("{text}"))
    if len(before) + len(after) >= training.max_tokens:
        raise InputError(
            f"train.prompt takes {len(before) + len(after)} tokens, which leaves no room for a text in "
            f"train.max_tokens={training.max_tokens}"
        )
    parts = {"[BEFORE]": before, "[AFTER]": after}
    tokenizer.backend_tokenizer.post_processor = TemplateProcessing(
        single=" ".join(name if name.startswith("[") else "$A" for name in ("[BEFORE]", "text", "[AFTER]")),
        special_tokens=[
            {"id": name, "ids": ids, "tokens": tokenizer.convert_ids_to_tokens(ids)} for name, ids in parts.items()
        ],
    )


def read_label_words(
    model: Any, tokenizer: Any, checkpoint: Path, training: PromptedTraining, labels: list[str]
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
        model.score.weight.copy_(_output_rows(model, as_folder(checkpoint), list(tokens)))
    model.score.weight.requires_grad_(False)


def _ids(tokenizer: Any, text: str) -> list[int]:
    return list(tokenizer(text, add_special_tokens=False)["input_ids"])


def _output_rows(model: Any, checkpoint: Path, ids: list[int]) -> torch.Tensor:
    """Rows (len(ids), hidden) of the output embedding, which many decoders share with the input's."""
    if model.config.tie_word_embeddings:
        return torch.as_tensor(model.get_input_embeddings().weight[ids])
    file, index = checkpoint / "model.safetensors", checkpoint / "model.safetensors.index.json"
    if index.exists():
        file = checkpoint / json.loads(index.read_text("utf-8"))["weight_map"]["lm_head.weight"]
    with safe_open(file, "pt") as weights:
        rows = weights.get_slice("lm_head.weight")
        return torch.cat([rows[number : number + 1] for number in ids])
