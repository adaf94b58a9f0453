"""Handlers of textgate's own routes, and of the metrics."""

from dataclasses import asdict, dataclass
from typing import Any

from textgate.components.inference.explain import METHOD
from textgate.serving.endpoint import Endpoint
from textgate.serving.metrics import CONTENT_TYPE
from textgate.serving.ranking import ranked_labels
from textgate.serving.routing import Request, Response, json_response, parse_json
from textgate.serving.schemas import ClassifyRequest, ExplainRequest, FeedbackRequest


@dataclass(frozen=True)
class NativeApi:
    """Handlers of textgate's own routes."""

    endpoint: Endpoint

    async def classify(self, request: Request) -> Response:
        """Return label, score and the first labels of each text."""
        body = parse_json(ClassifyRequest, request.body, self.endpoint.limits.max_texts)
        prediction = await self.endpoint.classify(request, request.path_parameters["model"], body.texts)
        predictions = [
            {**top[0], "truncated": truncated, "top": top}
            for top, truncated in zip(ranked_labels(prediction, body.top_k), prediction.truncated, strict=True)
        ]
        return json_response({**_answered_by(request), "predictions": predictions})

    async def explain(self, request: Request) -> Response:
        """Return the contribution of each word to a label."""
        body = parse_json(ExplainRequest, request.body)
        model = request.path_parameters["model"]
        prediction, label, words = await self.endpoint.explain(request, model, body.text, body.label)
        return json_response(
            {
                **_answered_by(request),
                "label": label,
                "score": prediction.probabilities[0][prediction.labels.index(label)],
                "truncated": prediction.truncated[0],
                "method": METHOD,
                "words": [asdict(word) for word in words],
            }
        )

    async def feedback(self, request: Request) -> Response:
        """Record the correct label of a text that was classified before."""
        body = parse_json(FeedbackRequest, request.body)
        await self.endpoint.feedback(body.model, body.request_id, body.index, body.label)
        return json_response({"accepted": True})

    async def models(self, request: Request) -> Response:
        """List the served models, one entry for each channel, and what cannot be served, with the reason."""
        models = [
            {
                "name": name,
                "channel": channel,
                "version": version.version,
                "labels": version.loaded.bundle.labels,
                "max_tokens": version.loaded.bundle.max_tokens,
                "test_f1": version.test_f1,
            }
            for name, served in self.endpoint.repository.models.items()
            for channel, version in served.versions.items()
        ]
        refused = [
            {
                "name": refusal.model,
                "channel": refusal.channel,
                "version": refusal.version,
                "reason": refusal.reason,
            }
            for refusal in self.endpoint.repository.refused
        ]
        return json_response({"models": models, "refused": refused})

    async def metrics(self, request: Request) -> Response:
        """Return the metrics in Prometheus' text format."""
        return Response(self.endpoint.metrics.page(), content_type=CONTENT_TYPE)


def _answered_by(request: Request) -> dict[str, Any]:
    model, version = request.answered_by
    return {"model": model, "version": version, "request_id": request.id}
