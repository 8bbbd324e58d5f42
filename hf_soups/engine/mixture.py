"""A method that looks at the numbers themselves, with everything it is called with for one tensor."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from hf_soups.errors import SoupError
from hf_soups.method import KthLargest, Method


@dataclass(frozen=True)
class Mixture:
    """One tensor's call of a coordinatewise, rows or matrix method.

    arguments: hyperparameters, a float or `[n, 1]` each; statistics: `[n, 1]` each, or `[n, rows]` where the
    unit is a row, or without the first axis where one number serves all; keys: `[n, 4]`, where random streams
    begin; shape: of the whole tensor.
    """

    name: str
    method: Method
    arguments: Mapping[str, Any]
    statistics: Mapping[str, np.ndarray]
    keys: np.ndarray
    shape: tuple[int, ...]

    @property
    def size(self) -> int:
        return int(np.prod(self.shape, dtype=np.int64))

    @property
    def columns(self) -> int:
        """Of the matrix view; 0-d and 1-d tensors are one row."""
        return max(1, self.size // self.shape[0] if len(self.shape) > 1 and self.shape[0] else self.size)

    def given(self, dtype: np.dtype, start: int, stop: int) -> dict[str, Any]:
        """What the function is called with besides vectors, for elements [start, stop), in their precision."""
        found: dict[str, Any] = {k: round_to(v, dtype) for k, v in self.arguments.items()}
        for name, values in self.statistics.items():
            declared = self.method.statistics[name]
            typed = round_to(values, dtype, up=isinstance(declared, KthLargest))
            if declared.unit == "row":
                typed = typed[..., np.arange(start, stop) // self.columns]
            found[name] = typed
        return found

    def call(self, function: Callable[..., Any], *vectors: Any, **given: Any) -> Any:
        """The function's answer; SoupError with the tensor's name for what it refuses."""
        try:
            return function(*vectors, **given)
        except ValueError as error:
            raise SoupError(f"{self.name}: {self.method.name}: {error}") from error


def round_to(value: Any, dtype: np.dtype, up: bool = False) -> Any:
    """Arrays in `dtype`; `up`: not below what they were, so that what is compared with a limit compares the same."""
    if not isinstance(value, np.ndarray):
        return value
    with np.errstate(over="ignore"):
        rounded = value.astype(dtype)
        if up:
            rounded = np.where(rounded < value, np.nextafter(rounded, dtype.type(np.inf)), rounded)
    return rounded
