"""A web server whose answers a test sets: status, header fields and body of each path."""

import http.server
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from email.utils import formatdate


@dataclass
class Page:
    """Answer to a GET; HEAD is refused with 403, as S3 refuses it for a presigned URL."""

    body: bytes = b""
    headers: dict[str, str] = field(default_factory=dict)
    """Content-Length and Date are added unless they are given here."""
    status: int = 200
    authorization: str | None = None
    """Value of the header that the page demands."""
    chunked: bool = False


@dataclass
class WebServer:
    """Address of a running server, its pages by path with query, and the requests it has answered."""

    address: str
    pages: dict[str, Page] = field(default_factory=dict)
    requests: list[str] = field(default_factory=list)
    """Method and path with query."""
    seen_headers: list[Mapping[str, str]] = field(default_factory=list)


@contextmanager
def web_server() -> Iterator[WebServer]:
    """Run a server on a free port of the loopback interface."""

    class Handler(http.server.BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            web.requests.append(f"{self.command} {self.path}")
            web.seen_headers.append(dict(self.headers.items()))
            page = web.pages.get(self.path, Page(status=404))
            if page.authorization not in (None, self.headers["Authorization"]):
                page = Page(status=401)
            self.send_response_only(page.status)
            length = {"Transfer-Encoding": "chunked"} if page.chunked else {"Content-Length": str(len(page.body))}
            for name, value in (
                {"Date": formatdate(usegmt=True), "Connection": "close"} | length | page.headers
            ).items():
                self.send_header(name, value)
            self.end_headers()
            for start in range(0, len(page.body), 1 << 16):
                part = page.body[start : start + (1 << 16)]
                self.wfile.write(b"%x\r\n%s\r\n" % (len(part), part) if page.chunked else part)
            if page.chunked and "X-Broken" not in page.headers:
                self.wfile.write(b"0\r\n\r\n")

        def do_HEAD(self) -> None:
            web.requests.append(f"{self.command} {self.path}")
            self.send_error(403)

        def log_message(self, *_: object) -> None: ...

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    web = WebServer(f"http://127.0.0.1:{server.server_port}")
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    try:
        yield web
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
