"""Model Stock: as far from the base towards the average as the fine-tunes agree on."""

import numpy as np

from hf_soups.method import Coefficients, Gram, method
from hf_soups.methods.directions import squared_chords


@method(title="Model Stock", paper="arXiv:2403.19522", space="deltas")
def model_stock(gram: Gram) -> Coefficients:
    """The base plus t times the mean difference, t = N c / (1 + (N - 1) c), tensor by tensor.

    c is the mean cosine over all pairs of the N differences. t is kept in 0 to 1: fine-tunes at right
    angles give the base, so do those that pull apart, and equal ones come back. A difference of zero
    has cosine 0 with all others. One fine-tune has no pair and nothing to disagree with: it comes back.

    Source: Model Stock (Jang et al. 2024). For N > 2 the paper leaves the angle open; cosines are
    averaged as in mergekit, which does not clamp t.
    """
    n = len(gram.products)
    pairs = np.triu_indices(n, 1)
    c = np.mean(1 - squared_chords(gram)[pairs] / 2) if n > 1 else 1.0
    t = n * c / (1 + (n - 1) * c) if c > 0 else 0.0
    return Coefficients(np.full(n, t / n))
