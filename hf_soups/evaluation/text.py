"""When are two inputs the same: normalised text, and hashes that depend on nothing else."""

from __future__ import annotations

import hashlib
import unicodedata

Text = str | tuple[str, str]  # one input: a text, or a pair of texts


def normalise(text: Text) -> str:
    """The text without what a copy may change: Unicode form (NFKC), case and white space.

    The two sides of a pair stay apart and in order.
    """
    parts = (text,) if isinstance(text, str) else text
    return "\x1f".join(" ".join(unicodedata.normalize("NFKC", part).casefold().split()) for part in parts)


def digest(purpose: str, content: str) -> bytes:
    """SHA-256 of `content`, independent between purposes: the half that a row is in says nothing about its rank."""
    return hashlib.sha256(f"{purpose}\x1e{content}".encode("utf-8", "surrogatepass")).digest()
