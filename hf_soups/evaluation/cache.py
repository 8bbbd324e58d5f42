"""Predictions that were made once: logits in Arrow files, under the hash of all that decides them."""

from __future__ import annotations

import hashlib
import json
import os
import uuid
from collections.abc import Callable, Mapping
from importlib.metadata import version
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from hf_soups.errors import EvaluationError

FORMAT = "1"  # raise it when the way of predicting changes: batches, padding, arithmetic


class Predictions:
    """A folder of predictions. It may be deleted at any time, and shared by processes.

    hits, misses: how often an answer was found, and how often it had to be computed, by this object.
    """

    def __init__(self, folder: str | Path | None = None) -> None:
        self.folder = Path(folder) if folder is not None else default_folder()
        self.hits = 0
        self.misses = 0

    def key(self, identity: str, fingerprint: str, settings: Mapping[str, str]) -> str:
        """64 hex digits.

        identity: exactly which weights, such as repo@sha or a hash of a soup's recipe.
        fingerprint: of the examples.
        settings: whatever else decides the logits: max_length, batch_size, dtype, the tokenizer's hash.
        """
        parts = {
            "format": FORMAT,
            "model": identity,
            "examples": fingerprint,
            "settings": dict(settings),
            "libraries": {name: version(name) for name in ("torch", "transformers")},
        }
        return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()

    def get_or_compute(self, key: str, compute: Callable[[], NDArray[np.float32]]) -> NDArray[np.float32]:
        """The logits [n, labels] kept under this key, or computed now and kept.

        A file that is cut off, damaged or belongs to another key counts as absent.
        """
        path = self.folder / key[:2] / f"{key}.arrow"
        found = _read(path, key)
        if found is not None:
            self.hits += 1
            return found
        self.misses += 1
        logits = np.ascontiguousarray(compute(), dtype=np.float32)
        try:
            _write(path, key, logits)
        except OSError as error:
            raise EvaluationError(
                f"predictions cannot be kept in {self.folder}: {error.strerror or error}; "
                "set HF_SOUPS_CACHE to a folder with room that may be written"
            ) from error
        return logits


def default_folder() -> Path:
    """$HF_SOUPS_CACHE, else hf_soups/predictions beside the other caches of Hugging Face ($HF_HOME)."""
    own = os.environ.get("HF_SOUPS_CACHE")
    if own:
        return Path(own).expanduser()
    cache = os.environ.get("XDG_CACHE_HOME") or "~/.cache"
    home = os.environ.get("HF_HOME") or os.path.join(cache, "huggingface")
    return Path(home).expanduser() / "hf_soups" / "predictions"


def _write(path: Path, key: str, logits: NDArray[np.float32]) -> None:
    """A whole file or none: written beside its place, flushed to disk, then renamed."""
    import pyarrow as pa  # type: ignore[import-untyped]

    payload = pa.FixedSizeListArray.from_arrays(pa.array(logits.reshape(-1)), logits.shape[1])
    metadata = {"key": key, "sha256": hashlib.sha256(logits.tobytes()).hexdigest()}
    table = pa.table({"logits": payload}).replace_schema_metadata(metadata)
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".{path.stem}.partial-{uuid.uuid4().hex}")
    try:
        with open(partial, "wb") as file:
            with pa.ipc.new_file(file, table.schema) as writer:
                writer.write_table(table)
            file.flush()
            os.fsync(file.fileno())
        os.replace(partial, path)
    finally:
        partial.unlink(missing_ok=True)


def _read(path: Path, key: str) -> NDArray[np.float32] | None:
    import pyarrow as pa

    try:
        with pa.OSFile(str(path), "rb") as file:
            table = pa.ipc.open_file(file).read_all()
        column = table.column("logits").combine_chunks()
        logits = column.flatten().to_numpy().astype(np.float32).reshape(len(column), -1)
        metadata = {name.decode(): value.decode() for name, value in (table.schema.metadata or {}).items()}
    except (OSError, ValueError, KeyError, TypeError, AttributeError, pa.ArrowException):
        return None
    intact = metadata == {"key": key, "sha256": hashlib.sha256(logits.tobytes()).hexdigest()}
    return logits if intact else None
