"""The verb: a pure function over vectors whose signature is its configuration."""

from hf_soups.method.parameter import Between, Parameter
from hf_soups.method.registry import Method, get, method, names
from hf_soups.method.statistics import KthLargest, Statistic, Total
from hf_soups.method.vectors import Coefficients, Draws, Each, Gram, Matrices, Rows, Vector, Vectors

__all__ = [
    "Between",
    "Coefficients",
    "Draws",
    "Each",
    "Gram",
    "KthLargest",
    "Matrices",
    "Method",
    "Parameter",
    "Rows",
    "Statistic",
    "Total",
    "Vector",
    "Vectors",
    "get",
    "method",
    "names",
]
