"""An HTTP server on loopback that answers each request as a test scripts it."""

import contextlib
import http.server
import threading


class Server(http.server.ThreadingHTTPServer):
    """Answers request number i with `script[i]`, the last for all that follow."""

    def __init__(self):
        super().__init__(("127.0.0.1", 0), _Handler)
        self.script = []
        self.requests = []

    @property
    def url(self):
        return f"http://127.0.0.1:{self.server_port}/file.bin"


class _Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        answer = self.server.script[min(len(self.server.requests), len(self.server.script) - 1)]
        self.server.requests.append((self.path, self.headers.get("Range")))
        answer(self)

    def log_message(self, *_):
        pass


@contextlib.contextmanager
def running_server():
    server = Server()
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    try:
        yield server
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def respond(handler, status, body=b"", *, announced=None, **headers):
    """Sends a response; one whose `announced` length is beyond its body is cut short."""
    handler.send_response(status)
    handler.send_header("Content-Length", str(len(body) if announced is None else announced))
    for name, value in headers.items():
        handler.send_header(name.replace("_", "-"), value)
    handler.end_headers()
    handler.wfile.write(body)


def failing(status):
    return lambda handler: respond(handler, status, b"an error page")


def whole(data):
    """Gives all of the data, whatever range is asked for."""
    return lambda handler: respond(handler, 200, data)


def ranged(data, *, cut_after=None):
    """Gives the range asked for, and closes the connection after `cut_after` bytes of it."""

    def answer(handler):
        asked = handler.headers.get("Range")
        start = int(asked.removeprefix("bytes=").removesuffix("-")) if asked else 0
        rest = data[start:]
        place = {"Content_Range": f"bytes {start}-{len(data) - 1}/{len(data)}"} if asked else {}
        status = 206 if asked else 200
        respond(handler, status, rest[:cut_after], announced=len(rest), **place)

    return answer


def silent(handler):
    """Closes the connection without an answer."""
    handler.close_connection = True
