"""Fine-tuning on ``transformers.Trainer``: loop, loss, batch size, sharding, tracking and checkpoints."""
