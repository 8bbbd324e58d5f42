"""A step of a low-rank product is rounded once: a multiply-add as IEEE 754 defines it."""

from __future__ import annotations

from fractions import Fraction
from typing import Any

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from hf_soups.kernels import Packed, fused, plain

numbers = st.floats(width=32, allow_nan=False, allow_infinity=False)
few_digits = st.builds(  # whose products lie at, or very near, the middle between two floats
    lambda sign, digits, exponent: sign * float(np.ldexp(np.float32(digits), exponent)),
    st.sampled_from([1, -1]),
    st.sampled_from([1, 3, 2**12 + 1, 2**12 - 1, 2**23 + 1, 2**24 - 1]),
    st.integers(-40, 20),
)


def nearest(exact: Fraction) -> float:
    """The float32 nearest to a number, the even one of two, in whole numbers."""
    size, exponent = abs(exact), -149  # of the last digit of the smallest floats
    while size >= Fraction(2) ** (exponent + 24):
        exponent += 1
    rounded = round(size / Fraction(2) ** exponent) * Fraction(2) ** exponent
    found = float("inf") if rounded >= 2**128 else float(rounded)
    return -found if exact < 0 else found


@pytest.mark.parametrize("loops", [fused, plain], ids=["fused", "plain"])
@settings(max_examples=1000, deadline=None)
@given(numbers | few_digits, numbers | few_digits, numbers | few_digits)
@example(2**-12 * (1 + 2**-20), 2**-12 * (1 - 2**-20), 1 + 2**-23)  # a sum in float64 is a tie, and goes up
@example(2**-12 * (1 + 2**-20), 2**-12 * (1 + 2**-20), 1.0)
@example(2**-75 * (1 + 2**-20), 2**-75 * (1 - 2**-20), 2**-149)  # among subnormal numbers
@example(float(np.finfo(np.float32).max), 2.0, 1.0)
@example(1.0, -1.0, 1.0)
def test_a_step_is_the_exact_one_rounded(loops: Any, a: float, b: float, c: float) -> None:
    product = Packed.of(np.array([[1, a]], np.float32), np.array([[c], [b]], np.float32))
    out = np.empty(1, np.float32)
    good = loops.combine([], np.empty(0), out, False, product, 0)
    expected = nearest(Fraction(a) * Fraction(b) + Fraction(c))
    assert out[0] == expected
    assert good == bool(np.isfinite(expected))
