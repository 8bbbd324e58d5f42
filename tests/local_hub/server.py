"""HTTP on the loopback interface: sockets in, `Request` to a function, `Response` out."""

from __future__ import annotations

import contextlib
import socket
import sys
import threading
import traceback
from collections.abc import Callable
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from .errors import HubError
from .exchange import Answer, Body, Disconnect, Request, Response, reply
from .faults import Rule
from .log import Entry, Log


class Server(ThreadingHTTPServer):
    """Serves `answer` on 127.0.0.1, logs each request and applies the faults in force.

    crashes: tracebacks of unexpected errors, here or in a fault. A good run leaves it empty.
    """

    daemon_threads = True
    request_queue_size = 64

    def __init__(self, port: int, answer: Callable[[Request], Response]) -> None:
        super().__init__(("127.0.0.1", port), _Handler)
        self.answer = answer
        self.log = Log()
        self.rules: list[Rule] = []
        self.crashes: list[str] = []
        self._connections: set[socket.socket] = set()
        self._thread = threading.Thread(target=self.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Stop serving, and drop connections that clients keep open."""
        self.shutdown()
        self._thread.join()
        self.server_close()
        for connection in list(self._connections):
            with contextlib.suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)

    def process_request_thread(self, request: Any, client_address: Any) -> None:
        self._connections.add(request)
        try:
            super().process_request_thread(request, client_address)
        finally:
            self._connections.discard(request)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that went away is no news; anything else is a crash."""
        if not isinstance(sys.exc_info()[1], ConnectionError):
            self.crashes.append(traceback.format_exc())

    def respond(self, request: Request) -> Response:
        """The ordinary answer, as the faults in force turn it."""
        answer: Answer = partial(self._plain, request)
        for rule in list(self.rules):
            if rule.applies(request):
                answer = partial(rule.fault, request, answer)
        try:
            return answer()
        except (Disconnect, ConnectionError):
            raise
        except Exception:
            self.crashes.append(f"{request.line}\n{traceback.format_exc()}")
            return reply({"error": "the test Hub crashed; see its `crashes`"}, 500)

    def _plain(self, request: Request) -> Response:
        try:
            return self.answer(request)
        except HubError as error:
            message = " ".join(error.message.split()).encode("ascii", "replace").decode()  # fit for a header
            code = {"X-Error-Code": error.code} if error.code else {}
            headers = {"X-Error-Message": message, **code, **error.headers}
            return reply({"error": error.message}, error.status, headers)


class _Handler(BaseHTTPRequestHandler):
    """Reads one request after the other from a connection."""

    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True  # headers and body are separate writes; together they would wait 40 ms
    server: Server

    def do_GET(self) -> None:
        path, _, query = self.path.partition("?")
        entry = self.server.log.add(
            Entry(
                self.command,
                self.path,
                self.headers.get("Host", ""),
                self.headers.get("Range"),
                "Authorization" in self.headers,
            )
        )

        def count(received: int) -> None:
            entry.bytes_received += received

        body = Body(self.rfile, self.headers, count)
        request = Request(self.command, path, query, self.headers, body)
        try:
            response = self.server.respond(request)
            for _ in body:
                pass  # an unread rest would be taken for the next request
            self._send(response, entry)
        except (Disconnect, ConnectionError):
            self.close_connection = True
            with contextlib.suppress(OSError):
                self.connection.shutdown(socket.SHUT_RDWR)

    do_HEAD = do_POST = do_PUT = do_DELETE = do_GET

    def _send(self, response: Response, entry: Entry) -> None:
        entry.status = response.status
        self.send_response(response.status)
        for name, value in response.headers.items():
            self.send_header(name, value)
        if response.length is None:
            self.send_header("Connection", "close")  # which ends the connection after this answer
        else:
            self.send_header("Content-Length", str(response.length))
        self.end_headers()
        if self.command != "HEAD":
            for piece in response.body:
                entry.bytes_sent += len(piece)
                self.wfile.write(piece)

    def log_message(self, format: str, *args: Any) -> None:
        """Nothing on the terminal: Log has it all."""
