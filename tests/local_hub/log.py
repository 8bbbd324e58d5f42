"""What was asked of the Hub, and how many bytes went over the wire for it."""

from __future__ import annotations

import re
import threading
from collections.abc import Callable
from dataclasses import dataclass


@dataclass
class Entry:
    """One request. Bytes are bytes of body, headers not included."""

    method: str
    path: str  # as sent, percent-encoded, with the query
    host: str  # "127.0.0.1:PORT" is the Hub, "localhost:PORT" is its storage
    range: str | None  # the Range header
    has_authorization: bool
    status: int = 0  # 0 while unanswered, and for ever when the connection was dropped unanswered
    bytes_sent: int = 0
    bytes_received: int = 0

    @property
    def line(self) -> str:
        """What patterns are searched in: "GET /alice/model/resolve/main/config.json"."""
        return f"{self.method} {self.path}"


Where = str | Callable[[Entry], bool]  # a regular expression searched in Entry.line, or a predicate


class Log:
    """Entries in the order in which their requests arrived.

    An entry is there before its answer is, and bytes are counted before they are sent: whoever has an answer finds
    it in the log.
    """

    def __init__(self) -> None:
        self._entries: list[Entry] = []
        self._lock = threading.Lock()

    def add(self, entry: Entry) -> Entry:
        with self._lock:
            self._entries.append(entry)
        return entry

    def clear(self) -> None:
        with self._lock:
            self._entries.clear()

    def select(self, where: Where = "") -> list[Entry]:
        with self._lock:
            entries = list(self._entries)
        if isinstance(where, str):
            pattern = re.compile(where)
            return [entry for entry in entries if pattern.search(entry.line)]
        return [entry for entry in entries if where(entry)]
