"""The engine's small parts: threads, inner products, rounding of limits."""

from __future__ import annotations

import time
from threading import Lock, get_ident

import numpy as np
import pytest

from hf_soups.checkpoint import StateDict
from hf_soups.engine import Desk, Host, Reader, chunks, for_each, grams, of_deltas, of_thetas, step
from hf_soups.engine import gram as gram_module
from hf_soups.engine.mixture import round_to

READER = Reader(Host(), Desk, lambda count: None)


@pytest.mark.parametrize("threads", [1, 4])
def test_every_item_is_done_once(threads: int) -> None:
    done, lock, workers = [], Lock(), set()

    def do(item: int) -> None:
        time.sleep(0.001)
        with lock:
            done.append(item)
            workers.add(get_ident())

    for_each(range(100), do, threads)
    assert sorted(done) == list(range(100)) and len(workers) == threads


@pytest.mark.parametrize("threads", [1, 4])
def test_after_an_error_nothing_more_is_begun_and_it_is_raised(threads: int) -> None:
    begun = []

    def do(item: int) -> None:
        begun.append(item)
        if item == 3:
            raise ValueError("third")
        time.sleep(0.01)

    with pytest.raises(ValueError, match="third"):
        for_each(range(1000), do, threads)
    assert len(begun) <= 3 + 2 * threads


def test_an_error_of_the_items_themselves_is_raised() -> None:
    with pytest.raises(ZeroDivisionError):
        for_each((1 // n for n in (1, 0)), lambda item: None, 2)


@pytest.mark.parametrize("size", [0, 1, 9, 10, 11, 25])
def test_pieces_cover_everything_once(size: int) -> None:
    assert [x for a, b in chunks(size, 10) for x in range(a, b)] == list(range(size))
    assert len(list(chunks(size, 10))) == max(1, -(-size // 10))


def test_the_more_rows_the_smaller_the_pieces() -> None:
    assert step(2) >= step(8) > step(32) > 0 and 32 * step(32) <= 8 * step(8)


@pytest.mark.parametrize("distance", [1.0, 1e-3, 1e-7])
def test_inner_products_of_whole_tensors(distance: float, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("hf_soups.engine.host.BLOCK", 64)
    monkeypatch.setattr("hf_soups.engine.host.SECTION", 256)
    monkeypatch.setattr(gram_module, "SECTION", 256)
    generator = np.random.default_rng(0)
    first = generator.standard_normal(1000)
    vectors = np.stack([first, *(first + distance * generator.standard_normal((3, 1000)))])
    parts = [StateDict({"w": v}) for v in vectors]
    raw = grams(READER, parts, {"w": 1000}, False)["w"]
    between = ((vectors[:, None] - vectors[None]) ** 2).sum(-1)
    found = of_thetas(raw)
    np.testing.assert_allclose(found.products, vectors @ vectors.T, rtol=1e-12)
    np.testing.assert_allclose(found.distances, between, rtol=1e-12)
    deltas = vectors[1:] - vectors[0]
    based = grams(READER, parts, {"w": 1000}, True)["w"]
    np.testing.assert_allclose(of_deltas(based).products, deltas @ deltas.T, rtol=1e-9)


def test_identical_tensors_have_no_distance_at_all() -> None:
    parts = [StateDict({"w": np.random.default_rng(1).standard_normal(100_000)})] * 3
    gram = of_thetas(grams(READER, parts, {"w": 100_000}, False)["w"])
    assert (gram.distances == 0).all() and len(set(gram.products.reshape(-1).tolist())) == 1


def test_a_limit_is_never_rounded_below_what_it_was() -> None:
    limits = np.random.default_rng(2).random(1000) + 1.0
    up = round_to(limits, np.dtype(np.float32), up=True)
    assert up.dtype == np.float32 and (up >= limits).all() and (np.nextafter(up, np.float32(0)) < limits).all()
    assert (round_to(limits, np.dtype(np.float32)) < limits).any()
