"""An output folder that is complete or does not exist."""

from __future__ import annotations

import errno
import os
import re
import shutil
import socket
import uuid
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from pathlib import Path

from hf_soups.errors import CheckpointError

MADE = ("soup.lock.json", "training.json")  # the last file of a merge, of a fine-tune: such folders may be replaced


@contextmanager
def new_folder(out: Path, overwrite: bool = False, made: Collection[str] = MADE) -> Iterator[Path]:
    """A folder to fill beside `out`, which takes its name in one rename if the block ends well.

    Whatever happens, `out` is absent, as it was, or complete. What a killed run left behind is restored or
    removed first. Without `overwrite`, of two runs that fill the same folder the first to finish keeps it.
    made: any of these files shows that a folder is one of ours and may be overwritten.
    Raises CheckpointError if `out` is not empty and may not be replaced.
    """
    out = out.resolve()
    out.parent.mkdir(parents=True, exist_ok=True)
    _restore_and_sweep(out)
    check_free(out, overwrite, made)
    run = f"{socket.gethostname()}-{os.getpid()}-{uuid.uuid4().hex[:8]}"
    partial = out.with_name(f"{out.name}.partial-{run}")
    partial.mkdir()
    try:
        yield partial
        _sync(partial)
        check_free(out, overwrite, made)
        old = out.with_name(f"{out.name}.old-{run}")
        if replaced := _is_filled(out):
            os.rename(out, old)
        try:
            _take_name(partial, out)
        finally:
            if replaced and not out.exists():
                os.rename(old, out)
        _sync(out.parent)
        if replaced:
            shutil.rmtree(old)
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def check_free(out: Path, overwrite: bool, made: Collection[str] = MADE) -> None:
    """CheckpointError if `out` holds something and may not be replaced."""
    if out.is_file():
        raise CheckpointError(f"{out}: is a file; name a folder")
    if not _is_filled(out):
        return
    if not overwrite:
        raise CheckpointError(_not_empty(out))
    if not any((out / name).is_file() for name in made):
        raise CheckpointError(
            f"{out}: not made by hf_soups, so it is not replaced; choose another or remove it yourself"
        )


def check_room(out: Path, size: int) -> None:
    """CheckpointError unless the disk that `out` is to be on has room for so many bytes."""
    folder = next(p for p in [out.absolute(), *out.absolute().parents] if p.exists())
    free = shutil.disk_usage(folder).free
    if size > free:
        raise CheckpointError(
            f"{out}: needs {size:,} bytes, and the disk has {free:,} left; make room or choose another"
        )


def _is_filled(out: Path) -> bool:
    return out.is_dir() and any(out.iterdir())


def _not_empty(out: Path) -> str:
    return f"{out}: the output folder is not empty; choose another or pass --overwrite"


def _take_name(partial: Path, out: Path) -> None:
    """Rename onto an absent or empty folder; another run may have filled it this very moment."""
    try:
        os.rename(partial, out)
    except OSError as error:
        if error.errno in (errno.ENOTEMPTY, errno.EEXIST):
            raise CheckpointError(_not_empty(out)) from error
        raise


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
