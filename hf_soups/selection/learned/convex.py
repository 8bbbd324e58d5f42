"""The small convex problem that is left of a learned soup when its logits are linear in the mixing weights."""

from __future__ import annotations

import numpy as np

from hf_soups.selection.learned.tangent import Tangent

GAP = 1e-7  # how far above the least loss an answer may be, in nats a row
ROUNDS = 20_000  # steps; a few hundred are enough where the ingredients differ
BETAS = (0.05, 20.0)  # logit scales that are tried: separable rows would ask for infinity


def cross_entropy(logits: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """`[...]` mean over rows of logits `[..., rows, labels]`."""
    top = logits.max(axis=-1, keepdims=True)
    total = np.log(np.exp(logits - top).sum(axis=-1)) + top[..., 0]
    own = np.take_along_axis(logits, np.broadcast_to(labels[:, None], (*logits.shape[:-1], 1)), axis=-1)[..., 0]
    return np.asarray((total - own).mean(axis=-1))


def minimise(tangent: Tangent, learn_beta: bool = True) -> tuple[np.ndarray, float, float]:
    """Mixing weights a `[groups, n]` on simplices, logit scale beta, and the least loss of beta times linear logits.

    In u = beta a and beta the problem is convex, and its conditions for a minimum are those in a and those in beta
    together; so going down in one and then the other ends there.
    """
    groups, n = tangent.slopes.shape[2:]
    a, beta = np.full((groups, n), 1 / n), 1.0
    before = np.inf
    while True:
        a = descend(tangent, a, beta)
        if learn_beta:
            beta = logit_scale(tangent.at(a), tangent.labels)
        value = float(cross_entropy(beta * tangent.at(a), tangent.labels))
        if not learn_beta or before - value < GAP:
            return a, beta, value
        before = value


def descend(tangent: Tangent, a: np.ndarray, beta: float = 1.0) -> np.ndarray:
    """The best a for one beta, as good as GAP: accelerated projected gradients.

    Source: Beck and Teboulle (2009), FISTA with backtracking, section 4; restarted where the loss rises (O'Donoghue
    and Candes 2015). It stops at a Frank-Wolfe gap (Jaggi 2013), which bounds the distance from the least loss.
    """
    rows = len(tangent.labels)
    wanted = np.eye(tangent.logits.shape[1])[tangent.labels]  # [rows, labels]

    def value(x: np.ndarray) -> float:
        return float(cross_entropy(beta * tangent.at(x), tangent.labels))

    def slope(x: np.ndarray) -> np.ndarray:
        logits = beta * tangent.at(x)
        powers = np.exp(logits - logits.max(axis=1, keepdims=True))
        residual = powers / powers.sum(axis=1, keepdims=True) - wanted
        return np.asarray(beta / rows * np.tensordot(residual, tangent.slopes, axes=2))

    steep, momentum, ahead, best = 1.0, 1.0, a, value(a)
    for _ in range(ROUNDS):
        down = slope(a)
        if float((down * a).sum() - down.min(axis=1).sum()) <= GAP:
            break
        at, there = slope(ahead), value(ahead)
        while True:
            new = project(ahead - at / steep)
            moved = new - ahead
            found = value(new)
            if found <= there + float((at * moved).sum()) + steep / 2 * float((moved**2).sum()) + 1e-15:
                break
            steep *= 2
        if found > best:  # the momentum went too far
            if ahead is a:
                break  # and without it nothing is gained in this precision
            momentum, ahead = 1.0, a
            continue
        following = (1 + np.sqrt(1 + 4 * momentum**2)) / 2
        ahead = new + (momentum - 1) / following * (new - a)
        a, best, momentum = new, found, following
        steep /= 1.1
    return a


def project(x: np.ndarray) -> np.ndarray:
    """Rows `[groups, n]` onto the simplex: the nearest point with positive entries of sum 1.

    Source: Held, Wolfe and Crowder (1974), Validation of subgradient optimization.
    """
    descending = -np.sort(-x, axis=1)
    excess = (np.cumsum(descending, axis=1) - 1) / np.arange(1, x.shape[1] + 1)
    last = (descending > excess).sum(axis=1) - 1
    return np.asarray(np.maximum(x - excess[np.arange(len(x)), last][:, None], 0.0))


def logit_scale(logits: np.ndarray, labels: np.ndarray) -> float:
    """The beta in BETAS with the least loss of beta times logits `[rows, labels]`: a convex problem."""
    from scipy.optimize import minimize_scalar  # type: ignore[import-untyped]

    found = minimize_scalar(
        lambda log: float(cross_entropy(np.exp(log) * logits, labels)),
        bounds=np.log(BETAS),
        method="bounded",
        options={"xatol": 1e-6},
    )
    return float(np.exp(found.x))
