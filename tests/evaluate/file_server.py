"""A server of files on 127.0.0.1 that can be told what to do wrong."""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread


@dataclass
class Site:
    """Files, and how they are sent.

    Attributes:
        files: path -> content.
        etags: path -> entity tag; none is sent for others.
        headers: sent with every file.
        cuts: for each coming request, the bytes after which the connection breaks; None sends all.
        statuses: for each coming request, a status to refuse with; 0 answers.
        knows_ranges: whether Range is honoured.
        states_length: whether Content-Length is sent.
        requests: (path, Range, If-Range) of each request.
        sent: bytes of files that were sent.
    """

    files: dict[str, bytes]
    etags: dict[str, str] = field(default_factory=dict)
    headers: dict[str, str] = field(default_factory=dict)
    cuts: list[int | None] = field(default_factory=list)
    statuses: list[int] = field(default_factory=list)
    knows_ranges: bool = True
    states_length: bool = True
    requests: list[tuple[str, str | None, str | None]] = field(default_factory=list)
    sent: int = 0
    address: str = ""

    def url(self, path: str) -> str:
        """Where a file is."""
        return f"{self.address}/{path}"

    @property
    def ranges(self) -> list[str | None]:
        """What was asked for in each request."""
        return [asked for _, asked, _ in self.requests]


@contextmanager
def serving(site: Site) -> Iterator[Site]:
    """Serve until the context ends."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def log_message(self, *args: object) -> None:
            """Keep the test's output clean."""

        def do_GET(self) -> None:
            path = self.path.lstrip("/")
            asked, condition = self.headers.get("Range"), self.headers.get("If-Range")
            site.requests.append((path, asked, condition))
            refused = site.statuses.pop(0) if site.statuses else 0
            if refused or path not in site.files:
                self.answer(refused or 404, b"no", {})
                return
            content, headers = site.files[path], dict(site.headers)
            etag = site.etags.get(path)
            if etag:
                headers["ETag"] = etag
            match = re.fullmatch(r"bytes=(\d+)-", asked or "")
            start = int(match[1]) if match and site.knows_ranges else 0
            if condition and condition != etag:
                start = 0
            if start >= len(content) > 0 and start:
                self.answer(416, b"", {"Content-Range": f"bytes */{len(content)}"})
                return
            if start:
                headers["Content-Range"] = f"bytes {start}-{len(content) - 1}/{len(content)}"
            cut = site.cuts.pop(0) if site.cuts else None
            self.answer(206 if start else 200, content[start:], headers, cut)

        def answer(
            self, status: int, content: bytes, headers: dict[str, str], cut: int | None = None
        ) -> None:
            self.send_response(status)
            for key, value in headers.items():
                self.send_header(key, value)
            if site.states_length:
                self.send_header("Content-Length", str(len(content)))
            else:
                self.send_header("Connection", "close")
                self.close_connection = True
            self.end_headers()
            self.wfile.write(content[:cut])
            site.sent += len(content[:cut])
            if cut is not None:
                self.wfile.flush()
                self.close_connection = True
                self.connection.close()

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
    site.address = f"http://127.0.0.1:{server.server_port}"
    try:
        yield site
    finally:
        server.shutdown()
        server.server_close()
