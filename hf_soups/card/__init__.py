"""The model card of a soup: what it is, whether it is better, what is in it, how to make it again."""

from hf_soups.card.body import render
from hf_soups.card.facts import Candidate, Facts, gather, sources
from hf_soups.card.folder import write
from hf_soups.card.license import decide_license
from hf_soups.card.scatter import figure

__all__ = ["Candidate", "Facts", "decide_license", "figure", "gather", "render", "sources", "write"]
