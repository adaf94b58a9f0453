"""Randomly initialized base models of several architectures, small enough to train in a second.

Configuration classes and module names are those of the real models; only the sizes differ.
"""

from pathlib import Path
from typing import Any

WORDS = ["good", "bad", "yes", "no", "True", "False", *(f"word{number}" for number in range(60))]


def write_tiny(folder: Path, model_type: str) -> Path:
    """Write a base model of the architecture, with a tokenizer of the matching kind, to ``folder``."""
    import torch
    from transformers import AutoModel, AutoModelForCausalLM

    folder.mkdir(parents=True)
    tokenizer = _tokenizer(model_type)
    torch.manual_seed(0)
    config = _config(model_type, len(tokenizer))
    decoder = model_type in ("llama", "mistral")
    auto = AutoModelForCausalLM if decoder else AutoModel
    auto.from_config(config).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


def _config(model_type: str, vocabulary_size: int) -> Any:
    from transformers import BertConfig, DistilBertConfig, LlamaConfig, MistralConfig, T5Config

    decoder = {
        "vocab_size": vocabulary_size,
        "hidden_size": 64,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "intermediate_size": 128,
        "max_position_embeddings": 128,
    }
    match model_type:
        case "bert":
            sizes = {key: value for key, value in decoder.items() if key != "num_key_value_heads"}
            return BertConfig(**sizes)
        case "distilbert":
            return DistilBertConfig(
                vocab_size=vocabulary_size, dim=64, n_layers=2, n_heads=4, hidden_dim=128, max_position_embeddings=128
            )
        case "t5":
            return T5Config(
                vocab_size=vocabulary_size,
                d_model=64,
                d_kv=16,
                d_ff=128,
                num_layers=2,
                num_heads=4,
                feed_forward_proj="gated-gelu",
                decoder_start_token_id=0,
            )
        case "llama":
            return LlamaConfig(**decoder, tie_word_embeddings=False)
        case "mistral":
            return MistralConfig(**decoder, sliding_window=None)
    raise AssertionError(model_type)


def _tokenizer(model_type: str) -> Any:
    """Return a tokenizer whose vocabulary is built by hand: the trainers of ``tokenizers`` are not deterministic."""
    from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, processors
    from transformers import PreTrainedTokenizerFast

    if model_type in ("bert", "distilbert"):
        special = {"pad_token": "[PAD]", "unk_token": "[UNK]", "cls_token": "[CLS]", "sep_token": "[SEP]"}
        characters = [chr(code) for code in range(33, 127)]
        pieces = [*special.values(), "[MASK]", *WORDS, *characters, *(f"##{character}" for character in characters)]
        tokenizer = Tokenizer(models.WordPiece(_vocabulary(pieces), unk_token="[UNK]"))
        tokenizer.normalizer = normalizers.BertNormalizer()
        tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
        tokenizer.post_processor = processors.BertProcessing(
            ("[SEP]", tokenizer.token_to_id("[SEP]")), ("[CLS]", tokenizer.token_to_id("[CLS]"))
        )
        return PreTrainedTokenizerFast(tokenizer_object=tokenizer, model_max_length=128, **special)
    # As in Llama and Mistral, there is no padding token: the end-of-sequence token takes its place.
    special = {"pad_token" if model_type == "t5" else "bos_token": "<s>", "eos_token": "</s>"}
    # BPE merges that build each word, with and without a leading space, one character at a time.
    words = [*(f"Ġ{word}" for word in WORDS), *WORDS]
    merges = [(word[:end], word[end]) for word in words for end in range(1, len(word))]
    pieces = [
        *special.values(),
        *sorted(pre_tokenizers.ByteLevel.alphabet()),
        *(left + right for left, right in merges),
    ]
    tokenizer = Tokenizer(models.BPE(_vocabulary(pieces), list(dict.fromkeys(merges))))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    if model_type == "t5":
        tokenizer.post_processor = processors.TemplateProcessing(
            single="$A </s>", special_tokens=[("</s>", tokenizer.token_to_id("</s>"))]
        )
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, model_max_length=128, **special)


def _vocabulary(pieces: list[str]) -> dict[str, int]:
    """Return the ids of the distinct pieces, in order."""
    return {piece: index for index, piece in enumerate(dict.fromkeys(pieces))}
