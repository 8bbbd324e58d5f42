"""Random bits by counter: Philox 4x32-10 (Salmon et al. 2011)."""

from __future__ import annotations

import numpy as np

from hf_soups.kernels.numbers import U32, compiled

U64 = np.uint64


def bits(key: np.ndarray, start: int, out: np.ndarray) -> None:
    """Random 32 bits for each element from `start` on (Philox 4x32-10).

    key: `[4]` uint32, two words of the key and the two upper ones of the counter.
    """
    draw(key, start, out)


@compiled
def draw(key, start, out):
    """1,024 elements share 256 counters; each of a counter's four words serves 256 of them in a row."""
    words = np.empty((4, 256), U32)
    done = 0
    while done < len(out):
        group, inside = divmod(start + done, 1024)
        for j in range(256):
            counter = U64(group * 256 + j)
            c0, c1 = U32(counter & U64(0xFFFFFFFF)), U32(counter >> U64(32))
            c2, c3 = key[2], key[3]
            k0, k1 = key[0], key[1]
            for _ in range(10):
                p0 = U64(c0) * U64(0xD2511F53)
                p1 = U64(c2) * U64(0xCD9E8D57)
                c0 = U32(U32(U32(p1 >> U64(32)) ^ c1) ^ k0)
                c2 = U32(U32(U32(p0 >> U64(32)) ^ c3) ^ k1)
                c1 = U32(p1 & U64(0xFFFFFFFF))
                c3 = U32(p0 & U64(0xFFFFFFFF))
                k0 = U32(k0 + U32(0x9E3779B9))
                k1 = U32(k1 + U32(0xBB67AE85))
            words[0, j] = c0
            words[1, j] = c1
            words[2, j] = c2
            words[3, j] = c3
        m = min(1024 - inside, len(out) - done)
        flat = words.reshape(-1)
        for j in range(m):
            out[done + j] = flat[inside + j]
        done += m
