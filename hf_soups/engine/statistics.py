"""What a coordinatewise method has to know before it mixes: ranks and sums, one stage after the other."""

from __future__ import annotations

import inspect
from collections.abc import Iterator, Mapping
from dataclasses import replace
from math import fsum
from threading import Lock
from typing import Any

import numpy as np

from hf_soups.engine.blocks import BLOCK, SECTION, chunks, step
from hf_soups.engine.finite import refuse
from hf_soups.engine.mixture import Mixture
from hf_soups.engine.ranking import TOO_LARGE, Field, kept, kth_largest
from hf_soups.engine.reader import Reader
from hf_soups.engine.work import for_each
from hf_soups.kernels.layout import LANES
from hf_soups.method import KthLargest, Total


def measure(reader: Reader, field: Field, mixtures: Mapping[str, Mixture]) -> dict[str, Mixture]:
    """The mixtures, of one group of tensors, with all statistics that their method declares."""
    found = dict(mixtures)
    some = next(iter(found.values()))
    for statistic, declared in some.method.statistics.items():
        values: dict[str, np.ndarray]
        if isinstance(declared, Total):
            values = _totals(reader, field, found, declared)
        else:
            values = _thresholds(reader, field, found, declared)
        found = {n: replace(m, statistics={**m.statistics, statistic: values[n]}) for n, m in found.items()}
    return found


def _thresholds(
    reader: Reader, field: Field, mixtures: Mapping[str, Mixture], declared: KthLargest
) -> dict[str, np.ndarray]:
    """`[n, 1]` for each tensor, or `[n, rows]`."""
    shares = next(iter(mixtures.values())).arguments[declared.share][:, 0]

    def limit(part: Field) -> np.ndarray:
        keep = [kept(share, part.total) for share in shares]
        return kth_largest(reader, part, keep)[:, None]

    if declared.unit == "model":
        whole = limit(field)
        return dict.fromkeys(mixtures, whole)
    if declared.unit == "tensor":
        return {name: limit(replace(field, sizes={name: field.sizes[name]})) for name in mixtures}
    found = {}
    for name, mixture in mixtures.items():
        columns = mixture.columns
        limits = np.empty((len(shares), field.sizes[name] // columns))
        for first, last, numbers in _rows(reader, field, mixture):
            magnitudes = np.sort(np.abs(numbers).reshape(len(shares), last - first, columns), axis=-1)[..., ::-1]
            for i, share in enumerate(shares):
                keep = kept(share, columns)
                whole_row = keep == columns
                limits[i, first:last] = np.inf if keep == 0 else 0 if whole_row else magnitudes[i, :, keep - 1]
        found[name] = limits
    return found


def _totals(reader: Reader, field: Field, mixtures: Mapping[str, Mixture], declared: Total) -> dict[str, np.ndarray]:
    """`[n, 1]` or `[1]` for each tensor; `[n, rows]` or `[rows]` where the unit is a row."""
    if declared.unit == "row":
        return {n: _row_totals(reader, field, m, declared) for n, m in mixtures.items()}
    partial: dict[str, dict[int, np.ndarray]] = {name: {} for name in mixtures}
    lock = Lock()

    def section(item: tuple[str, int, int]) -> None:
        name, start, stop = item
        sums = []
        for a, b in chunks(stop - start, BLOCK):
            values, count = _values(reader, field, mixtures[name], declared, start + a, start + b)
            sums.append(_lane_sum(values))
            reader.progress(count)
        with lock:
            partial[name][start // SECTION] = np.stack(sums)

    items = ((n, a, b) for n in mixtures for a, b in chunks(field.sizes[n], SECTION))
    for_each(items, section, reader.device.threads)
    ordered = {name: np.concatenate([found[k] for k in sorted(found)]) for name, found in partial.items()}
    if declared.unit == "model":
        whole = _exact(np.concatenate([ordered[name] for name in mixtures]))
        return dict.fromkeys(mixtures, whole)
    return {name: _exact(sums) for name, sums in ordered.items()}


def _row_totals(reader: Reader, field: Field, mixture: Mixture, declared: Total) -> np.ndarray:
    found = []
    for first, last, numbers in _rows(reader, field, mixture):
        values = _call(declared, mixture, numbers, first * mixture.columns)
        found.append(_lane_sum(values.astype(np.float64).reshape(*values.shape[:-1], last - first, mixture.columns)))
    return np.concatenate(found, axis=-1)


def _rows(reader: Reader, field: Field, mixture: Mixture) -> Iterator[tuple[int, int, np.ndarray]]:
    """First and last row of a few whole ones, and their `[n, d]` numbers."""
    columns = mixture.columns
    several = max(1, step(len(field.parts)) // columns)
    for first, last in chunks(field.sizes[mixture.name] // columns, several):
        numbers, count = _numbers(reader, field, mixture.name, first * columns, last * columns)
        reader.progress(count)
        yield first, last, numbers


def _values(
    reader: Reader, field: Field, mixture: Mixture, declared: Total, start: int, stop: int
) -> tuple[np.ndarray, int]:
    numbers, count = _numbers(reader, field, mixture.name, start, stop)
    return _call(declared, mixture, numbers, start).astype(np.float64), count


def _numbers(reader: Reader, field: Field, name: str, start: int, stop: int) -> tuple[np.ndarray, int]:
    """`[n, d]` in the precision that they are mixed in, and the bytes read."""
    rows = reader.desk().rows(field.parts, name, start, stop)
    combine, wide = reader.device.combine, field.wide[name]
    numbers = np.empty((len(rows), stop - start), np.float64 if wide else np.float32)
    good = [combine([row], np.ones(1), out, wide) for row, out in zip(rows, numbers, strict=True)]
    if not all(good):
        refuse(name, field.parts, rows, start, TOO_LARGE)
    return (numbers if field.base is None else numbers[1:] - numbers[0]), sum(row.nbytes for row in rows)


def _call(declared: Total, mixture: Mixture, numbers: np.ndarray, start: int) -> np.ndarray:
    """`declared.of` with what its signature asks for."""
    _, *wanted = inspect.signature(declared.of).parameters
    given: dict[str, Any] = mixture.given(numbers.dtype, start, start + numbers.shape[-1])
    return np.asarray(mixture.call(declared.of, numbers, **{name: given[name] for name in wanted}))


def _lane_sum(values: np.ndarray) -> np.ndarray:
    """Sum along the last axis in one fixed order."""
    lines = -(-values.shape[-1] // LANES)
    padding = [(0, 0)] * (values.ndim - 1) + [(0, lines * LANES - values.shape[-1])]
    lanes = np.pad(values, padding).reshape(*values.shape[:-1], lines, LANES)
    total = np.zeros((*values.shape[:-1], LANES))
    for i in range(lines):
        total += lanes[..., i, :]
    result = np.zeros(values.shape[:-1])
    for i in range(LANES):
        result += total[..., i]
    return result


def _exact(sums: np.ndarray) -> np.ndarray:
    """`[blocks, n]` to `[n, 1]`, `[blocks]` to `[1]`: correctly rounded, in any order."""
    if sums.ndim == 1:
        return np.array([fsum(sums)])
    return np.array([fsum(sums[:, i]) for i in range(sums.shape[1])])[:, None]
