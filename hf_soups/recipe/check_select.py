"""The rules that a `select` section keeps: its strategy's options, and that only data of role select decide."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from math import isfinite

from hf_soups.errors import RecipeError, did_you_mean
from hf_soups.method import Parameter, get
from hf_soups.recipe.learning import Learning, check_learning
from hf_soups.recipe.places import METHOD, assign, parameter_of
from hf_soups.recipe.strategies import Constraint, Range, Search, Sweep, Target
from hf_soups.recipe.types import Recipe, Select
from hf_soups.recipe.values import one_of

STRATEGIES = ("uniform", "greedy", "learned", "sweep", "search")
OPTIONS = {"learned": Learning, "sweep": Sweep, "search": Search}
WITHOUT_DATA = ("uniform", "sweep")  # the others have nothing to go by
TIES = (">=", ">")
ORDERS = ("score", "random")
DIRECTIONS = ("forward", "backward")
GREEDY = ("tie", "order", "direction", "curve")  # keys that only a greedy selection reads
SAMPLERS = ("tpe", "cmaes")
ALPHA = "alpha"  # swept over any method's soup: its share on the line from the base to it
SLOPE = "slope"  # swept over a linear method's `scale`: how much larger it is in the last layer than in the first


def check_select(recipe: Recipe, select: Select) -> None:
    """RecipeError if the section asks for what cannot be done."""
    one_of(select.strategy, STRATEGIES, "select: strategy")
    one_of(select.tie, TIES, "select: tie")
    one_of(select.order, ORDERS, "select: order")
    one_of(select.direction, DIRECTIONS, "select: direction")
    _check_greedy(select)
    if select.strategy == "learned" and select.options is None:
        return check_learning(recipe, Learning())
    wanted = OPTIONS.get(select.strategy)
    if wanted is not None and not isinstance(select.options, wanted):
        raise RecipeError(f"select: {select.strategy} needs options of its own, a {wanted.__name__}")
    if wanted is None and select.options is not None:
        raise RecipeError(f"select: {select.strategy} takes no {type(select.options).__name__.lower()} options")
    if isinstance(select.options, Learning):
        return check_learning(recipe, select.options)
    if isinstance(select.options, Sweep):
        check_sweep(recipe, select.options)
    if recipe.evaluate is None and select.strategy not in WITHOUT_DATA:
        raise RecipeError(f"select: {select.strategy} needs evaluate: with a dataset of role select")
    if isinstance(select.options, Search):
        _check_search(recipe, select.options)
        for target in targets(recipe, select):
            _check_target(recipe, target, "select")
    else:
        _check_target(recipe, Target(select.on, select.metric), "select", select.strategy in WITHOUT_DATA)


def _check_greedy(select: Select) -> None:
    """RecipeError for what would change nothing: keys of a greedy selection elsewhere, a curve that has no order."""
    usual = Select()
    for key in GREEDY:
        if select.strategy != "greedy" and getattr(select, key) != getattr(usual, key):
            raise says_nothing(key, select.strategy)
    if select.curve and (select.order, select.direction) != (usual.order, usual.direction):
        other = "order: random" if select.order != usual.order else "direction: backward"
        raise RecipeError(
            f"select: curve: scores the soups of the k best, and {other} has no such order; leave one of the two out"
        )


def says_nothing(key: str, strategy: str) -> RecipeError:
    """Of a key that only a greedy selection reads."""
    return RecipeError(
        f"select: {key}: belongs to a greedy selection, and says nothing of {strategy}; leave it out, or say "
        "strategy: greedy"
    )


def swept(recipe: Recipe, name: str) -> Parameter:
    """The parameter that a sweep varies; RecipeError with a suggestion if the method has no such one."""
    method = get(recipe.method)
    known = {ALPHA: get("interpolate").parameters[ALPHA], **method.parameters}
    if method.kind == "linear" and "scale" in known:  # other methods measure what they do over all layers together
        known[SLOPE] = replace(known["scale"], name=SLOPE, default=0.0)
    if name not in known:
        raise RecipeError(f"select: parameter: {recipe.method} has no parameter {name!r}{did_you_mean(name, known)}")
    return known[name]


def check_sweep(recipe: Recipe, options: Sweep) -> None:
    """RecipeError unless the parameter exists and every value lies in its range."""
    parameter = swept(recipe, options.parameter)
    if not options.values and options.parameter != ALPHA:
        raise RecipeError(f"select: values: are missing; which {options.parameter} should be tried?")
    for value in options.values:
        parameter.check(value, "select: values")
        if options.values.count(value) > 1:
            raise RecipeError(f"select: values: {value:g} is listed more than once")
    if isinstance(options.rule, str):
        one_of(options.rule, ("best",), "select: rule")
    else:
        parameter.check(options.rule, "select: rule")
    own = [i.label for i in recipe.ingredients if options.parameter in i.parameters]
    if len(own) == len(recipe.ingredients):
        raise RecipeError(
            f"select: parameter: every ingredient has a {options.parameter} of its own, which a sweep would not "
            "change; leave some out"
        )


def targets(recipe: Recipe, select: Select) -> tuple[Target, ...]:
    """What a search improves: its objectives, or the score that `select` names."""
    options = select.options
    named = options.objectives if isinstance(options, Search) and options.objectives else (Target(),)
    return tuple(settle(recipe, select, t) for t in named)


def named_metrics(recipe: Recipe, select: Select) -> tuple[str | None, ...]:
    """Of what a selection improves and of its constraint, in this order; None stands for the evaluation's first."""
    options = select.options
    bound = options.constraint if isinstance(options, Search) else None
    settled = (*targets(recipe, select), *([settle(recipe, select, bound)] if bound else []))
    return tuple(target.metric for target in settled)


def settle(recipe: Recipe, select: Select, target: Target | Constraint) -> Target:
    """Dataset and metric of a target, where they were left out."""
    evaluate = recipe.evaluate
    chosen = selecting(recipe)
    on = target.on or select.on or (chosen[0] if len(chosen) == 1 else None)
    return Target(
        on, target.metric or select.metric or (evaluate.metric_names[0] if evaluate and evaluate.metrics else None)
    )


def selecting(recipe: Recipe) -> list[str]:
    """Names of the datasets that may decide."""
    return [n for n, data in recipe.evaluate.datasets.items() if data.role == "select"] if recipe.evaluate else []


def _check_target(recipe: Recipe, target: Target | Constraint, where: str, dispensable: bool = False) -> None:
    """dispensable: there may be no data at all."""
    chosen = selecting(recipe)
    if target.on is not None:
        one_of(target.on, chosen, f"{where}: on")
    elif len(chosen) > 1 or (not chosen and not dispensable):
        raise RecipeError(f"{where}: on: which dataset? {len(chosen)} have role select")
    if target.metric is not None and recipe.evaluate is not None and recipe.evaluate.metrics:
        one_of(target.metric, recipe.evaluate.metric_names, f"{where}: metric")


def _check_search(recipe: Recipe, options: Search) -> None:
    one_of(options.sampler, SAMPLERS, "select: sampler")
    if options.trials < 1:
        raise RecipeError(f"select: trials: at least 1, got {options.trials}")
    if not options.space:
        raise RecipeError("select: space: is empty; name what to search, such as parameters.density")
    if isinstance(options.space.get(METHOD), Range):
        raise RecipeError("select: space: method: a list of methods is needed")
    methods = options.methods or (recipe.method,)
    for place, choices in options.space.items():
        where = f"select: space: {place}"
        listed = (choices.low, choices.high) if isinstance(choices, Range) else choices
        if isinstance(choices, Range):
            _check_range(choices, where)
        elif not choices or len(dict.fromkeys(choices)) < len(choices):
            raise RecipeError(f"{where}: options are needed, each once")
        if place == METHOD:
            for name in listed:
                get(str(name))
        else:
            _check_place(recipe, place, listed, methods, where)
    if options.sampler == "cmaes":
        _check_cmaes(options)
    if options.constraint is not None:
        _check_constraint(recipe, options.constraint)


def _check_place(recipe: Recipe, place: str, values: Iterable[float | str], methods: Iterable[str], where: str) -> None:
    """Every value can stand there, whichever method is tried with it."""
    name, each = parameter_of(place)
    for method in methods:
        known = {n: p for n, p in get(method).parameters.items() if p.each or not each}
        if name not in known:
            kind = "per-ingredient parameter" if each else "parameter"
            raise RecipeError(f"{where}: {method} has no {kind} {name!r}{did_you_mean(name, known)}")
        for value in values:
            known[name].check(value, where)
            try:
                assign(recipe, {place: value})
            except RecipeError as error:
                raise RecipeError(f"select: space: {error}") from error


def _check_range(given: Range, where: str) -> None:
    if not (isfinite(given.low) and isfinite(given.high) and given.low < given.high):
        raise RecipeError(f"{where}: low must be less than high, got {given.low:g} and {given.high:g}")
    if given.log and given.low <= 0:
        raise RecipeError(f"{where}: low must be above 0 where log is true, got {given.low:g}")


def _check_cmaes(options: Search) -> None:
    """RecipeError where Optuna would quietly draw at random instead."""
    for place, choices in options.space.items():
        if not isinstance(choices, Range):
            raise RecipeError(f"select: space: {place}: cmaes draws from ranges only; use sampler: tpe for options")
    if len(options.space) < 2:
        raise RecipeError("select: space: cmaes needs at least two ranges; use sampler: tpe, or a sweep")
    if len(options.objectives) > 1 or options.constraint is not None:
        raise RecipeError("select: sampler: cmaes knows one objective and no constraint; use sampler: tpe")


def _check_constraint(recipe: Recipe, constraint: Constraint) -> None:
    bounds = [b for b in (constraint.at_least, constraint.at_most) if b is not None]
    if len(bounds) != 1 or not isfinite(bounds[0]):
        raise RecipeError("select: constraint: exactly one of at_least and at_most is needed, a finite number")
    _check_target(recipe, constraint, "select: constraint")
