"""Computing the last layer for the first token only does not change the logits."""

import pytest
import torch
from transformers import AutoConfig, AutoModelForSequenceClassification

from textgate.components.families.transformer.export.first_token import compute_first_token_only
from textgate.components.families.transformer.model.architectures import ARCHITECTURES

BERT = {"num_hidden_layers": 3, "num_attention_heads": 4, "hidden_size": 32, "intermediate_size": 64}
SIZES = {"distilbert": {"n_layers": 3, "n_heads": 4, "dim": 32, "hidden_dim": 64}}
MODEL_TYPES = sorted(name for name, architecture in ARCHITECTURES.items() if architecture.first_token)


@pytest.mark.parametrize("model_type", MODEL_TYPES)
def test_logits_stay_the_same_and_only_the_first_token_is_computed(model_type: str) -> None:
    torch.manual_seed(0)
    config = AutoConfig.for_model(model_type, vocab_size=50, pad_token_id=0, **SIZES.get(model_type, BERT))
    model = AutoModelForSequenceClassification.from_config(config).eval()
    ids = torch.randint(1, 50, (4, 9))
    mask = (torch.arange(9) < torch.tensor([9, 1, 5, 7])[:, None]).long()
    with torch.inference_mode():
        before = model(input_ids=ids * mask, attention_mask=mask).logits
        compute_first_token_only(model)
        hidden = model.base_model(input_ids=ids * mask, attention_mask=mask).last_hidden_state
        after = model(input_ids=ids * mask, attention_mask=mask).logits
    torch.testing.assert_close(after, before, atol=1e-5, rtol=1e-5)
    assert hidden.shape == (4, 1, 32)
