"""The loops that do the arithmetic: compiled where numba is installed, else NumPy's, with the same bits."""

from __future__ import annotations

from functools import cache
from types import ModuleType

from hf_soups.kernels.strips import Packed

__all__ = ["Packed", "have_to_compile", "loops"]


@cache
def loops() -> ModuleType:
    """`fused` or `plain`; imported when first needed, since a plan needs neither."""
    try:
        from hf_soups.kernels import fused
    except ImportError:  # numba may lag behind a new Python
        from hf_soups.kernels import plain

        return plain
    return fused


def have_to_compile() -> bool:
    """Whether the first use of `loops` takes about ten seconds, once on this machine."""
    try:
        from hf_soups.kernels import machine

        return not machine.are_kept()
    except ImportError:
        return False
