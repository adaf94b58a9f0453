"""A decoder that a prompt asks for the label (``prompt`` says how); all else is as for any other transformer."""

from textgate.components.families.transformer import export, fit, merge, predictor

__all__ = ["export", "fit", "merge", "predictor"]
