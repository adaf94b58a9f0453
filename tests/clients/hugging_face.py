"""Call a model with huggingface_hub and print the labels and scores as JSON.

python hugging_face.py URL < texts.json
"""

import json
import sys

from huggingface_hub import InferenceClient

client = InferenceClient(model=sys.argv[1], token="none")
texts = json.load(sys.stdin)
print(
    json.dumps(
        {
            "all": [[[result.label, result.score] for result in client.text_classification(text)] for text in texts],
            "top": [[result.label for result in client.text_classification(text, top_k=1)] for text in texts],
        }
    )
)
