"""How good is a model, and how sure are we: data, metrics, predictions, intervals, tables.

Importing this package is light; datasets, evaluate, torch and transformers load when they are first needed.
`predict` is not re-exported (module and function share the name): `from hf_soups.evaluation.predict import predict`.
"""

from __future__ import annotations

from importlib import import_module
from typing import Any

_HOME = {
    "Benchmark": "benchmarks",
    "DatasetReport": "results",
    "Evaluator": "evaluator",
    "Examples": "examples",
    "Interval": "statistics",
    "METRICS": "metrics",
    "Measured": "benchmarks",
    "Metric": "metrics",
    "Predictions": "cache",
    "Results": "results",
    "Row": "results",
    "Source": "examples",
    "check_roles": "splits",
    "difference": "statistics",
    "halves": "splits",
    "infer_splits": "inference",
    "interval": "statistics",
    "lm_eval": "lm_harness",
    "load": "data",
    "metric": "metrics",
    "own_function": "benchmarks",
    "own_metric": "metrics",
    "remove_shared": "splits",
    "score": "metrics",
}

__all__ = sorted(_HOME)


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOME[name]}"), name)


def __dir__() -> list[str]:
    return list(__all__)
