"""A server on 127.0.0.1 that speaks as much of the Hugging Face hub's protocol as a fetch needs."""

import hashlib
import json
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread

COMMIT = "0123456789abcdef0123456789abcdef01234567"
MODEL = "org/tiny-nt"


@dataclass
class Hub:
    """One repository, and what to do wrong.

    Attributes:
        files: name -> bytes of the repository.
        statuses: path -> HTTP status to refuse with.
        cut_after: name -> bytes after which the connection breaks, once.
        lies: name -> bytes sent in place of the file's own.
        requests: (method, path, Range header) of each request.
        sent: bytes of files sent.
        redirects: whether large files are sent from another address, as the hub does it.
        moved_from: the id that the repository had before; who asks there is sent on.
    """

    files: dict[str, bytes]
    statuses: dict[str, tuple[int, str]] = field(default_factory=dict)
    cut_after: dict[str, int] = field(default_factory=dict)
    lies: dict[str, bytes] = field(default_factory=dict)
    requests: list[tuple[str, str, str | None]] = field(default_factory=list)
    sent: int = 0
    redirects: bool = True
    moved_from: str | None = None
    endpoint: str = ""

    def listing(self, *, blobs: bool) -> bytes:
        """What the hub says of the repository at its commit; of its files, if asked for blobs."""
        siblings = []
        for name, content in self.files.items():
            if not blobs:
                siblings.append({"rfilename": name})
                continue
            entry = {"rfilename": name, "size": len(content)}
            blob = b"blob %d\0" % len(content) + content
            entry["blobId"] = hashlib.sha1(blob, usedforsecurity=False).hexdigest()
            if is_large(name):
                sha256 = hashlib.sha256(content).hexdigest()
                entry["lfs"] = {"sha256": sha256, "size": len(content), "pointerSize": 134}
            siblings.append(entry)
        return json.dumps({"id": MODEL, "sha": COMMIT, "siblings": siblings}).encode()


def is_large(name: str) -> bool:
    """Whether a repository keeps a file in LFS."""
    return re.search(r"\.(safetensors|bin|ckpt|pt|part\d+)$", name) is not None


def etag(content: bytes) -> str:
    return f'"{hashlib.sha256(content).hexdigest()}"'


@contextmanager
def serving(hub: Hub) -> Iterator[Hub]:
    """Serve a hub until the context ends."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_HEAD(self) -> None:
            self.answer(body=False)

        def do_GET(self) -> None:
            self.answer(body=True)

        def log_message(self, *args: object) -> None:
            """Keep the test's output clean."""

        def answer(self, *, body: bool) -> None:
            path, _, query = self.path.partition("?")
            hub.requests.append((self.command, path, self.headers.get("Range")))
            if path in hub.statuses:
                status, code = hub.statuses[path]
                self.reply(status, b"{}", {"X-Error-Code": code}, body)
            elif re.fullmatch(rf"/api/models/{MODEL}(/revision/(main|{COMMIT}))?", path):
                listing = hub.listing(blobs="blobs=true" in query.lower())
                self.reply(200, listing, {"Content-Type": "application/json"}, body)
            elif hub.moved_from and path.startswith(f"/api/models/{hub.moved_from}"):
                there = path.replace(hub.moved_from, MODEL, 1)
                self.reply(307, b"", {"Location": f"{hub.endpoint}{there}"}, body)
            elif match := re.fullmatch(rf"/{MODEL}/resolve/(?:main|{COMMIT})/(.+)", path):
                self.resolve(match[1], body)
            elif match := re.fullmatch(r"/elsewhere/(.+)", path):
                self.file(match[1], body)
            else:
                code = "RevisionNotFound" if "/revision/" in path else "RepoNotFound"
                self.reply(404, b"{}", {"X-Error-Code": code}, body)

        def resolve(self, name: str, body: bool) -> None:
            """A large file lies elsewhere; what it is, the hub says itself."""
            if name not in hub.files:
                self.reply(404, b"{}", {"X-Error-Code": "EntryNotFound"}, body)
            elif hub.redirects and is_large(name):
                headers = {
                    "X-Repo-Commit": COMMIT,
                    "X-Linked-ETag": etag(hub.files[name]),
                    "X-Linked-Size": str(len(hub.files[name])),
                    "Location": f"{hub.endpoint}/elsewhere/{name}",
                }
                self.reply(302, b"", headers, body)
            else:
                self.file(name, body)

        def file(self, name: str, body: bool) -> None:
            content = hub.lies.get(name, hub.files[name])
            start = 0
            if wanted := re.fullmatch(r"bytes=(\d+)-", self.headers.get("Range") or ""):
                start = int(wanted[1])
            headers = {
                "ETag": etag(hub.files[name]),
                "X-Repo-Commit": COMMIT,
                "Accept-Ranges": "bytes",
            }
            if start >= len(content):
                self.reply(416, b"", headers | {"Content-Range": f"bytes */{len(content)}"}, body)
                return
            if start:
                headers["Content-Range"] = f"bytes {start}-{len(content) - 1}/{len(content)}"
            cut = hub.cut_after.pop(name, None) if body else None
            self.reply(206 if start else 200, content[start:], headers, body, cut)

        def reply(
            self,
            status: int,
            content: bytes,
            headers: dict[str, str],
            body: bool,
            cut: int | None = None,
        ) -> None:
            self.send_response(status)
            for key, value in headers.items():
                self.send_header(key, value)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            if body:
                self.wfile.write(content[:cut])
                hub.sent += len(content[:cut])
                if cut is not None:
                    self.wfile.flush()
                    self.close_connection = True
                    self.connection.close()

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
    hub.endpoint = f"http://127.0.0.1:{server.server_port}"
    try:
        yield hub
    finally:
        server.shutdown()
        server.server_close()
