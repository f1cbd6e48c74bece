"""An HTTP/1.1 server for WSGI applications: keep-alive, a thread a connection, a send a response.

Werkzeug's own server closes each connection after one response, which would leave no keep-alive
traffic to correlate; this one is the smallest that does not.
"""

import sys
import traceback
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from io import BytesIO
from urllib.parse import unquote

from .truth import socket_ends

ENDS = "shop.socket_ends"
"""Key of the WSGI environment that holds both addresses of the request's own connection."""

HANG_UP = "shop.hang_up"
"""Key that an application sets to have the connection closed without an answer."""

REQUESTS_PER_CONNECTION_MAX = 40
"""Connections are renewed now and then, so that a run sees many decisions of kube-proxy."""


class Connection(BaseHTTPRequestHandler):
    """Serves the requests of one connection, one after the other."""

    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True

    def setup(self):
        super().setup()
        self.ends = socket_ends(self.connection)
        self.served = 0

    def do_GET(self):
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        environ = self.environ(body)
        status, headers, content = run(self.server.application, environ)
        if environ.get(HANG_UP):
            self.close_connection = True
            return
        self.served += 1
        if self.served >= REQUESTS_PER_CONNECTION_MAX:
            self.close_connection = True
            headers.append(("Connection", "close"))
        head = [f"HTTP/1.1 {status}", *(f"{name}: {value}" for name, value in headers), "", ""]
        # A response in two sends would meet Nagle's algorithm and delayed acknowledgements.
        self.wfile.write("\r\n".join(head).encode("latin-1") + content)

    do_POST = do_GET

    def environ(self, body: bytes) -> dict:
        path, _, query = self.path.partition("?")
        environ = {
            "REQUEST_METHOD": self.command,
            "SCRIPT_NAME": "",
            "PATH_INFO": unquote(path, "latin-1"),
            "QUERY_STRING": query,
            "RAW_URI": self.path,
            "REQUEST_URI": self.path,
            "SERVER_PROTOCOL": self.request_version,
            "SERVER_NAME": self.server.server_address[0],
            "SERVER_PORT": str(self.server.server_address[1]),
            "REMOTE_ADDR": self.client_address[0],
            "REMOTE_PORT": self.client_address[1],
            "CONTENT_TYPE": self.headers.get("Content-Type", ""),
            "CONTENT_LENGTH": str(len(body)),
            "wsgi.version": (1, 0),
            "wsgi.url_scheme": "http",
            "wsgi.input": BytesIO(body),
            "wsgi.errors": sys.stderr,
            "wsgi.multithread": True,
            "wsgi.multiprocess": False,
            "wsgi.run_once": False,
            ENDS: self.ends,
        }
        for name, value in self.headers.items():
            environ["HTTP_" + name.upper().replace("-", "_")] = value
        return environ

    def log_message(self, *_):
        """Requests are not logged: the truth file has them."""


class Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 128

    def __init__(self, application, port: int):
        super().__init__(("0.0.0.0", port), Connection)
        self.application = application

    def handle_error(self, request, client_address):
        if not isinstance(sys.exception(), ConnectionError):
            traceback.print_exc()


def run(application, environ) -> tuple[str, list[tuple[str, str]], bytes]:
    """One call of a WSGI application, its response complete in memory."""
    answer = {}

    def start_response(status, headers, _exc_info=None):
        answer.update(status=status, headers=list(headers))

    chunks = application(environ, start_response)
    try:
        content = b"".join(chunks)
    finally:
        if hasattr(chunks, "close"):
            chunks.close()
    return answer["status"], answer["headers"], content
