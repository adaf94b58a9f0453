"""Run a TrainJob as the train step does: python follow.py NAME.

The pod is the step's: its container is named ``main``, and KFP_POD_NAME holds its name.
"""

import sys

from textgate.components.contracts import Resources
from textgate.components.step import step_work
from textgate.components.train.trainjob import run_train_job

with step_work():
    resources = Resources.model_validate({"nodes": 2, "cpu": "100m", "memory": "256Mi"})
    run_train_job(sys.argv[1], ["python", "-c", "import os; print('node', os.environ['PET_NODE_RANK'])"], resources)
    print("the TrainJob has ended")
