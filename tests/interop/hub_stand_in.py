"""A stand-in for the Hugging Face Hub on this machine: repositories in a dictionary, served over HTTP."""

from __future__ import annotations

import base64
import hashlib
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import unquote, urlsplit

Files = dict[str, bytes]


class Hub:
    """What the stand-in holds: ``{hub id: {branch: {path: content}}}``, and whom it refuses."""

    def __init__(self) -> None:
        self.repositories: dict[str, dict[str, Files]] = {}
        self.gated: set[str] = set()
        self.broken = False
        self.read_only = False
        self.requests: list[str] = []
        self.private: dict[str, bool] = {}

    def commits(self, hub_id: str) -> dict[str, Files]:
        """Branches and commits by name."""
        branches = self.repositories[hub_id]
        return branches | {commit_of(files): files for files in branches.values()}


def commit_of(files: Files) -> str:
    digest = hashlib.sha1()
    for name in sorted(files):
        digest.update(name.encode() + files[name])
    return digest.hexdigest()


class Handler(BaseHTTPRequestHandler):
    hub: Hub
    protocol_version = "HTTP/1.1"

    def log_message(self, format: str, *args: Any) -> None:
        """Nothing."""

    def reply(self, status: int, body: Any = None, headers: dict[str, str] | None = None) -> None:
        content = body if isinstance(body, bytes) else json.dumps(body).encode()
        self.send_response(status)
        for name, value in {
            "Content-Length": str(len(content)),
            "Content-Type": "application/json",
            **(headers or {}),
        }.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(content)

    def refuse(self, status: int, code: str) -> None:
        self.reply(status, {"error": code}, {"X-Error-Code": code, "X-Error-Message": code})

    def content(self) -> bytes:
        return self.rfile.read(int(self.headers.get("Content-Length", 0)))

    def do_HEAD(self) -> None:
        self.do_GET()

    def do_GET(self) -> None:
        path = unquote(urlsplit(self.path).path).strip("/")
        self.hub.requests.append(f"{self.command} {path}")
        if self.hub.broken:
            return self.refuse(500, "Broken")
        kind, *words = path.split("/") if path.startswith("api/") else ["", *path.split("/")]
        words = words[1:] if kind == "api" else words  # without "models"
        hub_id, (what, *rest) = "/".join(words[:2]), words[2:] or ["revision", "main"]
        if hub_id not in self.hub.repositories:
            return self.refuse(401, "RepoNotFound")
        if hub_id in self.hub.gated:
            return self.refuse(403, "GatedRepo")
        commits = self.hub.commits(hub_id)
        if not rest or rest[0] not in commits:
            return self.refuse(404, "RevisionNotFound")
        files = commits[rest[0]]
        match what:
            case "revision":
                siblings = [{"rfilename": name} for name in files]
                self.reply(
                    200,
                    {
                        "id": hub_id,
                        "sha": commit_of(files),
                        "siblings": siblings,
                        "private": False,
                        "tags": [],
                        "downloads": 0,
                    },
                )
            case "tree":
                self.reply(
                    200,
                    [
                        {"type": "file", "path": name, "size": len(content), "oid": hashlib.sha1(content).hexdigest()}
                        for name, content in files.items()
                    ],
                )
            case "resolve":
                name = "/".join(rest[1:])
                if name not in files:
                    return self.refuse(404, "EntryNotFound")
                tag = hashlib.sha1(files[name]).hexdigest()
                self.reply(200, files[name], {"ETag": f'"{tag}"', "X-Repo-Commit": commit_of(files)})
            case _:
                self.refuse(404, "EntryNotFound")

    def do_POST(self) -> None:
        path, body = unquote(urlsplit(self.path).path).strip("/"), self.content()
        self.hub.requests.append(f"POST {path}")
        if self.hub.read_only:
            return self.refuse(403, "Forbidden")
        if path == "api/repos/create":
            values = json.loads(body)
            hub_id = "/".join(filter(None, (values.get("organization"), values["name"])))
            address = f"http://{self.headers['Host']}/{hub_id}"
            if hub_id in self.hub.repositories:
                return self.reply(409, {"error": "exists", "url": address})
            self.hub.repositories[hub_id] = {"main": {}}
            self.hub.private[hub_id] = values.get("private") is True or values.get("visibility") == "private"
            return self.reply(200, {"url": address, "id": hub_id})
        if path == "api/validate-yaml":
            good = "license: [" not in json.loads(body)["content"]
            errors = [] if good else [{"message": "a list that does not end"}]
            return self.reply(200 if good else 400, {"errors": errors, "warnings": []})
        _api, _models, owner, name, what, branch = path.split("/")
        branches = self.hub.repositories[f"{owner}/{name}"]
        match what:
            case "branch":
                if branch in branches:
                    return self.refuse(409, "Exists")
                branches[branch] = dict(branches["main"])
                self.reply(200, {})
            case "preupload":
                wanted = [file["path"] for file in json.loads(body)["files"]]
                self.reply(
                    200, {"files": [{"path": path, "uploadMode": "regular", "shouldIgnore": False} for path in wanted]}
                )
            case "commit":
                for line in body.decode().splitlines():
                    self.apply(json.loads(line), branches[branch])
                oid = commit_of(branches[branch])
                self.reply(
                    200,
                    {
                        "success": True,
                        "commitOid": oid,
                        "commitUrl": f"http://{self.headers['Host']}/{owner}/{name}/commit/{oid}",
                    },
                )
            case _:
                self.refuse(404, "EntryNotFound")

    def apply(self, line: dict[str, Any], files: Files) -> None:
        value = line["value"]
        if line["key"] == "file":
            files[value["path"]] = base64.b64decode(value["content"])
        elif line["key"] == "deletedFile":
            del files[value["path"]]


@contextmanager
def serving(hub: Hub) -> Iterator[str]:
    """The address of a server that serves ``hub`` until the block ends."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), type("Bound", (Handler,), {"hub": hub}))
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
