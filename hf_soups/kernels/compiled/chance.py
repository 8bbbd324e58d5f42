"""Random bits by counter: Philox 4x32-10 (Salmon et al. 2011)."""

from __future__ import annotations

import numpy as np
from numba import carray

from hf_soups.kernels.compiled.numbers import U32, compiled, pointer
from hf_soups.kernels.layout import GROUP

U64 = np.uint64


def bits(key, start, out, size, words):
    """key: `[4]` uint32; out: `[size]` uint32; words: `[GROUP]` uint32 of scratch memory."""
    stream = carray(pointer(key), 4, U32)
    draw(stream, start, carray(pointer(out), size, U32), words)
    return 1


@compiled
def draw(key, start, out, words):
    """A group of elements shares 256 counters; each of a counter's four words serves 256 elements in a row."""
    table, flat = carray(pointer(words), (4, GROUP // 4), U32), carray(pointer(words), GROUP, U32)
    done = 0
    while done < len(out):
        group, inside = divmod(start + done, GROUP)
        for j in range(GROUP // 4):
            counter = U64(group * (GROUP // 4) + j)
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
            table[0, j] = c0
            table[1, j] = c1
            table[2, j] = c2
            table[3, j] = c3
        m = min(GROUP - inside, len(out) - done)
        for j in range(m):
            out[done + j] = flat[inside + j]
        done += m
