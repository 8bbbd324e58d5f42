"""A folder that is a finished soup: every file as its lock describes it."""

from __future__ import annotations

import json
import zlib
from pathlib import Path, PurePosixPath

from hf_soups.errors import CheckpointError

BLOCK = 1 << 22


def finished(folder: Path) -> list[str]:
    """The names of a finished soup's files, each as its lock describes it: size and CRC-32.

    Raises CheckpointError if one is not, or if there is no lock.
    """
    lock = folder / "soup.lock.json"
    outputs = _outputs(lock)
    for name, (size, checksum) in outputs.items():
        file = folder / name
        if not file.is_file() or file.stat().st_size != size or crc32(file) != checksum:
            raise CheckpointError(f"{file}: not as soup.lock.json describes it; merge again")
    return [*sorted(outputs), lock.name]


def crc32(path: Path) -> str:
    """A file's checksum as locks have it."""
    checksum = 0
    with open(path, "rb") as file:
        while block := file.read(BLOCK):
            checksum = zlib.crc32(block, checksum)
    return f"crc32:{checksum:08x}"


def _outputs(lock: Path) -> dict[str, tuple[int, str]]:
    """File name → bytes and checksum, as a lock says; CheckpointError if it is no lock of ours."""
    try:
        content = json.loads(lock.read_text(encoding="utf-8"))["outputs"]
        outputs = {name: (int(entry["bytes"]), str(entry["checksum"])) for name, entry in content.items()}
    except (OSError, ValueError, KeyError, TypeError, AttributeError, OverflowError, RecursionError) as error:
        raise CheckpointError(f"{lock.parent}: no readable soup.lock.json, so not a finished soup") from error
    for name in outputs:
        path = PurePosixPath(name)
        if path.is_absolute() or ".." in path.parts or "\\" in name or "\0" in name:
            raise CheckpointError(f"{lock}: names {name!a}, which is not a file of this folder; merge again")
    if not outputs:
        raise CheckpointError(f"{lock.parent}: soup.lock.json names no files, so not a finished soup")
    return outputs
