"""A real S3 server on the loopback, and a proxy before it that counts requests and makes faults."""

from __future__ import annotations

import http.client
import io
import threading
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


@dataclass
class Faults:
    """What the proxy does to the requests for which ``when(method, path)`` holds, ``times`` times."""

    # "503", "403", "reset" (before the act), "lost" (after it), "cut" (the answer), "mangle" (its content)
    kind: str
    times: int = 1
    when: Callable[[str, str], bool] = lambda method, path: True
    lock: threading.Lock = field(default_factory=threading.Lock)

    def strikes(self, method: str, path: str) -> bool:
        with self.lock:
            if self.times > 0 and self.when(method, path):
                self.times -= 1
                return True
        return False


class Proxy(ThreadingHTTPServer):
    """Forwards to ``port``. ``faults`` may be set at any time; ``seen`` counts methods of requests for blobs."""

    daemon_threads = True

    def __init__(self, port: int) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.port = port
        self.faults: Faults | None = None
        self.seen: Counter[str] = Counter()
        self.sent = 0
        threading.Thread(target=self.serve_forever, args=(0.05,), daemon=True).start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"

    def forget(self) -> None:
        self.seen.clear()
        self.sent = 0

    def handle_error(self, request: object, client_address: object) -> None:
        """A client that goes away is part of the game."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: Proxy

    def _forward(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        if "/sha256/" in self.path.partition("?")[0]:
            self.server.seen[self.command] += 1
            self.server.sent += len(body)
        faults = self.server.faults
        kind = faults.kind if faults and faults.strikes(self.command, self.path) else ""
        if kind == "503":
            self._answer(503, [], b"<Error><Code>SlowDown</Code><Message>Reduce your request rate.</Message></Error>")
            return
        if kind == "403":
            self._answer(403, [], b"<Error><Code>AccessDenied</Code><Message>Access Denied</Message></Error>")
            return
        if kind == "reset":
            self.close_connection = True
            return
        upstream = http.client.HTTPConnection("127.0.0.1", self.server.port, timeout=20)
        upstream.request(self.command, self.path, body, dict(self.headers.items()))
        answer = upstream.getresponse()
        content = answer.read()
        upstream.close()
        if kind == "lost":
            self.close_connection = True
            return
        if kind == "mangle":
            content = b"\0" * len(content)
            answer.headers = http.client.parse_headers(io.BytesIO(b"\r\n"))  # without the checksum S3 sends along
        self._answer(answer.status, answer.getheaders(), content, cut=kind == "cut")

    def _answer(self, status: int, headers: list[tuple[str, str]], content: bytes, *, cut: bool = False) -> None:
        self.send_response_only(status)
        length = next((v for k, v in headers if k.lower() == "content-length"), str(len(content)))
        for name, value in headers:
            if name.lower() not in {"content-length", "transfer-encoding", "connection"}:
                self.send_header(name, value)
        self.send_header("Content-Length", length)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(content[: len(content) // 2] if cut else content)
        if cut:
            self.close_connection = True

    def log_message(self, *_arguments: object) -> None:
        """Tests print nothing."""

    do_GET = do_PUT = do_POST = do_HEAD = do_DELETE = _forward
