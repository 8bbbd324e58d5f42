"""Merge methods, one a file: pure functions over vectors. Importing this registers them all."""

from hf_soups.methods.average import average
from hf_soups.methods.interpolate import interpolate
from hf_soups.methods.slerp import slerp
from hf_soups.methods.task_arithmetic import task_arithmetic
from hf_soups.methods.ties import ties

__all__ = ["average", "interpolate", "slerp", "task_arithmetic", "ties"]
