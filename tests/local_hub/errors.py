"""A refusal by the Hub, in the words by which its clients recognise it."""

from __future__ import annotations

from collections.abc import Mapping

BAD_TOKEN = "Invalid credentials in Authorization header"  # the client compares this text literally


class HubError(Exception):
    """An answer other than success.

    status: HTTP status.
    message: sent as `error` in the body and as the X-Error-Message header.
    code: X-Error-Code, from which the client picks the exception class (RepoNotFound, GatedRepo, …).
    """

    def __init__(
        self, status: int, message: str, code: str | None = None, headers: Mapping[str, str] | None = None
    ) -> None:
        super().__init__(message)
        self.status = status
        self.message = message
        self.code = code
        self.headers = dict(headers or {})
