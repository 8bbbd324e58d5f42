"""Predictions that were made once: a model's answers in Arrow files, under the hash of all that decides them."""

from __future__ import annotations

import hashlib
import json
import os
import uuid
from collections.abc import Callable, Mapping
from contextlib import suppress
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hf_soups.errors import EvaluationError
from hf_soups.evaluation.examples import canonical
from hf_soups.evaluation.outputs import Outputs, Ragged

PARTIAL = ".partial-"  # in the names of files that are not finished yet, or never will be
FORMAT = "2"  # raise it when the way of predicting changes: batches, padding, arithmetic


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
        settings: whatever else decides the answers: task, max_length, batch_size, dtype, the tokenizer's hash.
        """
        parts = {
            "format": FORMAT,
            "model": identity,
            "examples": fingerprint,
            "settings": dict(settings),
            "libraries": {name: version(name) for name in ("torch", "transformers")},
        }
        return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()

    def get_or_compute(
        self, key: str, compute: Callable[[], Outputs], about: Mapping[str, str] | None = None
    ) -> Outputs:
        """The answers kept under this key, or computed now and kept.

        about: for people who look into the cache: task, dataset, model.
        A file that is cut off, damaged or belongs to another key counts as absent.
        """
        found = self.get(key)
        if found is not None:
            return found
        self.misses += 1
        return self.put(key, compute(), about)

    def get(self, key: str) -> Outputs | None:
        """The answers kept under this key, if any."""
        path = self._path(key)
        found = _read(path, key)
        self.hits += found is not None
        if found is not None:
            with suppress(OSError):  # a cache that may only be read
                os.utime(path)  # pruning goes by the last use
        return found

    def put(self, key: str, outputs: Outputs, about: Mapping[str, str] | None = None) -> Outputs:
        """Keep answers; as they will be read again."""
        try:
            _write(self._path(key), key, outputs, about or {})
        except OSError as error:
            raise EvaluationError(
                f"predictions cannot be kept in {self.folder}: {error.strerror or error}; "
                "set HF_SOUPS_CACHE to a folder with room that may be written"
            ) from error
        return outputs

    def _path(self, key: str) -> Path:
        return self.folder / key[:2] / f"{key}.arrow"


def default_folder() -> Path:
    """$HF_SOUPS_CACHE, else hf_soups/predictions beside the other caches of Hugging Face ($HF_HOME)."""
    own = os.environ.get("HF_SOUPS_CACHE")
    if own:
        return Path(own).expanduser()
    cache = os.environ.get("XDG_CACHE_HOME") or "~/.cache"
    home = os.environ.get("HF_HOME") or os.path.join(cache, "huggingface")
    return Path(home).expanduser() / "hf_soups" / "predictions"


def _write(path: Path, key: str, outputs: Outputs, about: Mapping[str, str]) -> None:
    """A whole file or none: written beside its place, flushed to disk, then renamed."""
    import pyarrow as pa  # type: ignore[import-untyped]

    table = pa.table({"answers": _column(outputs)})
    table = table.replace_schema_metadata({**about, "rows": str(len(outputs)), "key": key, "sha256": _digest(outputs)})
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".{path.stem}{PARTIAL}{uuid.uuid4().hex}")
    try:
        with open(partial, "wb") as file:
            with pa.ipc.new_file(file, table.schema) as writer:
                writer.write_table(table)
            file.flush()
            os.fsync(file.fileno())
        os.replace(partial, path)
    finally:
        partial.unlink(missing_ok=True)


def _column(outputs: Outputs) -> Any:
    """Texts, lists of one width, or lists of such lists."""
    import pyarrow as pa

    if isinstance(outputs, tuple):
        return pa.array(outputs, pa.large_string())
    values = outputs.values if isinstance(outputs, Ragged) else outputs
    flat = np.ascontiguousarray(values, dtype=np.float32)
    lines = pa.FixedSizeListArray.from_arrays(pa.array(flat.reshape(-1)), flat.shape[1])
    return pa.LargeListArray.from_arrays(outputs.offsets, lines) if isinstance(outputs, Ragged) else lines


def _outputs(column: Any) -> Outputs:
    import pyarrow as pa

    if pa.types.is_large_string(column.type):
        return tuple(column.to_pylist())
    if pa.types.is_large_list(column.type):
        offsets = column.offsets.to_numpy().astype(np.int64)
        lines = column.values
        return Ragged(_numbers(lines), offsets)
    return _numbers(column)


def _numbers(lines: Any) -> NDArray[np.float32]:
    flat = lines.flatten().to_numpy(zero_copy_only=False).astype(np.float32)
    return np.asarray(flat.reshape(len(lines), lines.type.list_size))


def _digest(outputs: Outputs) -> str:
    if isinstance(outputs, Ragged):
        content = outputs.offsets.astype(np.int64).tobytes() + np.asarray(outputs.values, np.float32).tobytes()
    elif isinstance(outputs, tuple):
        content = canonical(outputs)
    else:
        content = np.asarray(outputs, np.float32).tobytes()
    return hashlib.sha256(content).hexdigest()


def _read(path: Path, key: str) -> Outputs | None:
    import pyarrow as pa

    try:
        with pa.OSFile(str(path), "rb") as file:
            table = pa.ipc.open_file(file).read_all()
        outputs = _outputs(table.column("answers").combine_chunks())
        metadata = decoded(table.schema)
    except (OSError, ValueError, KeyError, TypeError, AttributeError, pa.ArrowException):
        return None
    return outputs if metadata.get("key") == key and metadata.get("sha256") == _digest(outputs) else None


def decoded(schema: Any) -> dict[str, str]:
    """What a file says about itself: key and sha256, and for people task, dataset, model and rows."""
    return {name.decode(): value.decode() for name, value in (schema.metadata or {}).items()}
