"""What the prediction cache holds, and what of it may go: the least recently used first."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from hf_soups.errors import EvaluationError
from hf_soups.evaluation import journal
from hf_soups.evaluation.cache import PARTIAL, decoded, default_folder

_ABANDONED = 86_400.0  # seconds after which a file that is not finished will never be


@dataclass(frozen=True)
class Entry:
    """One model's answers to one dataset.

    used: when they were last read or written, in seconds since 1970.
    about: task, dataset, model and rows, as far as the file says them; nothing where not all rows are answered yet.
    """

    path: Path
    size: int
    used: float
    about: Mapping[str, str] = field(default_factory=dict)

    @property
    def key(self) -> str:
        return self.path.stem

    def to_json(self) -> dict[str, Any]:
        """Plain data, the name of the file in place of its path."""
        return {**asdict(self), "path": self.path.name, "key": self.key}


def entries(folder: Path | None = None) -> list[Entry]:
    """Everything in the cache, the last used first; default: the user's own."""
    found = [entry for path in _files(folder) if PARTIAL not in path.name and (entry := _entry(path)) is not None]
    return sorted(found, key=lambda entry: (-entry.used, entry.key))


def to_prune(
    found: Sequence[Entry], *, older_than: float | None = None, max_size: int | None = None, now: float | None = None
) -> list[Entry]:
    """Entries that were not used for longer than `older_than` seconds, and then the least recently used ones until the
    others take at most `max_size` bytes."""
    now = time.time() if now is None else now
    gone, total = [], 0
    for entry in sorted(found, key=lambda one: (-one.used, one.key)):
        total += entry.size
        too_old = older_than is not None and now - entry.used > older_than
        if too_old or (max_size is not None and total > max_size):
            gone.append(entry)
    return gone


def prune(chosen: Sequence[Entry], folder: Path | None = None) -> int:
    """Remove entries, and whatever killed writers left behind; the bytes that are free now.

    A process that just reads one of them goes on undisturbed, or computes it again.
    """
    now = time.time()
    left = [
        entry for path in _files(folder) if PARTIAL in path.name and (entry := _entry(path, read=False)) is not None
    ]
    freed = 0
    for entry in [*chosen, *(one for one in left if now - one.used > _ABANDONED)]:
        try:
            entry.path.unlink(missing_ok=True)
        except OSError as error:
            raise EvaluationError(f"{entry.path}: cannot be removed: {error.strerror}") from error
        with suppress(OSError):
            entry.path.parent.rmdir()  # only where it was the last one
        freed += entry.size
    return freed


def _files(folder: Path | None) -> Iterator[Path]:
    """Only files that have the names of ours: the folder is one that a variable names."""
    for path in sorted((folder or default_folder()).glob("??/*")):
        if path.suffix in (".arrow", journal.SUFFIX) or (path.name.startswith(".") and PARTIAL in path.name):
            yield path


def _entry(path: Path, read: bool = True) -> Entry | None:
    """None if it was removed meanwhile."""
    try:
        state = path.stat()
    except OSError:
        return None
    return Entry(path, state.st_size, state.st_mtime, _about(path) if read else {})


def _about(path: Path) -> dict[str, str]:
    import pyarrow as pa  # type: ignore[import-untyped]

    try:
        with pa.OSFile(str(path), "rb") as file:
            said = decoded(pa.ipc.open_file(file).schema)
    except (OSError, ValueError, pa.ArrowException):
        return {}  # damaged: it is not believed when it is asked for, and may be pruned as others
    return {name: said[name] for name in ("task", "dataset", "model", "rows") if name in said}
