"""What is remembered between runs, beside the Hub's own cache: proven files, resolved revisions."""

from __future__ import annotations

import os
from pathlib import Path
from urllib.parse import quote


def prove(sha256: str, file: Path) -> None:
    """Note that this very file has this SHA-256."""
    _proof(sha256, file).parent.mkdir(parents=True, exist_ok=True)
    _proof(sha256, file).touch()


def is_proven(sha256: str, file: Path) -> bool:
    """Whether `prove` was called for this file, unchanged since."""
    return _proof(sha256, file).exists()


def remember(repo: str, revision: str | None, sha: str) -> None:
    """Note which commit a revision was, for when the Hub cannot be asked."""
    note = _revision(repo, revision)
    note.parent.mkdir(parents=True, exist_ok=True)
    note.write_text(sha)


def recall(repo: str, revision: str | None) -> str | None:
    """The commit that a revision was when the Hub was last asked; None if it never was."""
    note = _revision(repo, revision)
    return note.read_text() if note.exists() else None


def _proof(sha256: str, file: Path) -> Path:
    status = file.stat()
    return _home() / "proven" / f"{sha256}-{status.st_size}-{status.st_mtime_ns}-{status.st_ino}"


def _revision(repo: str, revision: str | None) -> Path:
    return _home() / "revisions" / quote(f"{repo}@{revision or 'main'}", safe="")


def _home() -> Path:
    cache = os.environ.get("HF_HOME") or os.path.join(os.environ.get("XDG_CACHE_HOME") or "~/.cache", "huggingface")
    return Path(cache).expanduser() / "hf_soups"
