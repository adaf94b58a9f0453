"""The model and its tokenizer: pretrained weights, head, adapter, prompt and precision."""
