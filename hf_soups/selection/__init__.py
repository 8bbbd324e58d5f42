"""Choosing: a recipe goes in, a recipe comes out, with the trace of why."""

from hf_soups.selection.greedy import greedy
from hf_soups.selection.learned.trace import Learned
from hf_soups.selection.trace import Selection, Step

__all__ = ["Learned", "Selection", "Step", "greedy"]
