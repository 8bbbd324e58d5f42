"""Where machine code is kept on this computer, between one process and the next."""

from __future__ import annotations

import hashlib
import os
import sys
import uuid
from contextlib import suppress
from pathlib import Path

BESIDE = Path(__file__).parent / "__pycache__"
DIGEST = hashlib.sha256().digest_size


def read(name: str) -> bytes | None:
    """What was kept under this name; None if nothing, or something damaged."""
    for folder in _folders():
        try:
            kept = (folder / name).read_bytes()
        except OSError:
            continue
        if hashlib.sha256(kept[DIGEST:]).digest() == kept[:DIGEST]:
            return kept[DIGEST:]
    return None


def write(name: str, content: bytes) -> None:
    """Keep this, whole or not at all, in the first place that lets us; without one it is made anew each time."""
    for folder in _folders():
        part = folder / f"{name}.{uuid.uuid4().hex}.part"
        try:
            folder.mkdir(parents=True, exist_ok=True)
            part.write_bytes(hashlib.sha256(content).digest() + content)
            part.replace(folder / name)
        except OSError:
            with suppress(OSError):
                part.unlink()
        else:
            return


def _folders() -> list[Path]:
    """As numba does: NUMBA_CACHE_DIR, else beside the source, else the user's caches."""
    if chosen := os.environ.get("NUMBA_CACHE_DIR"):
        return [Path(chosen)]
    return [BESIDE, _user_caches() / "hf_soups"]


def _user_caches() -> Path:
    if sys.platform == "win32":
        return Path(os.environ.get("LOCALAPPDATA") or Path.home() / "AppData" / "Local")
    if sys.platform == "darwin":
        return Path.home() / "Library" / "Caches"
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
