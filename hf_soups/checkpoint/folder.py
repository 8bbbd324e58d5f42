"""An output folder that is complete or does not exist."""

from __future__ import annotations

import os
import re
import shutil
import socket
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from hf_soups.errors import CheckpointError


@contextmanager
def new_folder(out: Path, overwrite: bool = False) -> Iterator[Path]:
    """A folder to fill beside `out`, which takes its name in one rename if the block ends well.

    Whatever happens, `out` is absent, as it was, or complete. What a killed run left behind is removed.
    Raises CheckpointError if `out` is not empty and may not be replaced.
    """
    out = out.absolute()
    check_free(out, overwrite)
    out.parent.mkdir(parents=True, exist_ok=True)
    _restore_and_sweep(out)
    run = f"{socket.gethostname()}-{os.getpid()}-{uuid.uuid4().hex[:8]}"
    partial = out.with_name(f"{out.name}.partial-{run}")
    partial.mkdir()
    try:
        yield partial
        _sync(partial)
        old = out.with_name(f"{out.name}.old-{run}")
        replaced = out.is_dir() and any(out.iterdir())
        if replaced:
            os.rename(out, old)
        os.rename(partial, out)
        _sync(out.parent)
        if replaced:
            shutil.rmtree(old)
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def check_free(out: Path, overwrite: bool) -> None:
    """CheckpointError if `out` holds something and may not be replaced."""
    if out.is_file():
        raise CheckpointError(f"{out}: is a file; name a folder")
    if out.is_dir() and any(out.iterdir()) and not overwrite:
        raise CheckpointError(f"{out}: the output folder is not empty; choose another or pass --overwrite")


def _restore_and_sweep(out: Path) -> None:
    """Undo what killed runs left of this folder; those of live processes stay."""
    if not out.parent.is_dir():
        return
    for left in sorted(out.parent.iterdir()):
        found = re.fullmatch(re.escape(out.name) + r"\.(partial|old)-(.+)-(\d+)-[0-9a-f]{8}", left.name)
        if not found or found[2] != socket.gethostname() or _alive(int(found[3])):
            continue
        if found[1] == "old" and not out.exists():
            os.rename(left, out)
        else:
            shutil.rmtree(left, ignore_errors=True)


def _alive(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


def _sync(folder: Path) -> None:
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def write_text(path: Path, text: str) -> None:
    """A small file, on disk when this returns."""
    write_bytes(path, text.encode())


def write_bytes(path: Path, content: bytes) -> None:
    """A small file, on disk when this returns."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with open(path, "wb") as handle:
        handle.write(content)
        handle.flush()
        os.fsync(handle.fileno())
