"""Weighted average: the uniform soup, and what greedy soups end in."""

from hf_soups.method import Each, Vector, Vectors, method


@method(title="Weighted average", paper="arXiv:2203.05482", linear=True)
def average(thetas: Vectors, weight: Each = 1.0) -> Vector:
    """Weighted mean of the ingredients' weights.

    weight: importance of each ingredient; only ratios matter, negative ones are allowed, the sum may
        not be 0.

    Raises ValueError if the weights sum to 0.

    Source: model soups (Wortsman et al. 2022), uniform soup; every weight 1.
    """
    total = weight.sum(0)
    if abs(total) < 1e-8:
        raise ValueError("the weights sum to 0, so they have no mean")
    return (weight * thetas).sum(0) / total
