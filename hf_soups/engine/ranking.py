"""The k-th largest magnitude of very many, exactly, without sorting and in constant memory.

Magnitudes of floats order as their bits do. A sample tells between which two the wanted one probably lies; one pass
counts what is above and, in bins, what is inside. If it was not inside, or a bin holds more than one number, the next
pass looks there.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from threading import Lock

import numpy as np

from hf_soups.checkpoint import Checkpoint
from hf_soups.engine.blocks import chunks
from hf_soups.engine.device import Device
from hf_soups.engine.finite import refuse
from hf_soups.engine.reader import Reader
from hf_soups.engine.work import for_each
from hf_soups.kernels import loops

BINS = 1 << 17
SMALL = 1 << 22  # numbers that are rather read into memory and sorted
FEW = 1 << 16  # so many numbers are rather put aside and sorted than counted once more
SAMPLES, SAMPLE = 2048, 256  # how many places a sample is taken from, and elements of each
TOO_LARGE = "differences too large for the arithmetic; choose output dtype float32"
SIGMAS = 6.0  # half the bracket's width in standard errors of the sampled rank


@dataclass(frozen=True)
class Field:
    """The tensors whose elements are ranked together.

    sizes: tensor → elements; wide: tensor → whether its differences are float64.
    """

    base: Checkpoint | None
    ingredients: Sequence[Checkpoint]
    sizes: Mapping[str, int]
    wide: Mapping[str, bool]

    @property
    def parts(self) -> list[Checkpoint]:
        return [*([] if self.base is None else [self.base]), *self.ingredients]

    @property
    def total(self) -> int:
        return sum(self.sizes.values())

    @property
    def bits(self) -> np.dtype:
        """The unsigned integer as wide as the magnitudes: float64 if any of them is."""
        return np.dtype(np.uint64 if any(self.wide[n] for n in self.sizes) else np.uint32)

    def pieces(self, step: int) -> Iterator[tuple[str, int, int]]:
        for name, size in self.sizes.items():
            for start, stop in chunks(size, step):
                yield name, start, stop


def kth_largest(reader: Reader, field: Field, keep: Sequence[int]) -> np.ndarray:
    """Magnitude of the keep[i]-th largest of ingredient i (less the base, if any), `[n]` float64.

    keep[i] = 0 gives infinity, all gives 0.
    """
    total = field.total
    result = np.array([np.inf if k == 0 else 0.0 for k in keep])
    open_rows = [i for i, k in enumerate(keep) if 0 < k < total]
    if not open_rows:
        return result
    if total * len(keep) <= SMALL:
        whole = [_magnitudes(reader, field, n, 0, s) for n, s in field.sizes.items()]
        everything = np.concatenate(whole, axis=1)  # [n, total]
        for i in open_rows:
            result[i] = np.partition(everything[i], total - keep[i])[total - keep[i]]
        return result
    low, high = _brackets(reader, field, keep)
    low[[i for i in range(len(keep)) if i not in open_rows]] = 0
    high[[i for i in range(len(keep)) if i not in open_rows]] = 0
    few = [0] * len(keep)  # how many there are between low and high, where they are few enough to be put aside
    while open_rows:
        shift = np.array(
            [
                max(0, int(h - lo - 1).bit_length() - BINS.bit_length() + 1) if h > lo else 0
                for lo, h in zip(low.tolist(), high.tolist(), strict=True)
            ],
            low.dtype,
        )
        above, histogram, inside = _pass(reader, field, low, high, shift, few)
        for i in list(open_rows):
            if inside[i] and above[i] < keep[i] <= above[i] + few[i]:
                offsets = np.concatenate(inside[i])
                low[i] += np.partition(offsets, above[i] + len(offsets) - keep[i])[above[i] + len(offsets) - keep[i]]
                result[i] = low[i : i + 1].view(f"f{low.itemsize}")[0]
                open_rows.remove(i)
                low[i] = high[i] = few[i] = 0
                continue
            if keep[i] <= above[i]:
                low[i], high[i] = high[i], _infinity(field.bits)
                continue
            from_top = np.cumsum(histogram[i, ::-1]) + above[i]
            if keep[i] > from_top[-1]:
                low[i], high[i] = 0, low[i]
                continue
            place = BINS - 1 - int(np.searchsorted(from_top, keep[i]))
            low[i] += np.asarray(place << int(shift[i])).astype(low.dtype)
            if shift[i] == 0:
                result[i] = low[i : i + 1].view(f"f{low.itemsize}")[0]
                open_rows.remove(i)
                low[i] = high[i] = 0
            else:
                high[i] = min(int(high[i]), int(low[i]) + (1 << int(shift[i])))
                number = int(histogram[i, place])
                few[i] = number if number <= FEW else 0
    return result


def passes(field: Field) -> int:
    """How often ranking reads everything, as a rule; data that defy the sample take another."""
    small = field.total * len(field.ingredients) <= SMALL
    return 1 if small or field.bits.itemsize == 4 else 2


def kept(share: float, n: int) -> int:
    """How many of n elements a share keeps: none at 0, all at 1, else at least one."""
    if share <= 0 or n == 0:
        return 0
    return n if share >= 1 else max(1, int(share * n + 1e-9))


def _pass(
    reader: Reader, field: Field, low: np.ndarray, high: np.ndarray, shift: np.ndarray, few: Sequence[int]
) -> tuple[np.ndarray, np.ndarray, list[list[np.ndarray]]]:
    """How many lie at or above each bracket, how many in each bin of it, and, of `few`, which."""
    device = reader.device
    put_aside: list[list[np.ndarray]] = [[] for _ in few]
    above = np.zeros(len(low), np.int64)
    histogram = np.zeros((len(low), BINS), np.int64)
    lock = Lock()

    def piece(item: tuple[str, int, int]) -> None:
        name, start, stop = item
        rows = reader.desk().rows(field.parts, name, start, stop)
        base, others = (None, rows) if field.base is None else (rows[0], rows[1:])
        if field.bits.itemsize == 8 and not field.wide[name]:  # differences are float32 here, ranked as float64
            base, others = None, list(_differences(device, rows, field.base is not None, False).astype(np.float64))
        over, found, inside, good = device.tally(base, others, low, high)
        if not good:
            refuse(name, field.parts, rows, start, TOO_LARGE)
        with lock:
            above[:] += over
            loops().count(histogram, found, inside, shift)
            for i in np.flatnonzero(few):
                put_aside[i].append(inside[i, : found[i]].copy())
        reader.progress(sum(row.nbytes for row in rows))

    for_each(field.pieces(device.step(2 * len(field.parts))), piece, device.threads)
    return above, histogram, put_aside


def _brackets(reader: Reader, field: Field, keep: Sequence[int]) -> tuple[np.ndarray, np.ndarray]:
    """Bits between which the wanted magnitudes probably lie, `[n]` each."""
    ends = np.cumsum(list(field.sizes.values()))
    names = list(field.sizes)
    samples = []
    for place in range(SAMPLES):
        position = place * (field.total - 1) // (SAMPLES - 1)
        which = int(np.searchsorted(ends, position, side="right"))
        size = field.sizes[names[which]]
        stop = min(size, position - int(ends[which]) + size + SAMPLE)
        samples.append(_magnitudes(reader, field, names[which], max(0, stop - SAMPLE), stop))
    low, high = np.zeros(len(keep), field.bits), np.zeros(len(keep), field.bits)
    for i, k in enumerate(keep):
        share = k / field.total
        everything = np.sort(np.concatenate([s[i] for s in samples]))[::-1]
        middle = everything[min(len(everything) - 1, int(share * len(everything)))]
        above = np.array(
            [np.mean(s[i] >= middle) for s in samples]
        )  # neighbours are alike, so places count, not elements
        error = SIGMAS * max(above.std() / np.sqrt(len(samples)), np.sqrt(share * (1 - share) / len(everything)))
        top = everything[max(0, int((share - error) * len(everything)) - 1)]
        bottom = everything[min(len(everything) - 1, int((share + error) * len(everything)) + 1)]
        bits = np.array([bottom, top], f"f{field.bits.itemsize}").view(field.bits)
        low[i], high[i] = bits[0], bits[1] + field.bits.type(1)
    return low, high


def _magnitudes(reader: Reader, field: Field, name: str, start: int, stop: int) -> np.ndarray:
    """`[n, stop - start]` in the field's float type."""
    rows = reader.desk().rows(field.parts, name, start, stop)
    found = np.abs(_differences(reader.device, rows, field.base is not None, field.wide[name]))
    if not np.isfinite(found).all():
        refuse(name, field.parts, rows, start, TOO_LARGE)
    return found.astype(f"f{field.bits.itemsize}")


def _differences(device: Device, rows: Sequence[np.ndarray], based: bool, wide: bool) -> np.ndarray:
    """`[n, d]`, of the first row if `based`, in the precision that they are mixed in."""
    numbers = np.empty((len(rows), len(rows[0])), np.float64 if wide else np.float32)
    for row, out in zip(rows, numbers, strict=True):
        device.combine([row], np.ones(1), out, wide)
    with np.errstate(invalid="ignore", over="ignore"):  # refused by the caller, with names
        return numbers[1:] - numbers[0] if based else numbers


def _infinity(bits: np.dtype) -> int:
    return int(np.array([np.inf], f"f{bits.itemsize}").view(bits)[0])
