"""Fine-tune text classifiers on Kubeflow Pipelines, judge exactly what will be served, promote only what passes."""
