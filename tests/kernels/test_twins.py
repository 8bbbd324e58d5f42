"""The compiled loops and NumPy's give the same bits, and both are right."""

from __future__ import annotations

from typing import Any

import ml_dtypes
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hf_soups.kernels import Packed, fused, plain

BF16 = np.dtype(ml_dtypes.bfloat16)
FLOATS = [np.dtype(np.float32), np.dtype(np.float64), np.dtype(np.float16), BF16]
SIZES = [0, 1, 31, 2047, 2048, 2049, 5000]


def rows(n: int, size: int, dtypes: list[np.dtype], seed: int = 0) -> list[np.ndarray]:
    generator = np.random.default_rng(seed)
    return [generator.standard_normal(size).astype(dtypes[i % len(dtypes)]) for i in range(n)]


def bits(array: np.ndarray) -> np.ndarray:
    return array.view(np.uint8)


def both(name: str, *arguments: Any) -> tuple[Any, Any]:
    return getattr(fused, name)(*arguments), getattr(plain, name)(*arguments)


@pytest.mark.parametrize(("out", "wide"), [(f, w) for f in FLOATS for w in (False, True) if f.itemsize > 2 or not w])
@pytest.mark.parametrize("size", SIZES)
def test_combinations_have_the_same_bits(size: int, out: np.dtype, wide: bool) -> None:
    given_rows = rows(5, size, FLOATS)
    coefficients = np.array([0.25, 0.0, -1.5, 1 / 3, 1.0])
    found = np.empty(size, out), np.empty(size, out)
    for loops, place in zip((fused, plain), found, strict=True):
        assert loops.combine(given_rows, coefficients, place, wide)
    assert np.array_equal(bits(found[0]), bits(found[1]))
    exact = coefficients @ np.stack([r.astype(np.float64) for r in given_rows])
    np.testing.assert_allclose(found[0].astype(np.float64), exact, rtol=float(ml_dtypes.finfo(out).eps), atol=1e-6)


def every_half() -> np.ndarray:
    return np.arange(1 << 16, dtype=np.uint16)


@pytest.mark.parametrize("dtype", [np.dtype(np.float16), BF16], ids=str)
def test_every_16_bit_number_is_read_and_written_as_it_is(dtype: np.dtype) -> None:
    numbers = every_half().view(dtype)
    finite = numbers[np.isfinite(numbers.astype(np.float32))]
    for out in (np.empty(len(finite), np.float32), np.empty(len(finite), dtype)):
        assert fused.combine([finite], np.ones(1), out, False)
        assert np.array_equal(bits(out), bits(finite.astype(out.dtype)))


@pytest.mark.parametrize("dtype", [np.dtype(np.float16), BF16], ids=str)
@settings(max_examples=300)
@given(st.lists(st.integers(0, 2**32 - 1), min_size=1, max_size=64))
def test_any_float_is_rounded_to_nearest_even(dtype: np.dtype, numbers: list[int]) -> None:
    values = np.array(numbers, np.uint32).view(np.float32)
    values = values[np.isfinite(values)]
    out = np.empty(len(values), dtype)
    good = fused.combine([values], np.ones(1), out, False)
    with np.errstate(over="ignore"):
        expected = values.astype(dtype)
    assert good == bool(np.isfinite(expected).all())
    assert np.array_equal(bits(out), bits(expected))


@pytest.mark.parametrize("dtype", [np.dtype(np.float16), BF16], ids=str)
def test_the_middle_between_two_numbers_goes_to_the_even_one(dtype: np.dtype) -> None:
    numbers = every_half()[: 0x7B00 if dtype == np.float16 else 0x7F00].view(dtype).astype(np.float32)
    middles = (numbers[:-1] + numbers[1:]) / 2
    out = np.empty(len(middles), dtype)
    assert fused.combine([middles], np.ones(1), out, False)
    assert np.array_equal(bits(out), bits(middles.astype(dtype)))


@pytest.mark.parametrize("loops", [fused, plain], ids=["fused", "plain"])
@pytest.mark.parametrize("coefficient", [1.0, 0.0])
@pytest.mark.parametrize("strange", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("dtype", FLOATS, ids=str)
def test_a_number_that_is_not_finite_is_reported_wherever_it_stands(
    loops: Any, dtype: np.dtype, strange: float, coefficient: float
) -> None:
    for place in (0, 2047, 2500):
        given_rows = rows(2, 2501, [dtype])
        given_rows[1][place] = strange
        assert not loops.combine(given_rows, np.array([0.5, coefficient]), np.empty(2501, dtype), False)


@pytest.mark.parametrize("loops", [fused, plain], ids=["fused", "plain"])
def test_a_result_too_large_for_its_place_is_reported(loops: Any) -> None:
    row = np.full(3, 60000.0, np.float32)
    assert not loops.combine([row, row], np.ones(2), np.empty(3, np.float16), False)
    assert loops.combine([row, row], np.ones(2), np.empty(3, BF16), False)


@pytest.mark.parametrize("size", SIZES)
def test_inner_products_have_the_same_bits_and_are_right(size: int) -> None:
    given_rows = rows(4, size, FLOATS)
    found, again = both("products", given_rows, 2048, False)
    assert np.array_equal(found, again) and len(found) == max(1, -(-size // 2048))
    for loops in (fused, plain):
        assert np.array_equal(loops.products(given_rows, 2048, True)[:, 1:, 1:], found[:, 1:, 1:])
    for number, products in enumerate(found):
        block = np.stack([r.astype(np.float64) for r in given_rows])[:, number * 2048 : (number + 1) * 2048]
        block[1:] -= block[0]
        np.testing.assert_allclose(products, block @ block.T, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("based", [False, True])
@pytest.mark.parametrize("wide", [False, True])
def test_magnitudes_are_placed_the_same_way(wide: bool, based: bool) -> None:
    work = np.dtype(np.float64 if wide else np.float32)
    base, *others = rows(4, 5000, FLOATS)
    magnitudes = np.abs(np.stack([o.astype(work) for o in others]) - (base.astype(work) if based else 0))
    low, high = (np.full(3, limit, work).view(f"u{work.itemsize}") for limit in (0.3, 1.5))
    for above, found, kept, good in both("tally", base if based else None, others, low, high):
        assert good and above.tolist() == (magnitudes >= work.type(1.5)).sum(1).tolist()
        for i in range(3):
            inside = magnitudes[i][(magnitudes[i] >= work.type(0.3)) & (magnitudes[i] < work.type(1.5))]
            assert (kept[i, : found[i]] + low[i]).view(work).tolist() == inside.tolist()
    others[1][17] = np.nan
    assert not any(result[3] for result in both("tally", base, others, low, high))


def test_counting_adds_to_the_right_bins() -> None:
    kept = np.array([[5, 6, 7, 300], [0, 1, 2, 3]], np.uint32)
    for loops in (fused, plain):
        histogram = np.ones((2, 8), np.int64)
        loops.count(histogram, np.array([3, 4]), kept, np.array([1, 0], np.uint32))
        assert histogram.tolist() == [[1, 1, 2, 3, 1, 1, 1, 1], [2, 2, 2, 2, 1, 1, 1, 1]]


@pytest.mark.parametrize(("rank", "columns"), [(1, 1), (3, 63), (16, 64), (7, 200), (64, 129), (5, 1100)])
@pytest.mark.parametrize(("out", "wide"), [(BF16, False), (np.dtype(np.float32), False), (np.dtype(np.float64), True)])
def test_low_rank_products_are_added_with_the_same_bits_from_any_start(
    rank: int, columns: int, out: np.dtype, wide: bool
) -> None:
    generator = np.random.default_rng(3)
    left, right = (generator.standard_normal(s, dtype=np.float32) for s in ((11, rank), (rank, columns)))
    size, coefficients = 11 * columns, np.array([0.0, 0.5, -1.0])
    given_rows = rows(3, size, [BF16, np.dtype(np.float16), np.dtype(np.float32)])
    exact = (left.astype(np.float64) @ right.astype(np.float64)).reshape(-1)
    exact += coefficients @ np.stack([r.astype(np.float64) for r in given_rows])
    whole = np.empty(size, out)
    assert fused.combine(given_rows, coefficients, whole, wide, Packed.of(left, right), 0)
    eps = max(float(ml_dtypes.finfo(out).eps), 1e-4)
    np.testing.assert_allclose(whole.astype(np.float64), exact, rtol=eps, atol=1e-5)
    for start, stop in [(0, 0), (0, size), (columns // 2, 5 * columns + 1), (size - 1, size)]:
        pieces = [row[start:stop] for row in given_rows]
        for loops in (fused, plain):
            part = np.empty(stop - start, out)
            assert loops.combine(pieces, coefficients, part, wide, Packed.of(left, right), start)
            assert np.array_equal(bits(part), bits(whole[start:stop]))


@pytest.mark.parametrize("loops", [fused, plain], ids=["fused", "plain"])
def test_a_product_without_rows_is_itself_and_must_be_finite(loops: Any) -> None:
    left, right = np.full((2, 1), 2, np.float32), np.array([[1, -0.5, 3]], np.float32)
    out = np.empty(6, np.float32)
    assert loops.combine([], np.empty(0), out, False, Packed.of(left, right), 0)
    assert out.tolist() == [2, -1, 6, 2, -1, 6]
    assert not loops.combine([], np.empty(0), out, False, Packed.of(left * np.float32(1e38), right), 0)
    rows_with_nan = [np.array([0, 0, np.nan, 0, 0, 0], np.float32)]
    assert not loops.combine(rows_with_nan, np.zeros(1), out, False, Packed.of(left, right), 0)


@pytest.mark.parametrize("loops", [fused, plain], ids=["fused", "plain"])
@pytest.mark.parametrize(
    ("key", "counter", "words"),
    [  # known answers of philox4x32-10, Random123's kat_vectors
        ((0, 0), (0, 0, 0, 0), (0x6627E8D5, 0xE169C58D, 0xBC57AC4C, 0x9B00DBD8)),
        (
            (0xA4093822, 0x299F31D0),
            (0x243F6A88, 0, 0x13198A2E, 0x03707344),
            None,
        ),
    ],
)
def test_random_bits_are_philox(loops: Any, key: Any, counter: Any, words: Any) -> None:
    stream = np.array([*key, *counter[2:]], np.uint32)
    place = counter[0] // 256 * 1024 + counter[0] % 256
    found = []
    for word in range(4):
        out = np.empty(1, np.uint32)
        loops.bits(stream, place + 256 * word, out)
        found.append(int(out[0]))
    assert found == list(words or slow_philox(key, counter))


def slow_philox(key: tuple[int, int], counter: tuple[int, ...]) -> tuple[int, ...]:
    """Salmon et al. 2011, figure 2, in whole numbers."""
    (k0, k1), (c0, c1, c2, c3) = key, counter
    for _ in range(10):
        p0, p1 = 0xD2511F53 * c0, 0xCD9E8D57 * c2
        c0, c1, c2, c3 = (p1 >> 32) ^ c1 ^ k0, p1 % 2**32, (p0 >> 32) ^ c3 ^ k1, p0 % 2**32
        k0, k1 = (k0 + 0x9E3779B9) % 2**32, (k1 + 0xBB67AE85) % 2**32
    return c0, c1, c2, c3


def test_random_bits_do_not_depend_on_where_one_begins() -> None:
    key = np.array([1, 2, 3, 4], np.uint32)
    whole = np.empty(5000, np.uint32)
    fused.bits(key, 0, whole)
    for loops in (fused, plain):
        for start, stop in [(0, 1), (1023, 1025), (777, 4444), (4096, 4096)]:
            part = np.empty(stop - start, np.uint32)
            loops.bits(key, start, part)
            assert np.array_equal(part, whole[start:stop])
