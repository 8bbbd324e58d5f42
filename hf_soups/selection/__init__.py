"""Choosing: a recipe goes in, a recipe comes out, with the trace of why."""

from hf_soups.selection.greedy import greedy
from hf_soups.selection.learned.trace import Learned
from hf_soups.selection.outline import needs_base, outline
from hf_soups.selection.search import search
from hf_soups.selection.sweep import sweep
from hf_soups.selection.trace import Curve, Growth, Point, Selection, Step, Study, Trial, Tried

__all__ = [
    "Curve",
    "Growth",
    "Learned",
    "Point",
    "Selection",
    "Step",
    "Study",
    "Trial",
    "Tried",
    "greedy",
    "needs_base",
    "outline",
    "search",
    "sweep",
]
