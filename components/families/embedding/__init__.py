"""A classification head on frozen sentence embeddings."""
