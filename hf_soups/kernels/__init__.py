"""The loops that do the arithmetic: compiled where numba is installed, else NumPy's, with the same bits."""

from __future__ import annotations

import sys
from functools import cache
from types import ModuleType

from hf_soups.kernels.strips import Packed

__all__ = ["Packed", "loops", "start_light"]


@cache
def loops() -> ModuleType:
    """`fused` or `plain`; imported when first needed, since a plan needs neither."""
    try:
        from hf_soups.kernels import fused
    except ImportError:  # numba may lag behind a new Python
        from hf_soups.kernels import plain

        return plain
    return fused


def start_light() -> None:
    """Load the loops a third faster and smaller, in a process that is ours alone.

    numba looks for a BLAS as soon as it compiles or loads anything, and imports SciPy's linear algebra for it. We
    need none; but other people's numba functions that multiply matrices would not work after this.
    """
    if "scipy.linalg" in sys.modules or "numba" in sys.modules:
        return
    sys.modules["scipy.linalg"] = None  # type: ignore[assignment]
    try:
        import numpy as np

        loops().combine([np.zeros(1, np.float32)], np.ones(1), np.zeros(1, np.float32), False)
    finally:
        del sys.modules["scipy.linalg"]
