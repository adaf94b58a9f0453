"""The plain routes: classify and explain, Hugging Face's shape, feedback, the models, the page."""

from dataclasses import asdict, dataclass
from importlib import resources
from importlib.resources.abc import Traversable
from pathlib import PurePath
from typing import Annotated, Any, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from textgate.components.inference.explain import METHOD
from textgate.serving.app import Request, Response, Route, answer_json
from textgate.serving.endpoint import Endpoint
from textgate.serving.errors import RequestError
from textgate.serving.metrics import CONTENT_TYPE

_PAGE = resources.files("textgate.serving") / "page"
_TYPES = {
    ".html": b"text/html; charset=utf-8",
    ".js": b"text/javascript; charset=utf-8",
    ".css": b"text/css; charset=utf-8",
}


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)


TopK = Annotated[int, Field(ge=1, description="How many of the labels to list, the most probable first.")]


class ClassifyRequest(_Strict):
    """Texts to classify."""

    texts: list[str] = Field(min_length=1, examples=[["You Won't Believe What Happened Next"]])
    top_k: TopK = 1


class ExplainRequest(_Strict):
    """One text to explain."""

    text: str = Field(examples=["You Won't Believe What Happened Next"])
    label: str | None = Field(default=None, description="What the words speak for; the answered label without it.")


class FeedbackRequest(_Strict):
    """The right label of a text that was answered."""

    request_id: str = Field(min_length=1, max_length=128, description="X-Request-Id of the answer.")
    label: str = Field(description="The right one.")
    index: int = Field(default=0, ge=0, description="Which of the request's texts.")
    model: str | None = Field(default=None, description="Needed when several models are served.")


class HubParameters(BaseModel):
    """As transformers' text-classification pipeline takes them."""

    model_config = ConfigDict(extra="forbid", strict=True)

    top_k: TopK | None = None
    function_to_apply: Annotated[str, Field(pattern="^softmax$")] | None = None


class HubRequest(BaseModel):
    """Hugging Face's text-classification request."""

    model_config = ConfigDict(extra="ignore", strict=True)

    inputs: str | list[str] = Field(examples=["You Won't Believe What Happened Next"])
    parameters: HubParameters | None = None


_Model = TypeVar("_Model", bound=BaseModel)


def parsed(model: type[_Model], body: bytes) -> _Model:
    """The body as a ``model``.

    Raises:
        RequestError: 400, it is no JSON; 422, a key of it is not right.
    """
    try:
        return model.model_validate_json(body)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        if first["type"] == "json_invalid":
            raise RequestError(400, f"the body is not JSON: {first['msg']}") from error
        where = ".".join(map(str, first["loc"])) or "the body"
        raise RequestError(422, f"{where}: {first['msg']}") from error


@dataclass(frozen=True)
class PlainRoutes:
    """Everything but the Open Inference Protocol."""

    endpoint: Endpoint

    def table(self) -> list[Route]:
        """The routes."""
        admit = self.endpoint.batcher.admit
        return [
            Route("POST", "/v1/models/{model}:classify", self.classify, admit=admit),
            Route("POST", "/v1/models/{model}:explain", self.explain, admit=admit),
            Route("POST", "/models/{model}", self.hub, admit=admit),
            Route("POST", "/v1/feedback", self.feedback),
            Route("GET", "/v1/models", self.models),
            Route("GET", "/metrics", self.metrics),
            *(_page(file) for file in _PAGE.iterdir() if PurePath(file.name).suffix in _TYPES),
        ]

    async def classify(self, request: Request) -> Response:
        """Label, score and the most probable labels of each text."""
        asked = parsed(ClassifyRequest, request.body)
        request.texts = len(asked.texts)
        answers = await self.endpoint.answer(request.names["model"], asked.texts, request.id)
        request.answered_by = (answers.model, answers.version)
        predictions = [
            {
                "label": answers.labels[chosen],
                "score": row[chosen],
                "truncated": truncated,
                "top": _best(answers.labels, row, asked.top_k),
            }
            for row, chosen, truncated in zip(answers.probabilities, answers.chosen, answers.truncated, strict=True)
        ]
        return answer_json({**_by(request), "predictions": predictions})

    async def explain(self, request: Request) -> Response:
        """What each word contributes to a label."""
        asked = parsed(ExplainRequest, request.body)
        request.texts = 1
        answers, label, words = await self.endpoint.explain(request.names["model"], asked.text, asked.label, request.id)
        request.answered_by = (answers.model, answers.version)
        return answer_json(
            {
                **_by(request),
                "label": label,
                "score": answers.probabilities[0][answers.labels.index(label)],
                "truncated": answers.truncated[0],
                "method": METHOD,
                "words": [asdict(word) for word in words],
            }
        )

    async def hub(self, request: Request) -> Response:
        """Labels and scores of each text, the most probable first (huggingface.co, "Text Classification" task)."""
        asked = parsed(HubRequest, request.body)
        texts = [asked.inputs] if isinstance(asked.inputs, str) else asked.inputs
        request.texts = len(texts)
        answers = await self.endpoint.answer(request.names["model"], texts, request.id)
        request.answered_by = (answers.model, answers.version)
        count = (asked.parameters.top_k if asked.parameters else None) or len(answers.labels)
        return answer_json([_best(answers.labels, row, count) for row in answers.probabilities])

    async def feedback(self, request: Request) -> Response:
        """Keep the right label of a text that was answered."""
        asked = parsed(FeedbackRequest, request.body)
        self.endpoint.feedback(asked.model, asked.request_id, asked.index, asked.label)
        return answer_json({"accepted": True}, 202)

    async def models(self, request: Request) -> Response:
        """What is served."""
        listed = [
            {
                "name": name,
                "channel": channel,
                "version": version.version,
                "labels": version.loaded.bundle.labels,
                "max_tokens": version.loaded.bundle.max_tokens,
            }
            for name, served in self.endpoint.repository.models.items()
            for channel, version in served.versions.items()
        ]
        return answer_json({"models": listed})

    async def metrics(self, request: Request) -> Response:
        """The counters, for Prometheus."""
        return Response(self.endpoint.metrics.page(), type=CONTENT_TYPE.encode("ascii"))


def _page(file: Traversable) -> Route:
    """A file of the page to try a model on, read once."""
    body = file.read_bytes()

    async def answer(request: Request) -> Response:
        return Response(body, type=_TYPES[PurePath(file.name).suffix])

    return Route("GET", "/" if file.name == "index.html" else f"/{file.name}", answer, role=None)


def _by(request: Request) -> dict[str, Any]:
    model, version = request.answered_by
    return {"model": model, "version": version, "request_id": request.id}


def _best(labels: list[str], row: list[float], count: int) -> list[dict[str, Any]]:
    """The ``count`` most probable labels; of equals the one that comes first."""
    order = sorted(range(len(labels)), key=lambda number: -row[number])[:count]
    return [{"label": labels[number], "score": row[number]} for number in order]
