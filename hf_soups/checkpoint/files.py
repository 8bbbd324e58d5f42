"""Bytes by file name: a folder on disk, or anything that can be read by range."""

from __future__ import annotations

import os
from functools import cached_property
from pathlib import Path
from typing import Protocol

from hf_soups.errors import CheckpointError


class Source(Protocol):
    """One file, read by byte range."""

    @property
    def size(self) -> int: ...

    def read(self, start: int, length: int) -> bytes:
        """`length` bytes from `start`; an error if there are fewer."""
        ...


class Files(Protocol):
    """The files of one checkpoint."""

    @property
    def where(self) -> str:
        """What messages call the place."""
        ...

    def names(self) -> list[str]:
        """Relative names with `/`, sorted."""
        ...

    def source(self, name: str) -> Source: ...


class LocalFile:
    """A file on disk; opened on first use, read with pread so that threads need no lock."""

    def __init__(self, path: Path) -> None:
        self.path = path

    @cached_property
    def size(self) -> int:
        return self.path.stat().st_size

    @cached_property
    def _handle(self) -> int:
        return os.open(self.path, os.O_RDONLY)

    def read(self, start: int, length: int) -> bytes:
        try:
            content = os.pread(self._handle, length, start)
        except OSError as error:
            raise CheckpointError(f"{self.path}: cannot be read: {error.strerror}") from error
        if len(content) != length:
            raise CheckpointError(f"{self.path}: ends at byte {start + len(content):,}; it changed or is truncated")
        return content

    def __del__(self) -> None:
        if "_handle" in self.__dict__:
            os.close(self._handle)


class LocalFiles:
    """The files of a folder, two levels deep (tokenizer and pooling subfolders included)."""

    def __init__(self, folder: Path) -> None:
        if not folder.is_dir():
            raise CheckpointError(f"{folder}: no such folder")
        self.folder = folder

    @property
    def where(self) -> str:
        return str(self.folder)

    def names(self) -> list[str]:
        found = [*self.folder.glob("*"), *self.folder.glob("*/*")]
        return sorted(p.relative_to(self.folder).as_posix() for p in found if p.is_file())

    def source(self, name: str) -> LocalFile:
        return LocalFile(self.folder / name)
