"""TIES and DARE-TIES in one pass: trim or drop, elect a sign, mean of what agrees."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from hf_soups.kernels.chance import U64, draw
from hf_soups.kernels.numbers import CODES, TILE, U32, compiled, finite, load, places, store


def elect(
    base: np.ndarray,
    rows: Sequence[np.ndarray],
    thresholds: np.ndarray,
    weight: np.ndarray,
    scale: float,
    keys: np.ndarray,
    chance: np.ndarray,
    factor: np.ndarray,
    start: int,
    out: np.ndarray,
    wide: bool,
) -> bool:
    """Trim or drop, elect a sign, mean of what agrees: TIES and DARE-TIES, base added back.

    thresholds, weight, factor: `[n]`; keys: `[n, 4]` and chance: `[n]` uint64 of 2^32 where elements are dropped
    at random (then kept ones are multiplied by `factor`), empty where not.
    """
    work = np.float64 if wide else np.float32
    addresses, codes = places([base, *rows])
    given = (thresholds.astype(work), weight.astype(work), work(scale), keys, chance, factor.astype(work))
    good: bool = _elect(addresses, codes, *given, start, len(out), out.ctypes.data, CODES[out.dtype])
    return good


@compiled
def _elect(addresses, codes, thresholds, weight, scale, keys, chance, factor, start, size, out_address, out_code):
    n = len(thresholds)
    kind = thresholds.dtype
    zero, one = np.zeros(1, kind)[0], np.ones(1, kind)[0]
    origin = np.empty(TILE, kind)
    deltas = np.empty((n, TILE), kind)
    votes = np.empty(TILE, kind)
    total = np.empty(TILE, kind)
    merged = np.empty(TILE, kind)
    random = np.empty(TILE, U32)
    good = True
    for tile in range(0, size, TILE):
        m = min(TILE, size - tile)
        load(addresses[0], codes[0], tile, m, origin)
        good &= finite(origin, m)
        for i in range(n):
            delta = deltas[i]
            load(addresses[i + 1], codes[i + 1], tile, m, delta)
            good &= finite(delta, m)
            for j in range(m):
                delta[j] -= origin[j]
            if len(keys) > 0 and chance[i] < U64(1 << 32):
                draw(keys[i], start + tile, random[:m])
                limit, lifted = chance[i], factor[i]
                for j in range(m):
                    delta[j] *= lifted if U64(random[j]) < limit else zero
            threshold = thresholds[i]
            if i == 0:
                for j in range(m):
                    delta[j] = delta[j] if abs(delta[j]) >= threshold else zero
                    votes[j] = delta[j]
            else:
                for j in range(m):
                    delta[j] = delta[j] if abs(delta[j]) >= threshold else zero
                    votes[j] += delta[j]
        for j in range(m):
            votes[j] = -one if votes[j] < zero else one
            total[j] = zero
            merged[j] = zero
        for i in range(n):
            delta = deltas[i]
            share = weight[i]
            for j in range(m):
                agreeing = share if delta[j] * votes[j] > zero else zero
                total[j] += agreeing
                merged[j] += agreeing * delta[j]
        for j in range(m):
            whole = one if total[j] == zero else total[j]
            merged[j] = origin[j] + scale * (merged[j] / whole)
        good &= store(merged, out_address, out_code, tile, m)
    return good
