"""Family ``embedding``: a classification head on the frozen embeddings of a pretrained encoder."""
