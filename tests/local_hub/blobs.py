"""Content-addressed bytes: each file of any repo is stored once, under its sha256."""

from __future__ import annotations

import hashlib
import os
import tempfile
from collections.abc import Iterable, Iterator
from pathlib import Path

CHUNK = 1 << 16  # bytes read or sent at a time


class Blobs:
    """A folder of files named by the sha256 of their content."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.folder = folder

    def path(self, sha256: str) -> Path:
        return self.folder / sha256

    def has(self, sha256: str) -> bool:
        return self.path(sha256).is_file()

    def size(self, sha256: str) -> int:
        return self.path(sha256).stat().st_size

    def read(self, sha256: str) -> bytes:
        return self.path(sha256).read_bytes()

    def add(self, chunks: Iterable[bytes], expected: str | None = None) -> str:
        """Store bytes and return their sha256; ValueError (and nothing stored) if it is not the expected one."""
        digest = hashlib.sha256()
        handle, name = tempfile.mkstemp(dir=self.folder, prefix=".incoming-")
        try:
            with os.fdopen(handle, "wb") as file:
                for chunk in chunks:
                    digest.update(chunk)
                    file.write(chunk)
            sha256 = digest.hexdigest()
            if expected not in (None, sha256):
                raise ValueError(f"received bytes with sha256 {sha256}, announced as {expected}")
            os.replace(name, self.path(sha256))
            return sha256
        finally:
            Path(name).unlink(missing_ok=True)

    def chunks(self, sha256: str, start: int, stop: int) -> Iterator[bytes]:
        """Bytes [start, stop) of a blob, a chunk at a time."""
        with self.path(sha256).open("rb") as file:
            file.seek(start)
            for position in range(start, stop, CHUNK):
                yield file.read(min(CHUNK, stop - position))
