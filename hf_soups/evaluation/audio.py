"""Recordings: sound files as waveforms of one channel at the rate that a model hears."""

from __future__ import annotations

import io
import math
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from hf_soups.errors import EvaluationError

if TYPE_CHECKING:
    from hf_soups.evaluation.tables import Table
    from hf_soups.recipe import Data

Waveform = NDArray[np.float32]  # [samples], -1 to 1


def recordings(table: Table, column: str, data: Data) -> tuple[bytes, ...]:
    """[n] the content of sound files: of a column of `datasets.Audio`, of bytes, or of paths of local files.

    Relative paths are relative to the folder of the table. EvaluationError names a row that has none.
    """
    import datasets

    rows = table.rows
    if isinstance(rows.features[column], datasets.Audio):
        rows = rows.cast_column(column, datasets.Audio(decode=False))  # the bytes; decoding them is done here
    local = Path(data.path).expanduser()
    folder = None if not local.exists() else local if local.is_dir() else local.parent
    found = []
    for row, value in enumerate(rows[column]):
        try:
            found.append(_content(value, folder))
        except (OSError, ValueError) as error:
            reason = getattr(error, "strerror", None) or error
            raise EvaluationError(
                f"{table.where(column)}: row {row} (counting from 0) holds no recording: {reason}"
            ) from error
    return tuple(found)


def decode(content: bytes, rate: int) -> Waveform:
    """The waveform in a sound file, its channels averaged, resampled where its own rate is another.

    WAV is read by scipy, other formats by soundfile where it is installed. Raises ValueError that says what is wrong.
    """
    if content[:4] in (b"RIFF", b"RIFX", b"RF64") and content[8:12] == b"WAVE":
        own, samples = _wav(content)
    else:
        own, samples = _other(content)
    wave = samples.mean(axis=1) if samples.ndim == 2 else samples
    if wave.size == 0:
        raise ValueError("no samples")
    if not np.isfinite(wave).all():
        raise ValueError("samples that are not finite")
    if own != rate:
        from scipy.signal import resample_poly  # type: ignore[import-untyped]

        shared = math.gcd(own, rate)
        wave = resample_poly(wave, rate // shared, own // shared)
    return np.asarray(wave, np.float32)


def _content(value: Any, folder: Path | None) -> bytes:
    if isinstance(value, Mapping):
        value = value.get("bytes") or value.get("path")
    if isinstance(value, bytes):
        return value
    if not isinstance(value, str):
        raise ValueError("nothing" if value is None else type(value).__name__)
    if folder is None:
        raise ValueError("only the name of a file, and the dataset does not bring the file")
    return (folder / Path(value).expanduser()).read_bytes()


def _wav(content: bytes) -> tuple[int, NDArray[np.float64]]:
    """Rate in Hz and samples [n] or [n, channels] between -1 and 1."""
    import struct
    import warnings

    from scipy.io import wavfile  # type: ignore[import-untyped]

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", wavfile.WavFileWarning)  # of chunks that hold no sound
            rate, samples = wavfile.read(io.BytesIO(content))
    except (ValueError, struct.error, TypeError, UnboundLocalError) as error:
        raise ValueError(f"a WAV file that cannot be decoded: {error}") from error
    if samples.dtype.kind == "f":
        return rate, samples.astype(np.float64)
    middle = 128.0 if samples.dtype == np.uint8 else 0.0
    full = 128.0 if samples.dtype == np.uint8 else float(np.iinfo(samples.dtype).max) + 1
    return rate, (samples.astype(np.float64) - middle) / full


def _other(content: bytes) -> tuple[int, NDArray[np.float64]]:
    try:
        import soundfile
    except ImportError as error:
        raise ValueError("not a WAV file; for FLAC, OGG and MP3: pip install 'hf-soups[audio]'") from error
    try:
        samples, rate = soundfile.read(io.BytesIO(content))
    except (RuntimeError, ValueError, TypeError) as error:
        raise ValueError("neither WAV nor anything else that soundfile can decode") from error
    return int(rate), np.asarray(samples, np.float64)
