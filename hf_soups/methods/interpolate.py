"""Interpolation between a base and one fine-tune: WiSE-FT."""

from typing import Annotated

from hf_soups.method import Between, Vector, Vectors, method


@method(title="Interpolation (WiSE-FT)", paper="arXiv:2109.01903", linear=True, ingredients=1)
def interpolate(deltas: Vectors, alpha: Annotated[float, Between(0, 1)] = 0.5) -> Vector:
    """The point at `alpha` on the line from the base (0) to the fine-tune (1); both ends are exact.

    alpha: share of the fine-tune. 0.5 is the paper's choice without knowledge of the shift.

    Source: WiSE-FT (Wortsman et al. 2022), section 3: (1 - alpha) theta_0 + alpha theta_1.
    """
    return alpha * deltas[0]
