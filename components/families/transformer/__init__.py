"""Transformers with a classification head: fine-tuning, adapters, prompts, export."""
