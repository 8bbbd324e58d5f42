"""TIES and DARE-TIES in one pass: trim or drop, elect a sign, mean of what agrees."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numba import carray

from hf_soups.kernels.compiled.chance import U64, draw
from hf_soups.kernels.compiled.numbers import U32, aligned, finite, load, pointer, store
from hf_soups.kernels.layout import TILE


def elect(work: type[np.floating]) -> Callable[..., int]:
    """The loop in this type."""
    zero, one = work(0), work(1)

    def loop(
        sources, n, threshold, weight, scale, drops, key, chance, factor, start, size, out, code, lines, random, words
    ):  # fmt: skip
        """sources: `[2, 1 + n]`, the base first; threshold, weight: `[n]`; scale: `[1]`.

        drops: 1 if elements are dropped at random, with key: `[n, 4]`, chance and factor: `[n]`.
        Scratch memory: lines: `[4 + n, TILE]`; random: `[TILE]`; words: `[GROUP]`.
        """
        places = carray(pointer(sources), (2, 1 + n), np.int64)
        thresholds, weights = carray(pointer(threshold), n, work), carray(pointer(weight), n, work)
        keys, chances = carray(pointer(key), (n, 4), U32), carray(pointer(chance), n, U64)
        factors, scales = carray(pointer(factor), n, work), carray(pointer(scale), 1, work)
        whole = scales[0]
        rows = carray(pointer(aligned(lines)), (4 + n, TILE), work)
        origin, votes, total, merged, deltas = rows[0], rows[1], rows[2], rows[3], rows[4:]
        drawn = carray(pointer(random), TILE, U32)
        good = True
        for tile in range(0, size, TILE):
            m = min(TILE, size - tile)
            load(places[0, 0], places[1, 0], tile, m, origin)
            good &= finite(origin, m)
            for i in range(n):
                delta = deltas[i]
                load(places[0, i + 1], places[1, i + 1], tile, m, delta)
                good &= finite(delta, m)
                for j in range(m):
                    delta[j] -= origin[j]
                if drops and chances[i] < U64(1 << 32):
                    draw(keys[i], start + tile, drawn[:m], words)
                    limit, lifted = chances[i], factors[i]
                    for j in range(m):
                        delta[j] *= lifted if U64(drawn[j]) < limit else zero
                least = thresholds[i]
                if i == 0:
                    for j in range(m):
                        delta[j] = delta[j] if abs(delta[j]) >= least else zero
                        votes[j] = delta[j]
                else:
                    for j in range(m):
                        delta[j] = delta[j] if abs(delta[j]) >= least else zero
                        votes[j] += delta[j]
            for j in range(m):
                votes[j] = -one if votes[j] < zero else one
                total[j] = zero
                merged[j] = zero
            for i in range(n):
                delta = deltas[i]
                share = weights[i]
                for j in range(m):
                    agreeing = share if delta[j] * votes[j] > zero else zero
                    total[j] += agreeing
                    merged[j] += agreeing * delta[j]
            for j in range(m):
                divisor = one if total[j] == zero else total[j]
                merged[j] = origin[j] + whole * (merged[j] / divisor)
            good &= store(merged, out, code, tile, m)
        return good

    return loop
