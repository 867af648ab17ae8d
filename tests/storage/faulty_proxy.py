"""A proxy on loopback that breaks what goes through it, as networks do."""

import http.client
import http.server
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

CUT, RESET, BUSY, DENIED = "cut", "reset", "busy", "denied"
"""Half of the answer and no more; no answer at all; an answer with the status 503, or 403."""

_HOP = {"connection", "transfer-encoding", "content-length", "keep-alive"}


class Proxy:
    """What the proxy saw, and what it is to do.

    Attributes:
      url: Where it listens.
      faults: What to do with the next requests, one after another; after them all goes through.
      delay_s: How long each request waits.
      ranges: The `Range` of each request that had an answer, in order; None where it had none.
      answered: How many requests had an answer.
      most_at_once: The largest number of requests under way.
    """

    def __init__(self, upstream: str) -> None:
        self._upstream = upstream.removeprefix("http://")
        self.faults: list[str] = []
        self.is_down = False
        self.delay_s = 0.0
        self.ranges: list[str | None] = []
        self.answered = self.most_at_once = self._at_once = 0
        self._lock = threading.Lock()
        self._server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), self._make_handler())
        self._server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}"
        self._thread = threading.Thread(target=self._server.serve_forever, daemon=True)
        self._thread.start()

    def reset(self) -> None:
        """Forgets all."""
        self.faults, self.is_down, self.delay_s, self.ranges = [], False, 0.0, []
        self.answered = self.most_at_once = 0

    def close(self) -> None:
        """Ends the proxy."""
        self._server.shutdown()
        self._server.server_close()

    def next_fault(self) -> str | None:
        """Returns what to do with a request."""
        with self._lock:
            if self.is_down:
                return RESET
            return self.faults.pop(0) if self.faults else None

    @contextmanager
    def under_way(self) -> Iterator[None]:
        """Counts a request while it is under way."""
        with self._lock:
            self._at_once += 1
            self.most_at_once = max(self.most_at_once, self._at_once)
        try:
            time.sleep(self.delay_s)
            yield
        finally:
            with self._lock:
                self._at_once -= 1

    def ask_upstream(self, method, path, headers, body):
        """Returns status, headers and body of the server's answer."""
        connection = http.client.HTTPConnection(self._upstream, timeout=60)
        try:
            connection.request(method, path, body, headers)
            answer = connection.getresponse()
            return answer.status, answer.getheaders(), answer.read()
        finally:
            connection.close()

    def _make_handler(self):
        proxy = self

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def handle_any(self):
                with proxy.under_way():
                    body = self._body()
                    fault = proxy.next_fault()
                    if fault == RESET:
                        self.close_connection = True
                        return
                    if fault in (BUSY, DENIED):
                        self._answer(503 if fault == BUSY else 403, [], b"")
                        return
                    headers = {k: v for k, v in self.headers.items() if k.lower() not in _HOP}
                    status, answer_headers, answer = proxy.ask_upstream(
                        self.command, self.path, headers, body
                    )
                    with proxy._lock:  # before the answer, as who asked may look at once
                        proxy.answered += fault is None
                        proxy.ranges.append(self.headers.get("Range"))
                    self._answer(status, answer_headers, answer, cut=fault == CUT)

            do_GET = do_HEAD = do_PUT = do_POST = do_DELETE = do_PATCH = handle_any  # noqa: N815

            def _body(self):
                if "chunked" not in self.headers.get("Transfer-Encoding", ""):
                    return self.rfile.read(int(self.headers.get("Content-Length", 0)))
                parts = []
                while length := int(self.rfile.readline().split(b";")[0], 16):
                    parts.append(self.rfile.read(length))
                    self.rfile.readline()
                while self.rfile.readline().strip():
                    pass
                return b"".join(parts)

            def _answer(self, status, headers, body, *, cut=False):
                self.send_response_only(status)
                length = next((v for k, v in headers if k.lower() == "content-length"), len(body))
                for name, value in headers:
                    if name.lower() not in _HOP:
                        self.send_header(name, value)
                self.send_header("Content-Length", str(length))
                self.end_headers()
                if self.command != "HEAD":
                    self.wfile.write(body[: len(body) // 2] if cut else body)
                self.close_connection = self.close_connection or cut

            def log_message(self, *_):
                pass

        return Handler
