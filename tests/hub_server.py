"""A server on this machine that speaks as much of the Hugging Face Hub's protocol as presets need."""

import base64
import contextlib
import hashlib
import http.server
import json
import re
import threading
from collections.abc import Iterator

TOKEN = "hf_secret"
_LARGE = (".h5",)  # Suffixes of files that the Hub stores as LFS objects, elsewhere.


class HubServer(http.server.ThreadingHTTPServer):
    """Serves repositories, `{"user/name": [{"file": content}, ...]}`, with a dictionary per commit.

    Attributes:
        requests: what was asked for, as "METHOD path".
        objects: contents of LFS objects that were uploaded, by digest.
        claimed: the size of a file that is told before its download, by name, where it is not the real one.
        cut: names of files whose downloads end too early.
    """

    def __init__(self, repositories: dict[str, list[dict[str, bytes]]]):
        super().__init__(("127.0.0.1", 0), _Handler)
        self.repositories, self.requests, self.objects = repositories, [], {}
        self.claimed: dict[str, int] = {}
        self.cut: set[str] = set()
        self.url = f"http://127.0.0.1:{self.server_port}"
        self.elsewhere = f"http://localhost:{self.server_port}"  # Like the Hub, it stores large files on another host.

    def commit(self, repository: str, revision: str) -> tuple[str, dict[str, bytes]] | None:
        """The hash and the files of a commit; None if there is none of this name."""
        commits = {hashlib.sha1(repr(files).encode()).hexdigest(): files for files in self.repositories[repository]}
        name = list(commits)[-1] if revision == "main" else revision
        return (name, commits[name]) if name in commits else None


@contextlib.contextmanager
def serving(repositories: dict[str, list[dict[str, bytes]]]) -> Iterator[HubServer]:
    with HubServer(repositories) as server:
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        try:
            yield server
        finally:
            server.shutdown()
            thread.join()


class _Handler(http.server.BaseHTTPRequestHandler):
    server: HubServer

    def log_message(self, *_):
        pass

    def do_HEAD(self):
        self._serve_file()

    def do_GET(self):
        self._serve_file()

    def _serve_file(self):
        self.server.requests.append(f"{self.command} {self.path}")
        if stored := re.fullmatch("/objects/(.*)", self.path):
            return self._content(self.server.objects[stored[1]], stored[1], "", "weights")
        asked = re.fullmatch("/([^/]+/[^/]+)/resolve/([^/]+)/(.+)", self.path)
        if asked is None:
            return self._answer(401 if self.path.startswith("/api/models/") else 404)
        repository, revision, name = asked.groups()
        if repository.startswith("gated/"):
            return self._answer(403, headers={"X-Error-Code": "GatedRepo"})
        if repository not in self.server.repositories:
            return self._answer(404, headers={"X-Error-Code": "RepoNotFound"})
        found = self.server.commit(repository, revision)
        if found is None:
            return self._answer(404, headers={"X-Error-Code": "RevisionNotFound"})
        commit, files = found
        if name not in files:
            return self._answer(404, headers={"X-Error-Code": "EntryNotFound", "X-Repo-Commit": commit})
        content = files[name]
        if not name.endswith(_LARGE):
            return self._content(content, hashlib.sha1(content).hexdigest(), commit, name)
        digest = hashlib.sha256(content).hexdigest()
        self.server.objects[digest] = content
        size = self.server.claimed.get(name, len(content))
        linked = {"X-Linked-Etag": f'"{digest}"', "X-Linked-Size": str(size), "X-Repo-Commit": commit}
        return self._answer(302, headers={**linked, "Location": f"{self.server.elsewhere}/objects/{digest}"})

    def _content(self, content: bytes, etag: str, commit: str, name: str):
        headers = {"ETag": f'"{etag}"', "X-Repo-Commit": commit}
        size = self.server.claimed.get(name, len(content))
        self._answer(200, content[: len(content) // 2] if name in self.server.cut else content, headers, size)

    def do_POST(self):
        self.server.requests.append(f"POST {self.path}")
        body = self.rfile.read(int(self.headers["Content-Length"]))
        if self.headers.get("Authorization") != f"Bearer {TOKEN}":
            return self._answer(401, b'{"error": "Invalid username or password."}')
        if self.path == "/api/repos/create":
            asked = json.loads(body)
            repository = f"{asked['organization']}/{asked['name']}"
            known = repository in self.server.repositories
            self.server.repositories.setdefault(repository, [{}])
            return self._json({"url": f"{self.server.url}/{repository}"}, 409 if known else 200)
        if self.path == "/api/validate-yaml":
            return self._json({"errors": [], "warnings": []})
        if re.fullmatch("/api/models/[^/]+/[^/]+/preupload/main", self.path):
            files = [file["path"] for file in json.loads(body)["files"]]
            modes = {name: "lfs" if name.endswith(_LARGE) else "regular" for name in files}
            return self._json(
                {"files": [{"path": name, "uploadMode": mode, "shouldIgnore": False} for name, mode in modes.items()]}
            )
        if self.path.endswith(".git/info/lfs/objects/batch"):
            objects = [
                {**asked, "actions": {"upload": {"href": f"{self.server.url}/objects/{asked['oid']}"}}}
                for asked in json.loads(body)["objects"]
            ]
            return self._json({"transfer": "basic", "objects": objects})
        repository = re.fullmatch("/api/models/([^/]+/[^/]+)/commit/main", self.path)[1]
        files = dict(self.server.repositories[repository][-1])
        for line in body.splitlines():
            operation = json.loads(line)
            value = operation["value"]
            if operation["key"] == "file":
                files[value["path"]] = base64.b64decode(value["content"])
            elif operation["key"] == "lfsFile":
                files[value["path"]] = self.server.objects[value["oid"]]
        self.server.repositories[repository].append(files)
        address = f"{self.server.url}/{repository}/commit/0"
        return self._json({"success": True, "commitOid": "0" * 40, "commitUrl": address})

    def do_PUT(self):
        self.server.requests.append(f"PUT {self.path}")
        content = self.rfile.read(int(self.headers["Content-Length"]))
        digest = self.path.rpartition("/")[2]
        assert hashlib.sha256(content).hexdigest() == digest
        self.server.objects[digest] = content
        self._answer(200)

    def _json(self, content: dict, status: int = 200):
        self._answer(status, json.dumps(content).encode(), {"Content-Type": "application/json"})

    def _answer(
        self, status: int, content: bytes = b"", headers: dict[str, str] | None = None, size: int | None = None
    ):
        self.send_response(status)
        for name, value in (headers or {}).items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(content) if size is None else size))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(content)
