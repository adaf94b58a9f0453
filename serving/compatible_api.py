"""Handlers of the routes that clients of other servers call.

- ``POST /models/{model}``: the "Text Classification" task of huggingface.co's inference API.
- ``POST /predict``, ``GET /info``, ``GET /health``: Text Embeddings Inference
  (github.com/huggingface/text-embeddings-inference, router/src/http/types.rs and router/src/lib.rs).
- ``POST /classify``: vLLM (docs.vllm.ai, "Classification API"; vllm/entrypoints/pooling/classify/protocol.py).
"""

import time
from dataclasses import dataclass

from textgate.serving.endpoint import Endpoint
from textgate.serving.errors import RequestError
from textgate.serving.open_inference import SERVER_VERSION
from textgate.serving.ranking import ranked_labels
from textgate.serving.routing import Request, Response, json_response, parse_json
from textgate.serving.schemas import HubRequest, TeiRequest, VllmRequest


@dataclass(frozen=True)
class CompatibleApi:
    """Handlers of the routes in the formats of other servers."""

    endpoint: Endpoint

    async def hugging_face(self, request: Request) -> Response:
        """Return labels and scores of each text, the predicted label first."""
        body = parse_json(HubRequest, request.body, self.endpoint.limits.max_texts)
        texts = [body.inputs] if isinstance(body.inputs, str) else body.inputs
        prediction = await self.endpoint.classify(request, request.path_parameters["model"], texts)
        count = (body.parameters.top_k if body.parameters else None) or len(prediction.labels)
        return json_response(list(ranked_labels(prediction, count)))

    async def predict(self, request: Request) -> Response:
        """Return labels and scores in TEI's format: one list for one text, a list of lists for a batch."""
        body = parse_json(TeiRequest, request.body, self.endpoint.limits.max_texts)
        if body.raw_scores:
            raise RequestError(422, "raw_scores: this server returns probabilities only")
        texts, is_batch = _tei_texts(body.inputs)
        prediction = await self.endpoint.classify(request, self.endpoint.model_name(body.model), texts)
        if body.truncate is False and any(prediction.truncated):
            row = prediction.truncated.index(True)
            raise RequestError(
                422, f"text {row} is longer than the maximum of {prediction.model}, and truncate is false"
            )
        answers = list(ranked_labels(prediction, len(prediction.labels)))
        return json_response(answers if is_batch else answers[0])

    async def info(self, request: Request) -> Response:
        """Describe the only served model in TEI's format."""
        version = self.endpoint.find(self.endpoint.model_name(None))
        bundle, limits = version.loaded.bundle, self.endpoint.limits
        labels = {str(index): label for index, label in enumerate(bundle.labels)}
        classifier = {"id2label": labels, "label2id": {label: index for index, label in enumerate(bundle.labels)}}
        return json_response(
            {
                "model_id": version.model,
                "model_sha": version.version,
                "model_type": {"classifier": classifier},
                "max_input_length": bundle.max_tokens,
                "max_client_batch_size": limits.max_texts,
                "auto_truncate": not limits.reject_long_texts,
                "version": SERVER_VERSION,
            }
        )

    async def classify(self, request: Request) -> Response:
        """Return the label and all probabilities of each text in vLLM's format.

        Tokens are not counted for each request: the counts in ``usage`` are 0.
        """
        body = parse_json(VllmRequest, request.body, self.endpoint.limits.max_texts)
        if body.use_activation is False:
            raise RequestError(422, "use_activation: this server returns probabilities only")
        texts = [body.input] if isinstance(body.input, str) else body.input
        prediction = await self.endpoint.classify(request, self.endpoint.model_name(body.model), texts)
        results = zip(prediction.label_indices, prediction.probabilities, strict=True)
        return json_response(
            {
                "id": f"classify-{request.id}",
                "object": "list",
                "created": int(time.time()),
                "model": prediction.model,
                "data": [
                    {"index": row, "label": prediction.labels[index], "probs": probs, "num_classes": len(probs)}
                    for row, (index, probs) in enumerate(results)
                ],
                "usage": {"prompt_tokens": 0, "total_tokens": 0, "completion_tokens": 0, "prompt_tokens_details": None},
            }
        )


def _tei_texts(inputs: str | list[str | list[str]]) -> tuple[list[str], bool]:
    """Return the texts of TEI's ``inputs``, and whether they are a batch.

    A batch is a list of lists of one string; a list of one string is one text, and two strings are a pair.
    """
    if isinstance(inputs, str):
        return [inputs], False
    is_batch = all(isinstance(item, list) for item in inputs)
    items = inputs if is_batch else [inputs]
    texts = []
    for item in items:
        if len(item) != 1 or not isinstance(item[0], str):
            raise RequestError(422, "inputs: send a string, or several as [[string], [string], …]; pairs are not read")
        texts.append(item[0])
    return texts, is_batch
