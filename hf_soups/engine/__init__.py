"""Runs methods over ranges of tensors: chunks, not tensors, are the unit of work.

Arithmetic is float64 where 32 bits or more are written and float32 where fewer are; each number is rounded once.
"""

from hf_soups.engine.blocks import chunks, step
from hf_soups.engine.desk import Desk
from hf_soups.engine.device import Device, choose
from hf_soups.engine.draws import identities, keys
from hf_soups.engine.gram import grams, of_deltas, of_thetas
from hf_soups.engine.host import Host
from hf_soups.engine.mixture import Mixture
from hf_soups.engine.ranking import Field
from hf_soups.engine.ranking import passes as ranking_passes
from hf_soups.engine.reader import Reader
from hf_soups.engine.rules import Combination, Copy, Elementwise, Equal, Maximum, Rule, WholeRows
from hf_soups.engine.statistics import measure
from hf_soups.engine.work import for_each

__all__ = [
    "Combination",
    "Copy",
    "Desk",
    "Device",
    "Elementwise",
    "Equal",
    "Field",
    "Host",
    "Maximum",
    "Mixture",
    "Reader",
    "Rule",
    "WholeRows",
    "choose",
    "chunks",
    "for_each",
    "grams",
    "identities",
    "keys",
    "measure",
    "of_deltas",
    "of_thetas",
    "ranking_passes",
    "step",
]
