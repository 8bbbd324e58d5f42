"""Things that go wrong between a client and the Hub.

A fault is a function of the request and of `answer`, which computes the ordinary response: it may return another
response, wrap the body, raise Disconnect, wait, or do anything else before or after. Write your own for a hook.
"""

from __future__ import annotations

import re
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field

from .exchange import Answer, Disconnect, Request, Response, reply

Fault = Callable[[Request, Answer], Response]


def status(code: int, *, retry_after: int | None = None) -> Fault:
    """Answer with this status instead; the request has no effect.

    retry_after: seconds, sent as the Retry-After header.
    """
    headers = {} if retry_after is None else {"Retry-After": str(retry_after)}

    def fault(request: Request, answer: Answer) -> Response:
        return reply({"error": f"injected fault: status {code}"}, code, headers)

    return fault


def cut(after: int = 0) -> Fault:
    """Close the connection when `after` bytes of the body have been sent; all headers have."""

    def cut_body(body: Iterable[bytes]) -> Iterator[bytes]:
        left = after
        for piece in body:
            yield piece[:left]
            left -= len(piece[:left])
            if left == 0:
                raise Disconnect

    return _on_body(cut_body)


def truncate(length: int) -> Fault:
    """Send only the first `length` bytes, with a Content-Length that says so."""

    def fault(request: Request, answer: Answer) -> Response:
        response = answer()
        content = b"".join(response.body)[:length]
        response.body, response.length = [content], len(content)
        return response

    return fault


def flip_bit(at: int = -1) -> Fault:
    """Change one bit of the body's byte `at` (negative: from the end); same size, same headers."""

    def fault(request: Request, answer: Answer) -> Response:
        response = answer()
        if response.length:
            response.body = _flipped(response.body, at % response.length)
        return response

    return fault


def stall(seconds: float, after: int | None = None) -> Fault:
    """Wait before the answer, or once `after` bytes of its body have been sent."""

    def stall_body(body: Iterable[bytes]) -> Iterator[bytes]:
        left = after or 0
        for piece in body:
            if 0 <= left < len(piece):
                yield piece[:left]
                time.sleep(seconds)
                yield piece[left:]
            else:
                yield piece
            left -= len(piece)

    def stall_answer(request: Request, answer: Answer) -> Response:
        time.sleep(seconds)
        return answer()

    return stall_answer if after is None else _on_body(stall_body)


def drop(request: Request, answer: Answer) -> Response:
    """Close the connection without an answer; the request has no effect."""
    raise Disconnect


def lose_answer(request: Request, answer: Answer) -> Response:
    """Carry the request out, then close the connection without an answer."""
    answer()
    raise Disconnect


def _on_body(change: Callable[[Iterable[bytes]], Iterator[bytes]]) -> Fault:
    def fault(request: Request, answer: Answer) -> Response:
        response = answer()
        response.body = change(response.body)
        return response

    return fault


def _flipped(body: Iterable[bytes], at: int) -> Iterator[bytes]:
    for piece in body:
        if 0 <= at < len(piece):
            piece = piece[:at] + bytes([piece[at] ^ 1]) + piece[at + 1 :]
        at -= len(piece)
        yield piece


@dataclass(eq=False)
class Rule:
    """A fault in force.

    pattern: searched in "METHOD /path?query". The bytes of an LFS file are served under
        /storage/<sha256>/<repo>/resolve/<sha>/<file>, after a redirect from /<repo>/resolve/<revision>/<file>:
        a pattern without ^ matches both, start it with "GET /storage/" for the bytes alone.
    skip: matching requests to let pass first.
    times: matching requests to hit after those; None for all.
    """

    pattern: str
    fault: Fault
    skip: int = 0
    times: int | None = None
    matched: int = 0  # matching requests so far
    _lock: threading.Lock = field(default_factory=threading.Lock, repr=False)

    def applies(self, request: Request) -> bool:
        """Should this request be hit? Counts it."""
        if not re.search(self.pattern, request.line):
            return False
        with self._lock:
            position = self.matched - self.skip
            self.matched += 1
        return position >= 0 and (self.times is None or position < self.times)
