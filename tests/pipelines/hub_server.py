"""A server that speaks as much of the Hugging Face hub's API as pushing and fetching a model takes.

Paths and answers as the client huggingface_hub 2.4 asks for and reads them (hf_api.py, _commit_api.py, lfs.py). Large
files go by Git LFS (github.com/git-lfs/git-lfs/blob/main/docs/api/batch.md), as with HF_HUB_DISABLE_XET; the Xet
protocol is not spoken.
"""

import base64
import hashlib
import json
import re
import threading
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import unquote, urlsplit

Json = dict[str, Any]


@dataclass
class Repository:
    """One repository: its branches' commits, oldest first, each with all its files."""

    private: bool
    branches: dict[str, list[dict[str, bytes]]] = field(default_factory=lambda: {"main": [{".gitattributes": b"*"}]})

    @property
    def main(self) -> dict[str, bytes]:
        """What is in it now."""
        return self.branches["main"][-1]

    def commit(self, revision: str) -> tuple[str, dict[str, bytes]]:
        """Hash and files of a branch's head, or of a commit by its hash."""
        if revision in self.branches:
            files = self.branches[revision][-1]
            return _hash(files), files
        known = {_hash(files): files for commits in self.branches.values() for files in commits}
        return revision, known[revision]


@dataclass
class HubServer:
    """The server's state, which tests read, and what is to go wrong."""

    token: str
    address: str = ""
    breaks_at: str = ""
    """A request whose path holds this is answered with 500."""
    repositories: dict[str, Repository] = field(default_factory=dict)
    objects: dict[str, bytes] = field(default_factory=dict)
    """By sha256, what was uploaded by LFS."""
    requests: list[str] = field(default_factory=list)
    authorizations: set[str | None] = field(default_factory=set)
    """Of every request but uploads to the storage, which is another server's."""


class RefusedError(Exception):
    """An error of the API: status, code, message and what else is in its answer."""


def _hash(files: dict[str, bytes]) -> str:
    return hashlib.sha1(repr(sorted(files.items())).encode()).hexdigest()


def _oid(path: str, content: bytes) -> str:
    """As the hub tells files apart: LFS ones by their sha256, others as git does."""
    if _is_large(path):
        return hashlib.sha256(content).hexdigest()
    return hashlib.sha1(f"blob {len(content)}\0".encode() + content).hexdigest()


def _is_large(path: str) -> bool:
    return path.endswith((".safetensors", ".onnx"))


class _Handler(BaseHTTPRequestHandler):
    state: HubServer
    protocol_version = "HTTP/1.1"

    def do_POST(self) -> None:
        self._serve(
            {
                "/api/repos/create": self._create,
                "/api/validate-yaml": lambda body: {"errors": [], "warnings": []},
                r"/api/models/(?P<name>[^/]+/[^/]+)/branch/(?P<branch>.+)": self._branch,
                r"/api/models/(?P<name>[^/]+/[^/]+)/preupload/(?P<branch>.+)": self._preupload,
                r"/api/models/(?P<name>[^/]+/[^/]+)/commit/(?P<branch>.+)": self._commit,
                r"/(?P<name>[^/]+/[^/]+)\.git/info/lfs/objects/batch": self._batch,
            }
        )

    def do_PUT(self) -> None:
        self._serve({r"/storage/(?P<oid>[0-9a-f]{64})": self._store})

    def do_GET(self) -> None:
        self._serve(
            {
                r"/api/models/(?P<name>[^/]+/[^/]+)/tree/(?P<revision>[^/]+)": self._tree,
                r"/api/models/(?P<name>[^/]+/[^/]+)(/revision/(?P<revision>.+))?": self._info,
                r"/(?P<name>[^/]+/[^/]+)/resolve/(?P<revision>[^/]+)/(?P<path>.+)": self._resolve,
            }
        )

    do_HEAD = do_GET  # noqa: N815

    def _serve(self, routes: dict[str, Any]) -> None:
        path = unquote(urlsplit(self.path).path)
        self.state.requests.append(f"{self.command} {path}")
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        headers: dict[str, str] = {}
        try:
            if not path.startswith("/storage/"):
                self.state.authorizations.add(self.headers.get("Authorization"))
                if self.headers.get("Authorization") != f"Bearer {self.state.token}":
                    raise RefusedError(401, "", "Invalid username or password.")
            if self.state.breaks_at and self.state.breaks_at in path:
                raise RefusedError(500, "", "Internal Error")
            found = ((answer, re.fullmatch(route, path)) for route, answer in routes.items())
            known = [(answer, match) for answer, match in found if match]
            if not known:
                raise RefusedError(404, "", "Sorry, we can't find the page you are looking for.")
            answer, match = known[0]
            status, said = 200, answer(body=body, **match.groupdict())
            if isinstance(said, tuple):
                headers, said = said
        except RefusedError as error:
            status, code, message, *rest = error.args
            headers, said = {"X-Error-Code": code, "X-Error-Message": message}, {"error": message, **dict(rest)}
        content = said if isinstance(said, bytes) else json.dumps(said).encode()
        self.send_response(status)
        for name, value in {"Content-Length": str(len(content)), **headers}.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(content)

    def _create(self, body: bytes) -> Json:
        asked = json.loads(body)
        name = f"{asked['organization']}/{asked['name']}"
        if asked["organization"] == "others":
            raise RefusedError(403, "", 'You don\'t have the rights to create a model under the namespace "others"')
        url = f"{self.state.address}/{name}"
        if name in self.state.repositories:
            raise RefusedError(409, "", "You already created this model repo", ("url", url))
        self.state.repositories[name] = Repository(asked.get("visibility") == "private")
        return {"url": url}

    def _repository(self, name: str) -> Repository:
        if name not in self.state.repositories:
            raise RefusedError(404, "RepoNotFound", "Repository not found")
        return self.state.repositories[name]

    def _branch(self, body: bytes, name: str, branch: str) -> Json:
        branches = self._repository(name).branches
        if branch in branches:
            raise RefusedError(409, "", "Reference already exists")
        branches[branch] = [branches["main"][-1]]
        return {}

    def _info(self, body: bytes, name: str, revision: str | None = None) -> Json:
        repository = self._repository(name)
        commit, files = repository.commit(revision or "main")
        siblings = [{"rfilename": path} for path in files]
        return {"id": name, "modelId": name, "sha": commit, "private": repository.private, "siblings": siblings}

    def _tree(self, body: bytes, name: str, revision: str) -> list[Json]:
        _, files = self._repository(name).commit(revision)
        return [
            {"type": "file", "path": path, "oid": _oid(path, content), "size": len(content)}
            for path, content in files.items()
        ]

    def _resolve(self, body: bytes, name: str, revision: str, path: str) -> tuple[dict[str, str], bytes]:
        commit, files = self._repository(name).commit(revision)
        return {"X-Repo-Commit": commit, "ETag": f'"{_oid(path, files[path])}"'}, files[path]

    def _preupload(self, body: bytes, name: str, branch: str) -> Json:
        _, held = self._repository(name).commit(branch)
        files = [
            {
                "path": path,
                "uploadMode": "lfs" if _is_large(path) else "regular",
                "shouldIgnore": False,
                "oid": _oid(path, held[path]) if path in held else None,
            }
            for path in (file["path"] for file in json.loads(body)["files"])
        ]
        return {"files": files}

    def _batch(self, body: bytes, name: str) -> Json:
        objects = json.loads(body)["objects"]
        for asked in objects:
            if asked["oid"] not in self.state.objects:
                asked["actions"] = {"upload": {"href": f"{self.state.address}/storage/{asked['oid']}"}}
        return {"transfer": "basic", "objects": objects}

    def _store(self, body: bytes, oid: str) -> Json:
        assert hashlib.sha256(body).hexdigest() == oid
        self.state.objects[oid] = body
        return {}

    def _commit(self, body: bytes, name: str, branch: str) -> Json:
        repository = self._repository(name)
        head, files = repository.commit(branch)
        files = dict(files)
        for line in map(json.loads, body.splitlines()):
            value = line["value"]
            match line["key"]:
                case "header":
                    if value["parentCommit"] != head:
                        raise RefusedError(412, "", "A commit has happened since")
                case "file":
                    files[value["path"]] = base64.b64decode(value["content"])
                case "lfsFile":
                    files[value["path"]] = self.state.objects[value["oid"]]
                case "deletedFile":
                    del files[value["path"]]
        repository.branches[branch].append(files)
        commit = _hash(files)
        return {"commitUrl": f"{self.state.address}/{name}/commit/{commit}", "commitOid": commit}

    def log_message(self, *_: object) -> None:
        pass


def serve(state: HubServer) -> ThreadingHTTPServer:
    """Answer on a free port of this machine, in a thread."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), type("Handler", (_Handler,), {"state": state}))
    server.daemon_threads = True
    state.address = f"http://127.0.0.1:{server.server_port}"
    threading.Thread(target=server.serve_forever, daemon=True).start()
    return server
