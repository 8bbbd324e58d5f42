"""How weights were learned: a sentence for the beginning of a card, a section with the picture and every number."""

from __future__ import annotations

from hf_soups.card.facts import Facts
from hf_soups.card.markdown import details, escape, table
from hf_soups.card.weights_figure import WEIGHTS_FIGURE
from hf_soups.selection import Learned

GROUPS_SHOWN = 100  # rows of the table; the lock has them all


def learning_sentence(learned: Learned) -> str:
    """`How much of each ingredient goes into each block was learned on fit.`"""
    where = {"model": "the soup", "block": "each block", "tensor": "each tensor"}[learned.granularity]
    return f"How much of each ingredient goes into {where} was learned on {escape(learned.fit)}."


def learning(facts: Facts) -> str:
    """The picture, the loss on the way, and the weights."""
    learned = facts.selection.learned if facts.selection else None
    if learned is None:
        return ""
    fit, calibrate = escape(learned.fit), escape(learned.calibrate)
    how = "by gradient descent" if learned.epochs else "where the logits are linear in the weights, a convex problem,"
    unchanged = bool(learned.epochs) and learned.best == 0
    parts = [
        "## Learned weights",
        f"The weights were fitted {how} to the log loss on {fit}, and {calibrate} decided which of the soups below to "
        f"take. The log loss on {calibrate} is {learned.loss:.4f}, and {learned.uniform:.4f} for the uniform soup"
        + (", whose logits were scaled too; " if learned.confirmed else "; ")
        + "neither set is reported on. "
        + ("No epoch was better, so these are the weights of the uniform soup. " if unchanged else "")
        + (
            "They are positive and sum to 1." if learned.space == "simplex" else "They may be negative, and of any sum."
        ),
    ]
    if facts.weights_figure:
        parts.append(f"![weight of every ingredient in every {learned.granularity}]({WEIGHTS_FIGURE})")
    parts += _logit_scale(learned)
    if learned.epochs:
        rows = [[str(e.number), f"{e.calibrate:.4f}", f"{e.beta:.3f}"] for e in learned.epochs]
        rows[learned.best] = [f"**{cell}**" for cell in rows[learned.best]]
        header = ["epoch", f"log loss on {calibrate}", "logits times"]
        parts.append(details(f"The loss after each epoch, {learned.steps} steps in all", table(header, rows)))
    if learned.confirmed:
        parts.append(_confirmed(learned, fit, calibrate))
    header = [learned.granularity, *(escape(name) for name in learned.ingredients)]
    weights = list(learned.groups.items())[:GROUPS_SHOWN]
    shown = "All weights" if len(weights) == len(learned.groups) else f"The first {len(weights)} weights"
    parts.append(details(shown, table(header, [[escape(n), *(f"{x:.4f}" for x in row)] for n, row in weights])))
    return "\n\n".join(parts)


def _logit_scale(learned: Learned) -> list[str]:
    if learned.beta == 1:
        return []
    if learned.folded:
        return [f"Its logits are multiplied by {learned.beta:.4f}: that is in the weights of its last layer."]
    return [
        f"Multiply its logits by {learned.beta:.4f} before you take probabilities from them: its last layer has no "
        "place for that factor. Which label is the likeliest does not depend on it."
    ]


def _confirmed(learned: Learned, fit: str, calibrate: str) -> str:
    """What was found in the linear model, and how far from linear it is there."""
    header = ["soup", f"loss on {fit}, linear", "real", f"real on {calibrate}", "logits off by", "other labels"]
    rows = []
    for number, soup in enumerate(learned.confirmed):
        losses = [f"{x:.4f}" for x in (soup.linear, soup.fit, soup.calibrate)]
        cells = [escape(soup.name), *losses, f"{soup.error:.0%}", f"{soup.flipped:.1%}"]
        rows.append([f"**{cell}**" for cell in cells] if number == learned.best else cells)
    return table(header, rows)
