"""Merge methods, one a file: pure functions over vectors. Importing this registers them all.

`directions` is what those on the sphere share.
"""

from hf_soups.methods.average import average
from hf_soups.methods.dare_ties import dare_ties
from hf_soups.methods.interpolate import interpolate
from hf_soups.methods.karcher import karcher
from hf_soups.methods.model_stock import model_stock
from hf_soups.methods.multislerp import multislerp
from hf_soups.methods.slerp import slerp
from hf_soups.methods.task_arithmetic import task_arithmetic
from hf_soups.methods.ties import ties

__all__ = [
    "average",
    "dare_ties",
    "interpolate",
    "karcher",
    "model_stock",
    "multislerp",
    "slerp",
    "task_arithmetic",
    "ties",
]
