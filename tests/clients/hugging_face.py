"""huggingface_hub: URL of the model, texts as JSON on standard input; for each its labels and scores as JSON."""

import json
import sys

from huggingface_hub import InferenceClient

client = InferenceClient(model=sys.argv[1], token="none")
texts = json.load(sys.stdin)
print(
    json.dumps(
        {
            "all": [[[found.label, found.score] for found in client.text_classification(text)] for text in texts],
            "top": [[found.label for found in client.text_classification(text, top_k=1)] for text in texts],
        }
    )
)
