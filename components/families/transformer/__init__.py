"""Transformer classifiers: fine-tuned fully, by adapters on a frozen base, or by a prompt.

``family`` implements the ``Family`` protocol. Its parts:

model/       load the pretrained weights, give them a head, an adapter or a prompt
training/    the training loop, its loss, batch size, sharding, tracking and checkpoints
export/      merge an adapter into its base; write an ONNX graph or a Hugging Face folder
"""
