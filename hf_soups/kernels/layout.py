"""What the loops and those who call them agree on."""

from __future__ import annotations

import ml_dtypes
import numpy as np

CODES = {  # how a row is stored
    np.dtype(np.float32): 0,
    np.dtype(np.float64): 1,
    np.dtype(np.float16): 2,
    np.dtype(ml_dtypes.bfloat16): 3,
}
TILE = 2048  # numbers of each row in work at once: a few of them fill the first-level cache
LINE = 64  # bytes of the cache that are read together, on all common processors
LANES = 32  # partial sums of an inner product, side by side; part of the definition of its bits
GROUP = 1024  # random words that are drawn together; part of the definition of the streams
ROWS = 6  # of a low-rank product in work at once; with STRIP, 12 of the 16 registers of AVX2
STRIP = 16  # columns: one vector register of the widest processors, two of others
WIDTH = 1024  # columns of a low-rank product in work at once: their strips fill the second-level cache
