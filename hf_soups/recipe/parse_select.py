"""The `select` section: which keys it may have depends on its strategy."""

from __future__ import annotations

from dataclasses import fields
from typing import Any

from hf_soups.errors import RecipeError
from hf_soups.recipe.check_select import GREEDY, OPTIONS, STRATEGIES, says_nothing
from hf_soups.recipe.learning import Learning
from hf_soups.recipe.strategies import Constraint, Range, Search, Sweep, Target
from hf_soups.recipe.types import Select
from hf_soups.recipe.values import boolean, integer, known, mapping, number, one_of, sequence, string

MOST_VALUES = 1000  # of a sweep; each is a model that is run on the data


def parse_select(content: Any) -> Select:
    """Strategy, data and metric, and the strategy's own options; RecipeError names what is wrong."""
    values = {k: v for k, v in mapping(content, "select").items() if v is not None}
    strategy = values.get("strategy", Select.strategy)
    kind: type | None = OPTIONS.get(one_of(string(strategy, "select: strategy"), STRATEGIES, "select: strategy"))
    common = {"strategy"} if kind is Learning else {"strategy", "on", "metric"}
    own = [f.name for f in fields(kind)] if kind else GREEDY
    if kind is None and strategy != "greedy" and (lost := [key for key in GREEDY if key in values]):
        raise says_nothing(lost[0], strategy)
    known(values, [*sorted(common), *own], "select")
    words = {*common, *GREEDY} - {"curve"}
    made: dict[str, Any] = {k: string(v, f"select: {k}") for k, v in values.items() if k in words}
    if "curve" in values:
        made["curve"] = boolean(values["curve"], "select: curve")
    if kind is Sweep:
        made["options"] = _sweep(values)
    elif kind is Learning:
        made["options"] = _learning(values)
    elif kind is Search:
        made["options"] = _search(values)
    return Select(**made)


def _sweep(values: dict[str, Any]) -> Sweep:
    if "parameter" not in values:
        raise RecipeError("select: parameter: is missing; name what to sweep, such as alpha")
    rule = values.get("rule", Sweep.rule)
    return Sweep(
        parameter=string(values["parameter"], "select: parameter"),
        values=_values(values["values"]) if "values" in values else (),
        rule=rule if isinstance(rule, str) else number(rule, "select: rule"),
    )


def _values(content: Any) -> tuple[float, ...]:
    """The numbers of a list, or of `{from, to, step}` with both ends."""
    where = "select: values"
    if isinstance(content, list):
        return tuple(number(v, where) for v in content)
    ends = mapping(content, where)
    known(ends, ["from", "to", "step"], where)
    for key in ("from", "to", "step"):
        if key not in ends:
            raise RecipeError(f"{where}: {key}: is missing; write a list, or {{from: 0, to: 1, step: 0.05}}")
    low, high, step = (number(ends[key], f"{where}: {key}") for key in ("from", "to", "step"))
    if not (step > 0 and high >= low and (high - low) / step < MOST_VALUES):
        raise RecipeError(
            f"{where}: from {low:g} to {high:g} in steps of {step:g} is not between 1 and {MOST_VALUES} values"
        )
    steps = int((high - low) / step + 1e-9)  # a last value that rounding puts just beyond the end is the end
    return tuple(round(low + i * step, 12) for i in range(steps + 1))


def _learning(values: dict[str, Any]) -> Learning:
    made: dict[str, Any] = {}
    for key, entry in values.items():
        where = f"select: {key}"
        if key in ("beta", "linear"):
            made[key] = boolean(entry, where)
        elif key in ("epochs", "batch_size"):
            made[key] = integer(entry, where)
        elif key == "lr":
            made[key] = number(entry, where)
        elif key != "strategy":
            made[key] = string(entry, where)
    return Learning(**made)


def _search(values: dict[str, Any]) -> Search:
    for key in ("space", "trials"):
        if key not in values:
            raise RecipeError(f"select: {key}: is missing; a search needs a space and a number of trials")
    space = mapping(values["space"], "select: space")
    made: dict[str, Any] = {
        "space": {place: _options(content, f"select: space: {place}") for place, content in space.items()},
        "trials": integer(values["trials"], "select: trials"),
    }
    for key in ("sampler", "study"):
        if key in values:
            made[key] = string(values[key], f"select: {key}")
    if "objectives" in values:
        listed = sequence(values["objectives"], "select: objectives")
        made["objectives"] = tuple(Target(**_target(t, "select: objectives", Target)) for t in listed)
    if "constraint" in values:
        made["constraint"] = Constraint(**_target(values["constraint"], "select: constraint", Constraint))
    return Search(**made)


def _options(content: Any, where: str) -> Range | tuple[float | str, ...]:
    if isinstance(content, list):
        return tuple(v if isinstance(v, str) else number(v, where) for v in content)
    ends = mapping(content, where, Range)
    for key in ("low", "high"):
        if key not in ends:
            raise RecipeError(f"{where}: {key}: is missing; write {{low: 0, high: 1}}, or a list of options")
    low, high = (number(ends[key], f"{where}: {key}") for key in ("low", "high"))
    return Range(low, high, boolean(ends.get("log", False), f"{where}: log"))


def _target(content: Any, where: str, kind: type) -> dict[str, Any]:
    found = {k: v for k, v in mapping(content, where, kind).items() if v is not None}
    texts = ("on", "metric")
    return {k: (string if k in texts else number)(v, f"{where}: {k}") for k, v in found.items()}
