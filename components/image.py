"""The image every step's container starts from, when a compile does not name another."""

IMAGE = "textgate/pipeline:0.1.0"
