"""The description of the HTTP interface, as OpenAPI 3.1, from the models that the routes read requests with."""

import json
from typing import Any

from pydantic import BaseModel

from textgate.serving.app import Request, Response, Route
from textgate.serving.oip import SERVER_VERSION, InferRequest
from textgate.serving.routes import ClassifyRequest, ExplainRequest, FeedbackRequest, HubRequest

_MODEL = {"name": "model", "in": "path", "required": True, "schema": {"type": "string"}, "example": "films"}
_VERSION = {"name": "version", "in": "path", "required": True, "schema": {"type": "string"}, "example": "605127f62e6b"}
_REQUEST_ID = {
    "name": "X-Request-Id",
    "in": "header",
    "description": "Taken over into the answer and the log; made up without it.",
    "schema": {"type": "string", "maxLength": 128, "pattern": "^[!-~]+$"},
}


def _object(**properties: Any) -> dict[str, Any]:
    return {"type": "object", "properties": properties, "required": list(properties)}


def _list(items: dict[str, Any]) -> dict[str, Any]:
    return {"type": "array", "items": items}


_TEXT, _NUMBER, _WHOLE, _FLAG = {"type": "string"}, {"type": "number"}, {"type": "integer"}, {"type": "boolean"}
_BEST = _list(_object(label=_TEXT, score=_NUMBER))
_ANSWERED_BY = {"model": _TEXT, "version": _TEXT, "request_id": _TEXT}
_TENSOR = _object(name=_TEXT, datatype=_TEXT, shape=_list(_WHOLE))
_ERROR = _object(error={**_TEXT, "example": "no model 'film' is served here; those that are: films"})
_REFUSALS = {
    400: "The request cannot be read.",
    401: "It has no key, and needs one.",
    403: "Its key is not an admin's.",
    404: "There is no such model or version.",
    405: "There is no such method here.",
    408: "Its body did not come in time.",
    413: "Its body is too large.",
    422: "A key of it, or the number or length of its texts, is not right.",
    429: "Too much is waiting: Retry-After says when to ask again.",
    500: "The server failed; its log says how.",
    503: "Nothing is ready to answer.",
    504: "There was no answer in time.",
}

Operation = tuple[str, str, str, dict[str, Any], type[BaseModel] | None, int]
"""Method, path, summary, schema of the answer, schema of the request, status."""
_OPERATIONS: list[Operation] = [
    (
        "post",
        "/v1/models/{model}:classify",
        "Classify texts",
        _object(
            **_ANSWERED_BY,
            predictions=_list(_object(label=_TEXT, score=_NUMBER, truncated=_FLAG, top=_BEST)),
        ),
        ClassifyRequest,
        200,
    ),
    (
        "post",
        "/v1/models/{model}:explain",
        "Classify a text and tell what each word contributes",
        _object(
            **_ANSWERED_BY,
            label=_TEXT,
            score=_NUMBER,
            truncated=_FLAG,
            method=_TEXT,
            words=_list(_object(start=_WHOLE, end=_WHOLE, text=_TEXT, contribution=_NUMBER)),
        ),
        ExplainRequest,
        200,
    ),
    ("post", "/models/{model}", "Classify texts, in Hugging Face's shape", _list(_BEST), HubRequest, 200),
    (
        "post",
        "/v1/feedback",
        "Tell the right label of a text that was answered",
        _object(accepted=_FLAG),
        FeedbackRequest,
        202,
    ),
    (
        "get",
        "/v1/models",
        "List what is served",
        _object(models=_list(_object(name=_TEXT, channel=_TEXT, version=_TEXT, labels=_list(_TEXT)))),
        None,
        200,
    ),
    ("get", "/v2", "Describe the server", _object(name=_TEXT, version=_TEXT, extensions=_list(_TEXT)), None, 200),
    ("get", "/v2/health/live", "Say whether the server runs", _object(live=_FLAG), None, 200),
    ("get", "/v2/health/ready", "Say whether it can answer", _object(ready=_FLAG), None, 200),
    *(
        operation
        for path in ("/v2/models/{model}", "/v2/models/{model}/versions/{version}")
        for operation in (
            (
                "get",
                path,
                "Describe a model",
                _object(
                    name=_TEXT, versions=_list(_TEXT), platform=_TEXT, inputs=_list(_TENSOR), outputs=_list(_TENSOR)
                ),
                None,
                200,
            ),
            ("get", f"{path}/ready", "Say whether a model answers", _object(name=_TEXT, ready=_FLAG), None, 200),
            (
                "post",
                f"{path}/infer",
                "Classify the texts of a tensor",
                _object(model_name=_TEXT, model_version=_TEXT, id=_TEXT, outputs=_list(_TENSOR)),
                InferRequest,
                200,
            ),
        )
    ),
    *(
        (
            method,
            "/v2/repository/index",
            "List the models of the registry",
            _list(_object(name=_TEXT, version=_TEXT, state=_TEXT, reason=_TEXT)),
            None,
            200,
        )
        for method in ("get", "post")
    ),
    ("post", "/v2/repository/models/{model}/load", "Serve a model (admin)", {"type": "object"}, None, 200),
    ("post", "/v2/repository/models/{model}/unload", "Serve a model no longer (admin)", {"type": "object"}, None, 200),
]


def document() -> dict[str, Any]:
    """The whole description."""
    schemas: dict[str, Any] = {"Error": _ERROR}
    paths: dict[str, dict[str, Any]] = {}
    for method, path, summary, answer, request, status in _OPERATIONS:
        operation: dict[str, Any] = {
            "summary": summary,
            "parameters": [
                *([_MODEL] if "{model}" in path else []),
                *([_VERSION] if "{version}" in path else []),
                _REQUEST_ID,
            ],
            "responses": {str(status): _response(summary, answer)}
            | {str(code): _response(why, {"$ref": "#/components/schemas/Error"}) for code, why in _REFUSALS.items()},
        }
        if request is not None:
            schema = request.model_json_schema(ref_template="#/components/schemas/{model}")
            schemas.update(schema.pop("$defs", {}))
            schemas[request.__name__] = schema
            reference = {"schema": {"$ref": f"#/components/schemas/{request.__name__}"}}
            operation["requestBody"] = {"required": True, "content": {"application/json": reference}}
        if path.endswith("/infer"):
            # Tensors asked for in binary come behind the JSON.
            operation["responses"]["200"]["content"]["application/octet-stream"] = {}
        paths.setdefault(path, {})[method] = operation
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "textgate",
            "version": SERVER_VERSION,
            "description": "Text classifiers, answered by the very bundle that was judged.",
        },
        "paths": paths,
        "components": {
            "schemas": schemas,
            "securitySchemes": {"key": {"type": "http", "scheme": "bearer"}},
        },
        "security": [{"key": []}, {}],
    }


def openapi_route() -> Route:
    """``/openapi.json``, written once."""
    body = json.dumps(document(), ensure_ascii=False).encode("utf-8")

    async def answer(request: Request) -> Response:
        return Response(body)

    return Route("GET", "/openapi.json", answer, role=None)


def _response(description: str, schema: dict[str, Any]) -> dict[str, Any]:
    return {"description": description, "content": {"application/json": {"schema": schema}}}
