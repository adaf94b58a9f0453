"""Routes of the web page at ``/``, on which people try a model."""

from importlib import resources
from importlib.resources.abc import Traversable
from pathlib import PurePath

from textgate.serving.routing import Request, Response, Route

_FOLDER = resources.files("textgate.serving") / "page"
_CONTENT_TYPES = {
    ".html": "text/html; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".css": "text/css; charset=utf-8",
}


def page_routes() -> list[Route]:
    """Return a public route for each file of the page."""
    return [_file_route(file) for file in _FOLDER.iterdir() if PurePath(file.name).suffix in _CONTENT_TYPES]


def _file_route(file: Traversable) -> Route:
    body, content_type = file.read_bytes(), _CONTENT_TYPES[PurePath(file.name).suffix]

    async def handler(request: Request) -> Response:
        return Response(body, content_type=content_type)

    return Route("GET", "/" if file.name == "index.html" else f"/{file.name}", handler, role=None)
