"""The Xet dialect: hf_xet reads and writes a local folder in place of Xet's storage service.

hf_xet takes "local:///folder" for the address of the service (an undocumented aid of its own tests). Clients then
exchange bytes with that folder and not with this server: request log and faults see only the token requests. The
folder holds one database, which one process at a time may open.
"""

from __future__ import annotations

import shutil
import struct
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from .repos import File, lfs_file

LIFETIME = 3600  # seconds that an access token is said to be valid

_HEADER, _RECORD = 48, 48  # bytes
_HAS_VERIFICATION, _HAS_SHA256 = 0x80000000, 0x40000000
_BOOKEND = b"\xff" * 32  # in place of a file's hash: the list ends


def token(folder: Path) -> dict[str, str | int]:
    """What the token routes hand out."""
    folder.mkdir(parents=True, exist_ok=True)
    return {"casUrl": f"local://{folder}", "exp": int(time.time()) + LIFETIME, "accessToken": "xet-token"}


def find(folder: Path, sha256: str) -> File | None:
    """The file with this sha256 among those that were uploaded to the folder."""
    for shard in (folder / "xet" / "xorbs" / "shards").glob("*.mdb"):
        for found, xet_hash, size in _files(shard.read_bytes()):
            if found == sha256:
                return lfs_file(sha256, size, xet_hash)
    return None


def download(folder: Path, file: File, target: Path) -> None:
    """Put a file together from the chunks in the folder.

    The database is read as a copy, since the uploading process may still have it open.
    """
    import hf_xet  # type: ignore[import-untyped]

    source = folder / "xet" / "xorbs"
    with tempfile.TemporaryDirectory() as scratch:
        copy = Path(scratch) / "xet" / "xorbs"
        copy.mkdir(parents=True)
        for entry in source.iterdir():
            if entry.is_dir():
                (copy / entry.name).symlink_to(entry)
            else:
                shutil.copy(entry, copy)
        access = token(Path(scratch))
        with hf_xet.XetSession().new_file_download_group(
            endpoint=access["casUrl"], token=access["accessToken"], token_expiry_unix_secs=access["exp"]
        ) as group:
            group.start_download_file(hf_xet.XetFileInfo(file.xet_hash, file.size), str(target))


def _files(shard: bytes) -> Iterator[tuple[str, str, int]]:
    """sha256, Xet hash and size of each file that a shard describes.

    A shard is a header and then, per file, a record (hash, flags, number of segments), its segments, as many
    verification records and one that holds the sha256; the last two only if the flags say so.
    """
    position = _HEADER
    while shard[position : position + 32] != _BOOKEND:
        flags, segments = struct.unpack_from("<II", shard, position + 32)
        xet_hash = _hex(shard[position : position + 32])
        position += _RECORD
        size = sum(struct.unpack_from("<I", shard, position + index * _RECORD + 36)[0] for index in range(segments))
        position += segments * _RECORD * (2 if flags & _HAS_VERIFICATION else 1)
        if flags & _HAS_SHA256:
            yield _hex(shard[position : position + 32]), xet_hash, size
            position += _RECORD


def _hex(digest: bytes) -> str:
    """A hash as Xet prints it: four little-endian integers."""
    return "".join(f"{part:016x}" for part in struct.unpack("<4Q", digest))
