"""Bytes by file name: a folder on disk, or anything that can be read by range."""

from __future__ import annotations

import errno
import os
from functools import cached_property
from pathlib import Path
from typing import Protocol

import numpy as np

from hf_soups.errors import CheckpointError


class Source(Protocol):
    """One file, read by byte range."""

    @property
    def size(self) -> int: ...

    def read(self, start: int, length: int) -> bytes:
        """`length` bytes from `start`; an error if there are fewer."""
        ...

    def read_into(self, start: int, into: np.ndarray) -> None:
        """Fill `into` (bytes) from `start`; an error if the file ends before."""
        ...

    def confirm(self) -> None:
        """CheckpointError if the file has changed since it was first read."""
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

    @property
    def size(self) -> int:
        return self._state.st_size

    def read(self, start: int, length: int) -> bytes:
        content = np.empty(length, np.uint8)
        self.read_into(start, content)
        return content.tobytes()

    def read_into(self, start: int, into: np.ndarray) -> None:
        done = 0
        while done < len(into):
            try:
                count = os.preadv(self._handle, [into[done:].data], start + done)
            except OSError as error:
                raise CheckpointError(f"{self.path}: cannot be read: {error.strerror}") from error
            if count == 0:
                raise CheckpointError(f"{self.path}: ends at byte {start + done:,}; it changed or is truncated")
            done += count

    def confirm(self) -> None:
        now, then = os.fstat(self._handle), self._state
        if (now.st_size, now.st_mtime_ns) != (then.st_size, then.st_mtime_ns):
            raise CheckpointError(
                f"{self.path}: changed while it was read; wait until nothing writes to it, and merge again"
            )

    @cached_property
    def _state(self) -> os.stat_result:
        return os.fstat(self._handle)

    @cached_property
    def _handle(self) -> int:
        try:
            return _open(self.path)
        except OSError as error:
            raise CheckpointError(f"{self.path}: cannot be read: {error.strerror}") from error

    def __del__(self) -> None:
        if "_handle" in self.__dict__:
            os.close(self._handle)


def _open(path: Path) -> int:
    """A handle; many models in many shards may need more of them than a process is given at first."""
    try:
        return os.open(path, os.O_RDONLY)
    except OSError as error:
        if error.errno != errno.EMFILE:
            raise
        import resource

        _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
        return os.open(path, os.O_RDONLY)


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
