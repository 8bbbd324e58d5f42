"""Numbers that a program makes of a whole model: a function of the user's own, or a benchmark of lm-eval."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from hf_soups.errors import EvaluationError

if TYPE_CHECKING:
    from hf_soups.evaluation.cache import Predictions
    from hf_soups.evaluation.outputs import Outputs


@dataclass(frozen=True)
class Measured:
    """A number, and its standard error where the program gives one."""

    value: float
    stderr: float | None = None


@dataclass(frozen=True)
class Benchmark:
    """What stands where a metric can, but sees the model instead of its answers.

    It has no value for each row, so there is no bootstrap: no interval but what its own standard error gives, no paired
    difference, no ensemble.
    name: what recipes and tables call it.
    run: (model, processor) → Measured; it leaves the model's weights as they are.
    identity: all that decides the number beside the weights; None: unknown, so the number is never kept.
    """

    name: str
    greater_is_better: bool
    run: Callable[[Any, Any], Measured]
    identity: str | None = None


def own_function(
    function: Callable[[Any], float], *, greater_is_better: bool, version: str | None = None, name: str | None = None
) -> Benchmark:
    """A user's own `evaluate(model) -> float` as a metric, for greedy selection as for others.

    function: gets the transformers model, in evaluation mode, on its device.
    greater_is_better: which way is up.
    version: names the state of the function and its data; whoever changes them changes it. With it the number is kept
        under the weights, the function's name and the version; without it nobody can know whether the function is
        still the same, so it is called every time.
    name: default: the function's.
    There is no interval: one number does not tell how sure it is. Raises EvaluationError where it is not finite.
    """
    full = f"{function.__module__}.{getattr(function, '__qualname__', type(function).__qualname__)}"
    title = name or full.rsplit(".", 1)[-1]

    def run(model: Any, processor: Any) -> Measured:
        value = function(model)
        try:
            number = float(value)
        except (TypeError, ValueError) as error:
            raise EvaluationError(f"{title}: gave {type(value).__name__}, not a number") from error
        if not math.isfinite(number):
            raise EvaluationError(f"{title}: gave {number} for a model; a number that can be compared is needed")
        return Measured(number)

    return Benchmark(title, greater_is_better, run, None if version is None else f"{full} {version}")


def measured(
    benchmark: Benchmark,
    identity: str,
    load: Callable[[], tuple[Any, Any]],
    settings: Mapping[str, str],
    cache: Predictions,
    dtype: str,
) -> Measured:
    """What a benchmark makes of a model, from the cache where it says what decides that and it was made before.

    identity, settings: which model, as of `Evaluator.outputs`. load: builds (model, processor), only if it is needed.
    """
    from hf_soups.evaluation.predict import ready

    def compute() -> Outputs:
        model, processor = load()
        with ready(model, dtype):
            found = benchmark.run(model, processor)
        return np.array([[found.value, np.nan if found.stderr is None else found.stderr]], np.float32)

    if benchmark.identity is None:
        kept = compute()
    else:
        everything = {"benchmark": benchmark.identity, "dtype": dtype, **settings}
        kept = cache.get_or_compute(cache.key(identity, "", everything), compute)
    value, stderr = np.asarray(kept)[0].tolist()  # in float32, whether it comes from the cache or not
    return Measured(value, None if np.isnan(stderr) else stderr)
