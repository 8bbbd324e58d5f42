"""Predictions that were made once: a model's answers in Arrow files, under the hash of all that decides them."""

from __future__ import annotations

import hashlib
import json
import os
import threading
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hf_soups.errors import EvaluationError
from hf_soups.evaluation import journal
from hf_soups.evaluation.arrow import column, digest, outputs_of
from hf_soups.evaluation.outputs import Outputs, take

PARTIAL = ".partial-"  # in the names of files that are not finished yet, or never will be
FORMAT = "2"  # raise it when the way of predicting changes: batches, padding, arithmetic


class Predictions:
    """A folder of predictions. It may be deleted at any time, and shared by processes, also of several hosts.

    hits, misses: how often an answer was found, and how often it had to be computed, by this object.
    rows: how many rows models were run on for it, batch by batch.
    """

    def __init__(self, folder: str | Path | None = None) -> None:
        self.folder = Path(folder) if folder is not None else default_folder()
        self.hits = 0
        self.misses = 0
        self.rows = 0
        self._asked: set[str] = set()
        self._lock = threading.Lock()

    def __reduce__(self) -> tuple[Any, ...]:
        """Another process counts for itself."""
        return Predictions, (self.folder,)

    @property
    def asked(self) -> list[str]:
        """The keys that were looked for or kept through this object, in order; from any thread."""
        with self._lock:
            return sorted(self._asked)

    def files(self, key: str) -> list[Path]:
        """What the folder holds under a key: the whole prediction, else its batches."""
        whole = self._path(key)
        return [whole] if whole.exists() else journal.parts(whole, key)

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

        about: what people are told that they are, as in `put`.

        A file that is cut off, damaged or belongs to another key counts as absent.
        """
        found = self.get(key)
        if found is not None:
            return found
        self.misses += 1
        return self.put(key, compute(), about=about)

    def get(self, key: str) -> Outputs | None:
        """The answers kept under this key, if any."""
        path = self._asked_for(key)
        found = _read(path, key)
        self.hits += found is not None
        if found is not None:
            with suppress(OSError):  # a cache that may only be read
                os.utime(path)  # pruning goes by the last use
        return None if found is None else found[0]

    def put(
        self,
        key: str,
        outputs: Outputs,
        batches: Sequence[journal.Piece] = (),
        about: Mapping[str, str] | None = None,
    ) -> Outputs:
        """Keep answers; as they will be read again. What was kept of them batch by batch is forgotten.

        batches: which rows were answered together; default: all. about: task, dataset and model, in words for people.
        """
        together = np.zeros(len(outputs), np.int32)
        for number, (rows, _) in enumerate(batches):
            together[rows] = number
        path = self._asked_for(key)
        with self._writing():
            _write(path, key, outputs, together, about or {})
            journal.remove(path, key)
        return outputs

    def pieces(self, key: str) -> list[journal.Piece]:
        """All or some answers under this key, batch by batch."""
        path = self._asked_for(key)
        found = _read(path, key)
        if found is None:
            return journal.read(path, key)
        outputs, together = found
        self.hits += 1
        numbers = np.unique(together)
        each = [np.flatnonzero(together == number) for number in numbers]
        return [(rows, take(outputs, rows)) for rows in each]

    @contextmanager
    def gathering(self, key: str) -> Iterator[Callable[[NDArray[np.int64], Sequence[Any]], None]]:
        """What keeps each batch of a prediction, from any thread, before all of it is there."""
        kept = journal.Journal(self._asked_for(key), key)
        self.misses += 1

        def keep(rows: NDArray[np.int64], answers: Sequence[Any]) -> None:
            with self._writing():
                kept.keep(rows, answers)
            with self._lock:
                self.rows += len(rows)

        try:
            yield keep
        finally:
            kept.close()

    @contextmanager
    def _writing(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise EvaluationError(
                f"predictions cannot be kept in {self.folder}: {error.strerror or error}; "
                "set HF_SOUPS_CACHE, or --cache, to a folder with room that may be written"
            ) from error

    def _asked_for(self, key: str) -> Path:
        with self._lock:
            self._asked.add(key)
        return self._path(key)

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


def believed(path: Path, key: str) -> bool:
    """Whether a file holds the whole prediction of a key, undamaged as its own checksum says."""
    return _read(path, key) is not None


def _write(path: Path, key: str, outputs: Outputs, batches: NDArray[np.int32], about: Mapping[str, str]) -> None:
    """A whole file or none: written beside its place, flushed to disk, then renamed."""
    import pyarrow as pa  # type: ignore[import-untyped]

    table = pa.table({"answers": column(outputs), "batch": pa.array(batches)})
    table = table.replace_schema_metadata(
        {**about, "rows": str(len(outputs)), "key": key, "sha256": _proof(outputs, batches)}
    )
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


def _read(path: Path, key: str) -> tuple[Outputs, NDArray[np.int32]] | None:
    """The answers, and the number of the batch that each was made in."""
    import pyarrow as pa

    try:
        with pa.OSFile(str(path), "rb") as file:
            table = pa.ipc.open_file(file).read_all()
        table.validate(full=True)  # it may come from anywhere: no offset leads out of its buffers
        outputs = outputs_of(table.column("answers").combine_chunks())
        batches = table.column("batch").cast(pa.int32()).combine_chunks().to_numpy()  # raises where one is missing
        metadata = decoded(table.schema)
    except (OSError, ValueError, KeyError, TypeError, AttributeError, pa.ArrowException):
        return None
    right = metadata.get("key") == key and metadata.get("sha256") == _proof(outputs, batches)
    return (outputs, batches) if right else None


def decoded(schema: Any) -> dict[str, str]:
    """What a file says about itself: key and sha256, and for people task, dataset, model and rows."""
    return {name.decode(): value.decode() for name, value in (schema.metadata or {}).items()}


def _proof(outputs: Outputs, batches: NDArray[np.int32]) -> str:
    return hashlib.sha256(digest(outputs).encode() + batches.tobytes()).hexdigest()
