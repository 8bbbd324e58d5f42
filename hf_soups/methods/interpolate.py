"""Interpolation between a base and its fine-tunes: WiSE-FT, of one model or of a soup."""

from typing import Annotated

from hf_soups.method import Between, Each, Vector, Vectors, method
from hf_soups.methods.average import average


@method(title="Interpolation (WiSE-FT)", paper="arXiv:2109.01903", linear=True)
def interpolate(deltas: Vectors, alpha: Annotated[float, Between(0, 1)] = 0.5, weight: Each = 1.0) -> Vector:
    """The point at `alpha` on the line from the base (0) to the fine-tune, or to the average of several (1).

    alpha: share of the fine-tunes; both ends are exact for one of them. 0.5 is the paper's choice without knowledge
        of the shift.
    weight: importance of each fine-tune in their average, as in `average`.

    Raises ValueError if the weights sum to 0.

    Source: WiSE-FT (Wortsman et al. 2022), section 3: (1 - alpha) theta_0 + alpha theta_1; theta_1 a soup, as
    in model soups (arXiv:2203.05482).
    """
    return alpha * average(deltas, weight)
