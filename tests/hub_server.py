"""A Hub on this machine: what unmodified huggingface_hub and datasets ask of the real one to push and to load.

Repositories of datasets and models with branches and commits, files in git or in large-file storage, tokens that may
read or write, private repositories, and failures on request. What is sent is checked as the real one checks it: the
SHA-256 of large files, the parent of a commit, the metadata of a card.
"""

from __future__ import annotations

import base64
import hashlib
import json
import re
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

from tests.hub_repository import Repository, card_errors, children, content_id, entry

LARGE_SUFFIXES = (".parquet", ".safetensors", ".arrow", ".bin", ".gz")
LARGE_BYTES = 10 * 2**20


@dataclass
class Failure:
    """An answer that is given instead of the right one, ``times`` times, where method and path match."""

    method: str
    path: str
    status: int
    times: int = 1
    headers: dict[str, str] = field(default_factory=dict)
    message: str = "injected"


@dataclass
class Hub:
    """Repositories by kind and id; whoever has a token in ``tokens`` is its user and may write what is theirs."""

    repositories: dict[tuple[str, str], Repository] = field(default_factory=dict)
    stored: dict[str, bytes] = field(default_factory=dict)
    """Large files by their SHA-256."""
    tokens: dict[str, tuple[str, str]] = field(default_factory=dict)
    """Token -> user and role, which is 'read' or 'write'."""
    failures: list[Failure] = field(default_factory=list)
    tears: int = 0
    """So many uploads of large files break off in the middle."""
    requests: list[str] = field(default_factory=list)
    endpoint: str = ""

    def push(self, dataset: str, files: dict[str, str], revision: str = "main") -> str:
        """A dataset whose revision holds these files and no others."""
        repository = self.repositories.setdefault(("dataset", dataset), Repository())
        return repository.add({path: text.encode() for path, text in files.items()}, revision, dataset)

    def dataset(self, name: str) -> Repository:
        return self.repositories["dataset", name]

    def model(self, name: str) -> Repository:
        return self.repositories["model", name]

    def fail(self, method: str, path: str, status: int, **options: Any) -> None:
        """Answer with this status where a request's path matches the pattern."""
        self.failures.append(Failure(method, path, status, **options))

    def environment(self, home: str, token: str | None = None) -> dict[str, str]:
        """What makes a process take this for the Hub; huggingface_hub reads it when it is imported."""
        return {
            "HF_ENDPOINT": self.endpoint,
            "HF_HOME": home,
            "HF_HUB_DISABLE_XET": "1",
            "HF_HUB_DISABLE_TELEMETRY": "1",
            "HF_HUB_DISABLE_PROGRESS_BARS": "1",
            "NO_PROXY": "127.0.0.1",
            **({"HF_TOKEN": token} if token else {}),
        }


@contextmanager
def serve_hub() -> Iterator[Hub]:
    hub = Hub()

    class Handler(_Handler):
        served = hub

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    hub.endpoint = f"http://127.0.0.1:{server.server_port}"
    try:
        yield hub
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


class RefusedError(Exception):
    """Ends a request with this status."""

    def __init__(self, status: int, message: str, code: str = "", headers: Mapping[str, str] | None = None) -> None:
        super().__init__(message)
        self.status, self.code, self.headers = status, code, dict(headers or {})


ROUTES: list[tuple[str, str, str]] = [
    ("GET", r"/api/whoami-v2", "whoami"),
    ("POST", r"/api/validate-yaml", "validate_yaml"),
    ("POST", r"/api/repos/create", "create"),
    ("PUT", r"/large/(?P<oid>[0-9a-f]{64})", "store"),
    ("POST", r"/(?P<kind>datasets/)?(?P<id>[^/]+/[^/]+)\.git/info/lfs/objects/batch", "batch"),
    ("POST", r"/api/(?P<kind>datasets|models)/(?P<id>[^/]+/[^/]+)/preupload/(?P<revision>[^/]+)", "preupload"),
    ("POST", r"/api/(?P<kind>datasets|models)/(?P<id>[^/]+/[^/]+)/commit/(?P<revision>[^/]+)", "commit"),
    ("POST", r"/api/(?P<kind>datasets|models)/(?P<id>[^/]+/[^/]+)/paths-info/(?P<revision>[^/]+)", "paths_info"),
    ("GET", r"/api/(?P<kind>datasets|models)/(?P<id>[^/]+/[^/]+)/tree/(?P<revision>[^/]+)(?:/(?P<path>.*))?", "tree"),
    ("GET", r"/api/(?P<kind>datasets|models)/(?P<id>[^/]+/[^/]+)/refs", "refs"),
    ("GET", r"/api/(?P<kind>datasets|models)/(?P<id>[^/]+/[^/]+)(?:/revision/(?P<revision>[^/]+))?", "info"),
    ("GET", r"/(?P<kind>datasets/)?(?P<id>[^/]+/[^/]+)/resolve/(?P<revision>[^/]+)/(?P<path>.+)", "resolve"),
]


class _Handler(BaseHTTPRequestHandler):
    served: Hub
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        self._answer()

    do_HEAD = do_POST = do_PUT = do_GET  # noqa: N815

    def log_message(self, *args: Any) -> None:
        """Nobody reads it."""

    def _answer(self) -> None:
        self.served.requests.append(f"{self.command} {self.path}")
        self.url = urlsplit(self.path)
        try:
            self._fail_on_request()
            body = self._body()
            for method, pattern, name in ROUTES:
                found = re.fullmatch(pattern, self.url.path)
                if found and method in (self.command, "GET" if self.command == "HEAD" else self.command):
                    parts = {key: unquote(value) for key, value in found.groupdict().items() if value is not None}
                    return getattr(self, name)(body, **parts)  # type: ignore[no-any-return]
            raise RefusedError(404, f"no such address: {self.command} {self.path}")
        except RefusedError as refusal:
            headers = {"X-Error-Message": str(refusal), **refusal.headers}
            if refusal.code:
                headers["X-Error-Code"] = refusal.code
            return self._send(refusal.status, json.dumps({"error": str(refusal)}).encode(), headers)

    def _fail_on_request(self) -> None:
        for failure in self.served.failures:
            if failure.times and failure.method == self.command and re.search(failure.path, self.url.path):
                failure.times -= 1
                self._body()
                raise RefusedError(failure.status, failure.message, headers=failure.headers)

    def _body(self) -> bytes:
        if self.headers.get("Transfer-Encoding") != "chunked":
            length = int(self.headers.get("Content-Length") or 0)
            if self.command == "PUT" and self.served.tears:
                self.served.tears -= 1
                self.rfile.read(length // 2)
                self.close_connection = True
                self.connection.close()
                raise ConnectionResetError
            return self.rfile.read(length)
        chunks = []
        while size := int(self.rfile.readline().strip() or b"0", 16):
            chunks.append(self.rfile.read(size))
            self.rfile.readline()
        self.rfile.readline()
        return b"".join(chunks)

    def handle_one_request(self) -> None:
        """A connection that we broke off ourselves is no error."""
        try:
            super().handle_one_request()
        except (ConnectionResetError, ValueError, BrokenPipeError):
            self.close_connection = True

    def finish(self) -> None:
        """The same, for what was still to be sent."""
        try:
            super().finish()
        except (OSError, ValueError):
            self.close_connection = True

    # Who asks

    def _user(self) -> tuple[str, str] | None:
        """The user and the role of whoever asks; None is anybody."""
        token = (self.headers.get("Authorization") or "").removeprefix("Bearer ")
        if not token:
            return None
        if token not in self.served.tokens:
            raise RefusedError(401, "Invalid credentials in Authorization header")
        return self.served.tokens[token]

    def _must_write(self, owner: str) -> None:
        user = self._user()
        if user is None:
            raise RefusedError(401, "Invalid username or password.")
        if user[1] != "write":
            raise RefusedError(403, "You don't have the required permissions to perform this action: use a write token")
        if user[0] != owner:
            raise RefusedError(403, f"You don't have the rights to write under the namespace '{owner}'")

    def _repository(self, kind: str, name: str) -> Repository:
        repository = self.served.repositories.get(("dataset" if kind.startswith("dataset") else "model", name))
        user = self._user() if repository is None or repository.private else None
        if repository is None or (repository.private and (user is None or user[0] != name.split("/", maxsplit=1)[0])):
            raise RefusedError(404 if user else 401, "Repository not found", "RepoNotFound")
        return repository

    def _commit(self, repository: Repository, revision: str) -> str:
        commit = repository.revisions.get(revision, revision)
        if commit not in repository.commits:
            raise RefusedError(404, f"Invalid rev id: {revision}", "RevisionNotFound")
        return commit

    # What is asked

    def whoami(self, _: bytes) -> None:
        user = self._user()
        if user is None:
            raise RefusedError(401, "Invalid username or password.")
        token = {"displayName": "test", "role": user[1]}
        self._json({"type": "user", "id": user[0], "name": user[0], "orgs": [], "auth": {"accessToken": token}})

    def validate_yaml(self, body: bytes) -> None:
        errors = card_errors(json.loads(body)["content"])
        self._json({"errors": [{"message": message} for message in errors], "warnings": []}, 400 if errors else 200)

    def create(self, body: bytes) -> None:
        asked = json.loads(body)
        user, kind = self._user(), asked.get("type") or "model"
        owner = asked.get("organization") or (user[0] if user else "")
        self._must_write(owner)
        name = f"{owner}/{asked['name']}"
        url = f"{self.served.endpoint}/{'datasets/' if kind == 'dataset' else ''}{name}"
        if (kind, name) in self.served.repositories:
            return self._json({"error": "You already created this repo", "url": url}, 409)
        repository = Repository(private=asked.get("visibility") == "private" or bool(asked.get("private")))
        repository.add({".gitattributes": b"*.parquet filter=lfs diff=lfs merge=lfs -text\n"}, "main", name)
        self.served.repositories[kind, name] = repository
        return self._json({"url": url, "name": name, "id": name})

    def batch(self, body: bytes, id: str, kind: str = "") -> None:  # noqa: A002
        self._must_write(id.split("/", maxsplit=1)[0])
        self._repository(kind or "models", id)
        objects = []
        for asked in json.loads(body)["objects"]:
            found = {"oid": asked["oid"], "size": asked["size"], "authenticated": True}
            if asked["oid"] not in self.served.stored:
                found["actions"] = {"upload": {"href": f"{self.served.endpoint}/large/{asked['oid']}", "header": {}}}
            objects.append(found)
        self._json({"transfer": "basic", "objects": objects})

    def store(self, body: bytes, oid: str) -> None:
        if hashlib.sha256(body).hexdigest() != oid:
            raise RefusedError(400, "the content is not what its SHA-256 says")
        self.served.stored[oid] = body
        self._send(200, b"", {})

    def preupload(self, body: bytes, kind: str, id: str, revision: str) -> None:  # noqa: A002
        repository = self._repository(kind, id)
        self._must_write(id.split("/", maxsplit=1)[0])
        files = repository.commits[self._commit(repository, revision)]
        answers = []
        for asked in json.loads(body)["files"]:
            path = asked["path"]
            is_large = path.endswith(LARGE_SUFFIXES) or asked["size"] > LARGE_BYTES
            answer = {"path": path, "uploadMode": "lfs" if is_large else "regular", "shouldIgnore": False}
            if path in files:
                answer["oid"] = content_id(repository, path, files[path])
            answers.append(answer)
        self._json({"files": answers, "commitOid": self._commit(repository, revision)})

    def commit(self, body: bytes, kind: str, id: str, revision: str) -> None:  # noqa: A002
        repository = self._repository(kind, id)
        self._must_write(id.split("/", maxsplit=1)[0])
        parent = self._commit(repository, revision)
        files, large, message = dict(repository.commits[parent]), set(repository.large), ""
        for line in body.splitlines():
            operation = json.loads(line)
            value = operation["value"]
            match operation["key"]:
                case "header":
                    message = value["summary"]
                    if value.get("parentCommit") not in (None, parent):
                        raise RefusedError(412, "A commit has happened since. Please refresh and try again.")
                case "file":
                    files[value["path"]] = base64.b64decode(value["content"])
                    large.discard(value["path"])
                case "lfsFile":
                    if value["oid"] not in self.served.stored:
                        raise RefusedError(400, f"the large file {value['path']} was never uploaded")
                    files[value["path"]] = self.served.stored[value["oid"]]
                    large.add(value["path"])
                case "deletedFile":
                    if files.pop(value["path"], None) is None:
                        raise RefusedError(404, f"no file {value['path']} to delete", "EntryNotFound")
                case "deletedFolder":
                    files = {path: text for path, text in files.items() if not path.startswith(value["path"])}
        errors = card_errors(files.get("README.md", b"").decode())
        if errors:
            raise RefusedError(400, f"Invalid metadata in README.md: {'; '.join(errors)}")
        repository.large = large & set(files)
        repository.messages.append(message)
        commit = repository.add(files, revision, parent + message)
        prefix = "datasets/" if kind == "datasets" else ""
        url = f"{self.served.endpoint}/{prefix}{id}/commit/{commit}"
        self._json({"success": True, "commitOid": commit, "commitUrl": url, "hookOutput": ""})

    def info(self, _: bytes, kind: str, id: str, revision: str = "main") -> None:  # noqa: A002
        repository = self._repository(kind, id)
        commit = self._commit(repository, revision)
        siblings = [{"rfilename": path} for path in repository.commits[commit]]
        found = {"id": id, "sha": commit, "siblings": siblings, "tags": [], "private": repository.private}
        self._json(found | {"downloads": 0, "likes": 0, "lastModified": "2026-01-01T00:00:00.000Z"})

    def refs(self, _: bytes, kind: str, id: str) -> None:  # noqa: A002
        repository = self._repository(kind, id)
        branches = [
            {"name": name, "ref": f"refs/heads/{name}", "targetCommit": commit}
            for name, commit in repository.revisions.items()
        ]
        self._json({"branches": branches, "converts": [], "tags": [], "pullRequests": []})

    def tree(self, _: bytes, kind: str, id: str, revision: str, path: str = "") -> None:  # noqa: A002
        repository = self._repository(kind, id)
        files = repository.commits[self._commit(repository, revision)]
        recursive = parse_qs(self.url.query).get("recursive", ["false"])[0].lower() in ("true", "1")
        names = children(files, path.strip("/"), recursive)
        if path and not names:
            raise RefusedError(404, f"{path} does not exist", "EntryNotFound")
        self._json([entry(repository, files, name) for name in names])

    def paths_info(self, body: bytes, kind: str, id: str, revision: str) -> None:  # noqa: A002
        repository = self._repository(kind, id)
        files = repository.commits[self._commit(repository, revision)]
        asked = json.loads(body)["paths"] if body[:1] == b"{" else parse_qs(body.decode()).get("paths", [])
        self._json([found for path in asked if (found := entry(repository, files, path))])

    def resolve(self, _: bytes, id: str, revision: str, path: str, kind: str = "") -> None:  # noqa: A002
        repository = self._repository(kind or "models", id)
        commit = self._commit(repository, revision)
        content = repository.commits[commit].get(path)
        if content is None:
            raise RefusedError(404, f"{path} does not exist", "EntryNotFound", {"X-Repo-Commit": commit})
        etag = f'"{content_id(repository, path, content)}"'
        start, status = 0, 200
        headers = {"ETag": etag, "X-Repo-Commit": commit, "Accept-Ranges": "bytes"}
        if path in repository.large:
            headers |= {"X-Linked-Size": str(len(content)), "X-Linked-ETag": etag}
        if "Range" in self.headers:
            first, _, last = self.headers["Range"].removeprefix("bytes=").partition("-")
            start, end, status = int(first), int(last or len(content) - 1), 206
            headers["Content-Range"] = f"bytes {start}-{min(end, len(content) - 1)}/{len(content)}"
            content = content[start : end + 1]
        self._send(status, content, headers)

    def _json(self, value: Any, status: int = 200) -> None:
        self._send(status, json.dumps(value).encode(), {"Content-Type": "application/json"})

    def _send(self, status: int, body: bytes, headers: Mapping[str, str]) -> None:
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)
