"""A trained model in the formats that it is served in: merged weights, ONNX graph, Hugging Face folder."""
