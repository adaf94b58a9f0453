"""Experiment tracking: runs are logged to Weights & Biases and MLflow if the environment configures them.

A pipeline run is one run of the service. The step train logs its curves while it trains, the step record what the run
ended with. Each service's client works in a process of its own (``worker``), so that a service that is slow, down or
misconfigured costs a warning, never the run.

services        which services the environment configures, and whether their clients are installed
tracked_run     the run as the steps see it
finished_run    what is logged of a finished run
worker          process of one service's client; starts wandb_run or mlflow_run
"""
