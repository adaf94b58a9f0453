"""Tiny, randomly initialized stand-in for NovaSearch/stella_en_400M_v5, a base model with remote code."""

import json
import shutil
from pathlib import Path

DENSE = "2_Dense_1024"
CODE = Path(__file__).with_name("stella_code")
CONFIG = {
    "architectures": ["NewModel"],
    "attention_probs_dropout_prob": 0.0,
    "auto_map": {"AutoConfig": "configuration.NewConfig", "AutoModel": "modeling.NewModel"},
    "classifier_dropout": None,
    "hidden_act": "gelu",
    "hidden_dropout_prob": 0.1,
    "hidden_size": 64,
    "initializer_range": 0.02,
    "intermediate_size": 128,
    "layer_norm_eps": 1e-12,
    "layer_norm_type": "layer_norm",
    "logn_attention_clip1": False,
    "logn_attention_scale": False,
    "max_position_embeddings": 256,
    "model_type": "new",
    "num_attention_heads": 4,
    "num_hidden_layers": 2,
    "pack_qkv": True,
    "pad_token_id": 0,
    "position_embedding_type": "rope",
    "rope_scaling": {"factor": 2.0, "type": "ntk"},
    "rope_theta": 160000,
    "torch_dtype": "float32",
    "type_vocab_size": 2,
    "unpad_inputs": True,
    "use_memory_efficient_attention": True,
}


def write_stella(folder: Path) -> Path:
    """Write configuration, code, weights, a WordPiece tokenizer and the dense layer after the pooling to ``folder``."""
    import torch
    from safetensors.torch import save_file
    from transformers import AutoConfig, AutoModel, BertTokenizerFast

    shutil.copytree(CODE, folder, ignore=shutil.ignore_patterns("__pycache__"))
    words = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "good", "bad", *(f"word{number}" for number in range(60))]
    vocabulary = list(
        dict.fromkeys([*words, *map(chr, range(33, 127)), *(f"##{chr(code)}" for code in range(33, 127))])
    )
    BertTokenizerFast(vocab={word: index for index, word in enumerate(vocabulary)}).save_pretrained(folder)

    settings = {**CONFIG, "vocab_size": len(vocabulary)}
    (folder / "config.json").write_text(json.dumps(settings))
    # Without these options the model requires xformers, like the real one.
    without_xformers = {"unpad_inputs": False, "use_memory_efficient_attention": False}
    torch.manual_seed(0)
    config = AutoConfig.from_pretrained(folder, trust_remote_code=True, **without_xformers)
    AutoModel.from_config(config, trust_remote_code=True).save_pretrained(folder)
    (folder / "config.json").write_text(json.dumps(settings, indent=2))

    dense = torch.nn.Linear(CONFIG["hidden_size"], 48)
    (folder / DENSE).mkdir()
    save_file(
        {f"linear.{name}": weight for name, weight in dense.state_dict().items()}, folder / DENSE / "model.safetensors"
    )
    (folder / DENSE / "config.json").write_text(
        json.dumps(
            {
                "in_features": dense.in_features,
                "out_features": dense.out_features,
                "bias": True,
                "activation_function": "torch.nn.modules.linear.Identity",
            }
        )
    )
    return folder
