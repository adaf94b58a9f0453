"""A Kubeflow Model Registry in memory; the models that its client generates from its OpenAPI validate the bodies."""

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

from pydantic import BaseModel

ROOT = "/api/model_registry/v1"


class ModelRegistryServer:
    """Registered models, their versions and artifacts."""

    def __init__(self) -> None:
        self.models: list[dict[str, Any]] = []
        self.versions: list[dict[str, Any]] = []
        self.artifacts: list[dict[str, Any]] = []
        self.requests: list[tuple[str, str]] = []
        self.refuses: set[str] = set()
        """Paths that are answered with 500."""
        self.url = ""

    def get(self, path: str, query: dict[str, str]) -> tuple[int, Any]:
        match path.split("/"):
            case ["registered_models"]:
                return 200, {"items": self.models, "size": len(self.models), "pageSize": 1, "nextPageToken": ""}
            case ["registered_model"]:
                return self._one(self.models, query)
            case ["model_version"]:
                return self._one(self.versions, query, "registeredModelId")
            case ["model_artifact"]:
                return self._one(self.artifacts, query, "parent")
        return 404, {"code": "Not Found", "message": path}

    def post(self, path: str, body: dict[str, Any]) -> tuple[int, Any]:
        import mr_openapi.models as schemas

        match path.split("/"):
            case ["registered_models"]:
                return self._create(self.models, schemas.RegisteredModelCreate, body)
            case ["model_versions"]:
                return self._create(self.versions, schemas.ModelVersionCreate, body)
            case ["model_versions", parent, "artifacts"]:
                return self._create(self.artifacts, schemas.ModelArtifact, body, parent=parent)
        return 404, {"code": "Not Found", "message": path}

    def _create(
        self, items: list[dict[str, Any]], schema: type[BaseModel], body: dict[str, Any], **others: str
    ) -> tuple[int, Any]:
        known = {field.alias or name for name, field in schema.model_fields.items()}
        assert body.keys() <= known, body.keys() - known
        schema.model_validate(body)
        items.append({**body, "id": str(len(items) + 1), **others})
        return 201, {key: value for key, value in items[-1].items() if key not in others}

    def _one(self, items: list[dict[str, Any]], query: dict[str, str], parent: str = "") -> tuple[int, Any]:
        for item in items:
            if item["name"] == query["name"] and (not parent or item[parent] == query["parentResourceId"]):
                return 200, {key: value for key, value in item.items() if key != "parent"}
        return 404, {"code": "Not Found", "message": "no such entity"}


@contextmanager
def serve() -> Iterator[ModelRegistryServer]:
    """Run the server on this machine."""
    registry = ModelRegistryServer()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self._answer("GET")

        def do_POST(self) -> None:
            self._answer("POST")

        def log_message(self, *_: Any) -> None:
            pass

        def _answer(self, method: str) -> None:
            url = urlsplit(self.path)
            path = url.path.removeprefix(f"{ROOT}/")
            body = json.loads(self.rfile.read(int(self.headers.get("Content-Length") or 0)) or "null")
            registry.requests.append((method, path))
            try:
                if path in registry.refuses:
                    status, answer = 500, {"code": "Internal", "message": "no database"}
                elif method == "GET":
                    query = {key: values[0] for key, values in parse_qs(url.query).items()}
                    status, answer = registry.get(path, query)
                else:
                    status, answer = registry.post(path, body)
            except (AssertionError, ValueError) as error:
                status, answer = 400, {"code": "Bad Request", "message": str(error)}
            content = json.dumps(answer).encode()
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    registry.url = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield registry
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
