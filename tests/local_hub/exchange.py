"""A request and its response, free of sockets."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from email.message import Message
from functools import cached_property
from io import BufferedIOBase
from typing import Any
from urllib.parse import parse_qs

from .blobs import CHUNK


class Disconnect(Exception):
    """Raised anywhere while answering: the connection is closed on the spot, without another byte."""


class Body:
    """The body of a request, read from the connection once.

    count: told the size of each piece as it arrives.
    """

    def __init__(self, stream: BufferedIOBase, headers: Message, count: Callable[[int], None]) -> None:
        self._stream = stream
        self._count = count
        if headers.get("Transfer-Encoding", "").lower() == "chunked":
            self._pieces = self._chunked()
        else:
            self._pieces = self._sized(int(headers.get("Content-Length") or 0))

    def __iter__(self) -> Iterator[bytes]:
        """What has not been read yet."""
        for piece in self._pieces:
            self._count(len(piece))
            yield piece

    def _sized(self, size: int) -> Iterator[bytes]:
        while size > 0:
            piece = self._stream.read(min(CHUNK, size))
            if not piece:
                raise Disconnect("the client left in the middle of its request")
            size -= len(piece)
            yield piece

    def _chunked(self) -> Iterator[bytes]:
        while size := int(self._stream.readline().split(b";")[0] or b"0", 16):
            yield from self._sized(size)
            self._stream.readline()
        while self._stream.readline().strip():
            pass  # trailers


@dataclass
class Request:
    """What the client sent. Header names in any case.

    body: what has not arrived yet, piece by piece; `receive` makes it the content.
    """

    method: str
    path: str  # percent-encoded, without the query
    query: str
    headers: Message
    body: Iterable[bytes]
    content: bytes = b""

    @property
    def line(self) -> str:
        """What fault patterns are searched in."""
        return f"{self.method} {self.path}" + (f"?{self.query}" if self.query else "")

    @cached_property
    def parameters(self) -> dict[str, list[str]]:
        """The query. "expand[]=sha" and "expand=sha" are the same."""
        return {name.removesuffix("[]"): values for name, values in parse_qs(self.query).items()}

    def parameter(self, name: str, default: str = "") -> str:
        return self.parameters.get(name, [default])[0]

    def flag(self, name: str) -> bool:
        return self.parameter(name).lower() in ("1", "true")

    def receive(self) -> None:
        self.content = b"".join(self.body)

    @cached_property
    def json(self) -> dict[str, Any]:
        return dict(json.loads(self.content or b"{}"))

    def json_lines(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.content.splitlines() if line.strip()]

    def fields(self) -> dict[str, list[str]]:
        """The body as lists of strings, sent as a form or as JSON."""
        if "json" not in self.headers.get("Content-Type", ""):
            return parse_qs(self.content.decode())
        return {name: value if isinstance(value, list) else [value] for name, value in self.json.items()}


@dataclass
class Response:
    """What goes back. A HEAD request gets the headers of the same response.

    body: pieces, of `length` bytes together; a fault may wrap it to cut, damage or delay.
    length: None of a body that ends with the connection.
    """

    status: int = 200
    headers: dict[str, str] = field(default_factory=dict)
    body: Iterable[bytes] = ()
    length: int | None = 0


def reply(value: Any = None, status: int = 200, headers: Mapping[str, str] | None = None) -> Response:
    """A JSON response."""
    content = json.dumps(value, default=str).encode()
    return Response(status, {"Content-Type": "application/json", **(headers or {})}, [content], len(content))


Answer = Callable[[], Response]
