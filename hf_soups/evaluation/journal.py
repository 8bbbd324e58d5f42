"""Answers kept batch by batch as they come, so that what is stopped or killed goes on where it was."""

from __future__ import annotations

import errno
import hashlib
import threading
import uuid
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hf_soups.evaluation.arrow import column, digest, outputs_of
from hf_soups.evaluation.outputs import Outputs, assemble

SUFFIX = ".part"
Piece = tuple[NDArray[np.int64], Outputs]  # [m] rows of the examples, and the m answers to them


class Journal:
    """An Arrow stream beside the place of the whole prediction; a batch that is cut off counts as absent.

    Each journal has a file of its own, so that processes do not meet. Threads may keep batches at the same time.
    """

    def __init__(self, whole: Path, key: str) -> None:
        self._path = whole.with_name(f"{key}.{uuid.uuid4().hex}{SUFFIX}")
        self._key = key
        self._lock = threading.Lock()
        self._file: Any = None
        self._writer: Any = None

    def keep(self, rows: NDArray[np.int64], answers: Sequence[Any]) -> None:
        """Append a batch; with the operating system, if not on the disk, when this returns."""
        import pyarrow as pa  # type: ignore[import-untyped]

        outputs = assemble(answers)
        batch = pa.RecordBatch.from_arrays([pa.array(rows, pa.int64()), column(outputs)], ["row", "answers"])
        with self._lock, _others_may_be_first():
            if self._writer is None:
                self._path.parent.mkdir(parents=True, exist_ok=True)
                self._file = open(self._path, "wb")  # noqa: SIM115  (until `close`)
                self._writer = pa.ipc.new_stream(self._file, batch.schema)
            self._writer.write_batch(batch, custom_metadata={"sha256": _proof(self._key, rows, outputs)})
            self._file.flush()

    def close(self) -> None:
        if self._writer is not None:
            with _others_may_be_first():
                self._writer.close()
                self._file.close()


def read(whole: Path, key: str) -> list[Piece]:
    """Every batch that was kept under a key by any run, no row twice."""
    seen: set[int] = set()
    found = []
    for path in parts(whole, key):
        for rows, outputs in _batches(path, key):
            if seen.isdisjoint(rows.tolist()):
                seen.update(rows.tolist())
                found.append((rows, outputs))
    return found


def remove(whole: Path, key: str) -> None:
    """Forget the batches of a key, once all its answers are kept together."""
    for path in parts(whole, key):
        path.unlink(missing_ok=True)


def parts(whole: Path, key: str) -> list[Path]:
    """The files that hold batches of a key."""
    return sorted(whole.parent.glob(f"{key}.*{SUFFIX}"))


def _batches(path: Path, key: str) -> list[Piece]:
    import pyarrow as pa

    found: list[Piece] = []
    try:
        with pa.OSFile(str(path), "rb") as file, pa.ipc.open_stream(file) as stream:
            while True:
                batch, metadata = stream.read_next_batch_with_custom_metadata()
                batch.validate(full=True)
                rows = batch.column("row").cast(pa.int64()).to_numpy()  # raises where one is missing
                outputs = outputs_of(batch.column("answers"))
                if (metadata or {}).get("sha256") != _proof(key, rows, outputs).encode():
                    break
                found.append((rows, outputs))
    except (OSError, ValueError, KeyError, TypeError, AttributeError, StopIteration, pa.ArrowException):
        pass  # the end, or where it was cut off
    return found


@contextmanager
def _others_may_be_first() -> Iterator[None]:
    """Goes on where another host has kept all answers of this key, and therefore removed the file that is open here.

    On one host a removed file can still be written; on NFS that is ESTALE.
    """
    try:
        yield
    except OSError as error:
        if error.errno != errno.ESTALE:
            raise


def _proof(key: str, rows: NDArray[np.int64], outputs: Outputs) -> str:
    return hashlib.sha256(key.encode() + rows.tobytes() + digest(outputs).encode()).hexdigest()
