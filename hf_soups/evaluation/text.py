"""When are two inputs the same: normalised text, and hashes that depend on nothing else."""

from __future__ import annotations

import hashlib
import unicodedata
from typing import Any

Text = str | tuple[str, str]  # one input: a text, or a pair of texts


def normalise(text: str | tuple[str, ...]) -> str:
    """The text without what a copy may change: Unicode form (NFKC), case and white space.

    The sides of a pair stay apart and in order.
    """
    parts = (text,) if isinstance(text, str) else text
    return "\x1f".join(" ".join(unicodedata.normalize("NFKC", part).casefold().split()) for part in parts)


def identity(value: Any) -> str:
    """What is equal for two inputs that are the same: of text what `normalise` leaves, of anything else all of it."""
    if isinstance(value, str):
        return normalise(value)
    if isinstance(value, list | tuple):
        return "\x1f".join(map(identity, value))
    content = value if isinstance(value, bytes) else repr(value).encode("utf-8", "surrogatepass")
    return hashlib.sha256(content).hexdigest()


def shown(value: Any) -> str:
    """An input in a message."""
    return f"an image of {len(value):,} bytes" if isinstance(value, bytes) else repr(str(value)[:80])


def digest(purpose: str, content: str) -> bytes:
    """SHA-256 of `content`, independent between purposes: the half that a row is in says nothing about its rank."""
    return hashlib.sha256(f"{purpose}\x1e{content}".encode("utf-8", "surrogatepass")).digest()
